"""What each listener is doing, from the calls that go by. No I/O and no clock: times are given.

Feishin's reports come late, interleaved and stale (see docs/clients.md), so evidence is ranked:

- `GET /api/song/<id>` and the seed of a similar call tell what starts now;
- `getTranscodeDecision` tells what is played now *or next*: it counts while nothing better came;
- a stream or download tells less still, since players preload: it counts for who reports nothing;
- a "now playing" scrobble or a playback report tells it some seconds late, and may be about a song
  that has ended since: one that started before the present one and was heard of less than a minute
  ago is stale.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from typing import Final

from catalog.links import Links
from proxy.lately import Lately
from proxy.plays import Evidence, Play, Playing

#: Takes what happens to a song in a session: kind (see catalog.history), song, value, time.
Journal = Callable[[str, str, float, float], None]

HEARD_KEPT: Final = 500
PLAYS_KEPT: Final = 100
SERVED_KEPT: Final = 2000

#: Members of pools: an evening of AutoDJ's. Where the oldest of them are forgotten as others come,
#: pools never settle, and each brings songs that were not shown a moment ago (with 600 kept of a
#: library of 10,000, eleven of fifty).
OFFERED_KEPT: Final = 2000

#: Of the latest so many seeds it is known when they were answered, so many times.
SEEDS_KEPT: Final = 100
ANSWERS_KEPT: Final = 8

#: Songs served within so little of each other are of one answer: a restart shifts times a little.
_ONE_ANSWER_S: Final = 0.01

#: Between the songs of a queue, where it is told as one text.
QUEUE_SEPARATOR: Final = "\n"

#: Served songs count against a song for this long.
SERVED_TTL_S: Final = 3 * 3600.0

#: What was heard does not come again for this long, while anything else is left. (It is followed,
#: and less wanted, for longer: see `proxy.choosing.RECENTLY_HEARD`.)
HEARD_TTL_S: Final = 8 * 3600.0

#: A submission for a song that ended longer ago tells of another time, not of this session.
LATE_S: Final = 20 * 60.0

#: Songs that another call of the session is about to answer with are left to it for so long.
RESERVED_S: Final = 2.0

#: A song that was skipped is one for this long: it is not followed, as what was listened to is, and
#: no kind of song is less wanted for it any longer. How fast that fades within this time is ruled
#: by `ranker.query.SKIP_HALF_LIFE_S`.
SKIP_TTL_S: Final = 2 * 3600.0

#: A report about a song that ended or was heard of less than this ago may be late.
STALE_S: Final = 60.0

#: After this long without a word a song that was known to play is taken to have ended.
LONG_SONG_S: Final = 20 * 60.0


@dataclass(slots=True)
class Session:
    """One user with one client. Song ids are the server's.

    Attributes:
        playing: what plays now, as well as can be told.
        told_at_s: when the client last told anything of what it plays; that a radio of a song is
            wanted tells nothing of that.
        heard: when each song was last known to play, latest last.
        served: when each song was last in a short answer (such songs are queued by the client).
        offered: when each song was last in a larger pool, of which the client takes a few.
        answered: when each seed (a song, album or artist) got its short answers, latest last.
        queue: the client's own queue, where it sends it.
        similar_at_s, similar_count: the last similar call.
        probe_at_s: when the first of Feishin's two folder calls came.
        decided: the last song about which a client asked how to play it.
        plays: the last songs, oldest first, with how they ended.
        reserved: what calls under way are about to answer with.
        turn: who holds it chooses songs; two calls at once must not choose the same.
        journal: told of what happens, if it is to be kept: kind, song, value, time.
    """

    playing: Playing | None = None
    decided: Playing | None = None
    told_at_s: float = float("-inf")
    heard: OrderedDict[str, float] = field(default_factory=OrderedDict)
    served: Lately = field(default_factory=lambda: Lately(SERVED_KEPT))
    offered: Lately = field(default_factory=lambda: Lately(OFFERED_KEPT))
    answered: OrderedDict[str, tuple[float, ...]] = field(default_factory=OrderedDict)
    queue: tuple[str, ...] = ()
    similar_at_s: float = float("-inf")
    similar_count: int = 0
    probe_at_s: float = float("-inf")
    plays: deque[Play] = field(default_factory=lambda: deque(maxlen=PLAYS_KEPT))
    reserved: OrderedDict[str, float] = field(default_factory=OrderedDict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    journal: Journal | None = None

    @property
    def weight(self) -> int:
        """How many songs it remembers, one way or another."""
        kept = len(self.heard) + len(self.served) + len(self.offered) + len(self.answered)
        return kept + len(self.queue) + len(self.plays) + len(self.reserved)

    def reserve(self, song_ids: Iterable[str], at_s: float) -> None:
        """A call under way is about to answer with these."""
        for song_id in song_ids:
            _touch(self.reserved, song_id, at_s, SERVED_KEPT)

    def release(self, song_ids: Iterable[str]) -> None:
        """A call under way will not answer with these after all."""
        for song_id in song_ids:
            self.reserved.pop(song_id, None)

    def reserved_now(self, now_s: float) -> list[str]:
        """What other calls are about to answer with."""
        return [song for song, at_s in self.reserved.items() if abs(now_s - at_s) <= RESERVED_S]

    def note_playing(self, song_id: str, at_s: float, evidence: Evidence) -> None:
        """Take a call as evidence that this song plays."""
        self.told_at_s = max(self.told_at_s, at_s)
        if evidence is Evidence.DECISION:
            self.decided = Playing(song_id, at_s, evidence)
        if evidence is Evidence.REPORT:
            self._note_reported(song_id, at_s)
        self._follow(song_id, at_s, evidence)

    def _follow(self, song_id: str, at_s: float, evidence: Evidence) -> None:
        now = self.playing
        if now is not None and song_id == now.song_id:
            self.playing = Playing(song_id, at_s, max(evidence, now.evidence))
            _touch(self.heard, song_id, at_s, HEARD_KEPT)
            return
        if now is not None and evidence is not Evidence.STARTS:
            known_at_s = self.heard.get(song_id)
            stale = known_at_s is not None and at_s - known_at_s < STALE_S
            # A decision about another song, while one is known to play, is about the next one.
            next_one = evidence < now.evidence and at_s - now.at_s < LONG_SONG_S
            if stale or (evidence is Evidence.DECISION and next_one):
                return
        self.playing = Playing(song_id, at_s, evidence)
        if evidence is not Evidence.DECISION:
            _touch(self.heard, song_id, at_s, HEARD_KEPT)
            if self.plays and self.plays[-1].ended_s is None:
                self.plays[-1].ended_s = at_s
            reported = evidence is Evidence.REPORT
            self.plays.append(Play(song_id, at_s, reported=reported))
            self._tell("starts", song_id, float(reported), at_s)

    def _note_reported(self, song_id: str, at_s: float) -> None:
        """The client says that this song plays. It may say so after the next one has begun."""
        self.told_at_s = max(self.told_at_s, at_s)
        play = self._latest_play(song_id, at_s)
        if play is None:
            return
        if play.ended_s is None:
            play.position_s = 0.0  # it goes on
        if not play.reported:
            play.reported = True
            if play.ended_s is None and at_s - play.started_s > STALE_S:
                play.started_s = at_s  # it had waited in a queue that was restored
            self._tell("reports", song_id, 0.0, at_s)

    def note_paused(self, song_id: str, at_s: float) -> None:
        """The client says that a song waits."""
        self.told_at_s = max(self.told_at_s, at_s)
        play = self._latest_play(song_id, at_s)
        if play is not None and not play.paused:
            play.paused = True
            self._tell("pauses", song_id, 0.0, at_s)

    def note_stopped(self, song_id: str, position_s: float, at_s: float) -> None:
        """The client says where in a song it stopped. It may say so after the next one began."""
        self.told_at_s = max(self.told_at_s, at_s)
        play = self._latest_play(song_id, at_s)
        if play is not None and position_s > 0 and position_s != play.position_s:
            play.stopped_s, play.position_s = at_s, position_s
            self._tell("stops", song_id, position_s, at_s)

    def _latest_play(self, song_id: str, at_s: float) -> Play | None:
        """The latest play of a song, if it goes on or ended not long ago."""
        for play in reversed(self.plays):
            if play.song_id == song_id:
                recent = play.ended_s is None or at_s - play.ended_s < STALE_S
                return play if recent else None
        return None

    def note_streamed(self, song_id: str, at_s: float) -> None:
        """A song began to be sent: for who told nothing better for the length of a long song."""
        now = self.playing
        if now is None or now.evidence is Evidence.STREAM or at_s - now.at_s >= LONG_SONG_S:
            self.playing = Playing(song_id, at_s, Evidence.STREAM)

    def note_completed(self, song_id: str, at_s: float) -> None:
        """The client says that a song was heard. It may say so after the next one has begun.

        Some clients say nothing before: then this is how the session knows of the song.
        """
        self.told_at_s = max(self.told_at_s, at_s)
        if song_id not in self.heard:
            _touch(self.heard, song_id, at_s, HEARD_KEPT)
            if self.playing is not None and self.playing.song_id in self.heard:
                self.heard.move_to_end(self.playing.song_id)
        self._tell("completes", song_id, 0.0, at_s)
        for play in reversed(self.plays):
            if play.song_id == song_id:
                play.completed = True
                return

    def note_liking(self, kind: str, song_id: str, value: float, at_s: float) -> None:
        """A listen that the server took ("plays"), a star or a rating: for the journal alone."""
        self._tell(kind, song_id, value, at_s)

    def note_queue(self, song_ids: Iterable[str], at_s: float) -> None:
        """The client sent its queue: it is believed over everything else."""
        self.queue = tuple(song_ids)
        self._tell("queues", QUEUE_SEPARATOR.join(self.queue), float(len(self.queue)), at_s)

    def skipped_lately(
        self, now_s: float, duration_of: Callable[[str], float] = lambda _: math.inf
    ) -> list[tuple[str, float]]:
        """Songs left within a minute and not called heard: (song, seconds ago), latest first.

        The last time that a song was played counts. Judged when asked, not when the next song
        starts: the word that a song was heard may come late. `duration_of` gives seconds.
        """
        last: dict[str, Play] = {}
        for play in reversed(self.plays):
            last.setdefault(play.song_id, play)
        return [
            (song_id, now_s - play.ended_s)
            for song_id, play in last.items()
            if play.ended_s is not None
            and now_s - play.ended_s <= SKIP_TTL_S
            and play.is_skipped(duration_of)
        ]

    def replay(self, events: Iterable[tuple[str, str, float, float]]) -> None:
        """Take what was kept: (kind, song, value, time), oldest first, without telling it again."""
        journal, self.journal = self.journal, None
        for kind, song_id, value, at_s in events:
            if kind == "starts":
                self._follow(song_id, at_s, Evidence.STARTS)
                if value:
                    self._note_reported(song_id, at_s)
            elif kind == "reports":
                self._note_reported(song_id, at_s)
            elif kind == "pauses":
                self.note_paused(song_id, at_s)
            elif kind == "stops":
                self.note_stopped(song_id, value, at_s)
            elif kind == "completes":
                self.note_completed(song_id, at_s)
            elif kind == "queues":
                self.queue = tuple(filter(None, song_id.split(QUEUE_SEPARATOR)))
            elif kind in ("served", "offered"):
                self.note_served([song_id], at_s, pool=kind == "offered")
            elif kind == "answers":
                self._note_answered(song_id, at_s)
        self.journal = journal

    def _tell(self, kind: str, song_id: str, value: float, at_s: float) -> None:
        if self.journal is not None:
            self.journal(kind, song_id, value, at_s)

    def note_similar(self, seed_ids: Iterable[str], count: int, at_s: float) -> None:
        """A similar call came: its seed is the truth, where it is one song."""
        self.similar_at_s, self.similar_count = at_s, count
        seeds = list(seed_ids)
        if len(seeds) == 1:
            self._follow(seeds[0], at_s, Evidence.STARTS)

    def note_served(
        self, song_ids: Iterable[str], at_s: float, *, pool: bool, seed_id: str = ""
    ) -> None:
        """These songs were in an answer; `pool` if it is larger than what a client queues.

        seed_id: the song, album or artist that was asked about, if any.
        """
        if seed_id and not pool:
            self._note_answered(seed_id, at_s)
        target, kind = (self.offered, "offered") if pool else (self.served, "served")
        for song_id in song_ids:
            self.reserved.pop(song_id, None)
            target.touch(song_id, at_s)
            self._tell(kind, song_id, 0.0, at_s)

    def _note_answered(self, seed_id: str, at_s: float) -> None:
        times = (*self.answered.pop(seed_id, ()), at_s)
        self.answered[seed_id] = times[-ANSWERS_KEPT:]
        if len(self.answered) > SEEDS_KEPT:
            self.answered.popitem(last=False)
        self._tell("answers", seed_id, 0.0, at_s)

    def left_behind(self, seed_id: str, now_s: float) -> list[str]:
        """Songs of short answers to this very seed, but for the last, taken to wait in no queue.

        That is so where a song of a later answer was played since (see `waiting`); or, where none
        of any answer was, after `LONG_SONG_S` in which the client told nothing at all of what it
        plays: while it tells of other songs, a radio may wait behind them. Whoever plays a queue of
        several answers in order gets no song of it twice. On shuffle a song of the later answer may
        come first: nothing tells that from somebody who left the earlier one.
        """
        times = self.answered.get(seed_id, ())[:-1]
        if not times:
            return []
        since_s = now_s - SERVED_TTL_S
        reached_s = self._reached_s(since_s)
        if reached_s > since_s:
            left = [time_s for time_s in times if since_s <= time_s < reached_s]
        else:
            silent_s = now_s - LONG_SONG_S
            left = [time_s for time_s in times if max(since_s, self.told_at_s) <= time_s < silent_s]
        return [
            song
            for song, served_s in self.served.items()
            if any(abs(served_s - time_s) < _ONE_ANSWER_S for time_s in left)
        ]

    def served_rows(self, links: Links, now_s: float) -> Set[int]:
        """The rows of songs of short answers that still count; not to be kept."""
        self.served.forget_before(now_s - SERVED_TTL_S)
        return self.served.rows(links)

    def offered_rows(self, links: Links, now_s: float) -> Set[int]:
        """The rows of songs of pools that still count; not to be kept."""
        self.offered.forget_before(now_s - SERVED_TTL_S)
        return self.offered.rows(links)

    def heard_lately(self, least: int, now_s: float) -> list[tuple[str, float]]:
        """Songs heard: (song, seconds ago), latest first; the last `least` however long ago."""
        ages = ((song, max(now_s - at_s, 0.0)) for song, at_s in reversed(self.heard.items()))
        return [
            (song, age_s)
            for number, (song, age_s) in enumerate(ages)
            if number < least or age_s <= HEARD_TTL_S
        ]

    def waiting(self, now_s: float) -> list[str]:
        """Songs of short answers that the client may still have queued, oldest first.

        A song of a later answer has not been heard yet: whoever plays that has left what came
        before behind.
        """
        reached_s = self._reached_s(now_s - SERVED_TTL_S)
        return [
            song
            for song, served_s in self.served.items()
            if served_s >= reached_s and self.heard.get(song, reached_s - 1) < served_s
        ]

    def _reached_s(self, since_s: float) -> float:
        """When the latest short answer came of which a song was heard; `since_s` if none since."""
        reached_s = since_s
        for song, heard_s in self.heard.items():
            served_s = self.served.get(song, reached_s)
            if reached_s < served_s <= heard_s:
                reached_s = served_s
        return reached_s


def _touch(kept: OrderedDict[str, float], key: str, at_s: float, most: int) -> None:
    kept[key] = at_s
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
