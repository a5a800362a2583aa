"""The calls that Segue answers itself, and the calls that it only listens to.

A steered call, step by step: decide, check the login and the seed with one call as this user,
rank, hydrate each pick as this user, compose. Whatever goes wrong or takes too long on the way,
the request is handed on as it came and the upstream answers it: asked then, never before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final

import numpy as np
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy import calls, headers
from proxy.calls import Headers, Identity
from proxy.decisions import RANDOM_ENDPOINT, SIMILAR_ENDPOINTS, Leave, Plan, decide, is_probe
from proxy.errors import UpstreamError
from proxy.hydration import Asker, RefusedError, Reply
from proxy.knowledge import Knowledge, View
from proxy.metrics import Metrics
from proxy.observation import OBSERVED, OkTap, observe
from proxy.session import SERVED_TTL_S, Session, Sessions
from proxy.settings import ProxySettings
from proxy.upstream import Upstream
from ranker.picks import Context, Pick, Seed
from ranker.rank import rank
from ranker.settings import RankingSettings
from subsonic.envelope import Format, compose, wanted_format, wrap
from subsonic.errors import AnswerError
from subsonic.ids import resolve_genre
from subsonic.parameters import ParameterError, Parameters

_log = logging.getLogger("segue.steering")

STEERED: Final = frozenset((*SIMILAR_ENDPOINTS, RANDOM_ENDPOINT))

#: How long a call waits for the report of what is playing, which comes some 20 ms after it.
AWAIT_PLAYING_S: Final = 0.08
_AWAIT_STEP_S: Final = 0.004

#: A report that came this long before its call is about the same song.
_JUST_BEFORE_S: Final = 1.0

#: Kept of the deadline for composing and sending.
_RESERVE_S: Final = 0.03

MOST_SEEDS: Final = 50
RECENTLY_HEARD: Final = 30

#: From this many tracks on, ranking leaves the event loop.
THREAD_FROM: Final = 20_000

#: The upstream's, about a body that is not the one we send.
_NOT_OURS: Final = frozenset(
    (b"content-length", b"content-encoding", b"transfer-encoding", b"content-type", b"etag",
     b"last-modified", b"date")
)  # fmt: skip


class _LeftError(Exception):
    """The call is left to the upstream, for a reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Composed:
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Steering:
    """Implements the application's steering seam over one upstream."""

    def __init__(
        self,
        settings: ProxySettings,
        ranking: RankingSettings,
        upstream: Upstream,
        knowledge: Knowledge,
        metrics: Metrics,
        *,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._settings = settings
        self._ranking = ranking
        self._upstream = upstream
        self._knowledge = knowledge
        self._metrics = metrics
        self._timer = timer
        self.sessions = Sessions(timer)

    def claims(self, scope: Scope) -> bool:
        """Whether a request is one that may be steered or that tells about a session."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "POST"):
            return False
        path = _path(scope)
        endpoint = calls.rest_endpoint(path)
        if endpoint is not None:
            return endpoint in STEERED or endpoint in OBSERVED
        return scope["method"] == "GET" and calls.native_song_id(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send, forward: ASGIApp) -> None:
        """Answer, or hand on to `forward` exactly what came."""
        started_s = self._timer()
        endpoint = calls.rest_endpoint(_path(scope)) or "song"
        request_headers: Headers = scope["headers"]
        body = _Body(receive)
        by_form = scope["method"] == "POST" and calls.is_form(request_headers)
        form = await body.read() if by_form else b""
        try:
            if form is None:
                raise ParameterError("the form is too large")
            parameters = Parameters.parse(scope["query_string"], form)
        except ParameterError:
            reason = "odd-parameters"
            return await self._hand_on(scope, body, send, forward, endpoint, reason, started_s)
        identity = calls.identify(parameters, request_headers, self._trusted_user_header(scope))
        if endpoint not in STEERED:
            return await self._listen(
                scope, body, send, forward, endpoint, parameters, identity, started_s
            )
        try:
            composed = await self._steer(
                scope, endpoint, parameters, identity, bool(form), started_s
            )
        except _LeftError as left:
            reason = left.reason
        except (UpstreamError, AnswerError) as error:
            reason = "upstream"
            _log.info("%s is left to the upstream: %s", endpoint, error)
        except RefusedError:
            reason = self._refused(endpoint, parameters, started_s)
        except TimeoutError:
            reason = "deadline"
        except Exception:  # fail open, whatever it is; the log says what
            reason = "error"
            _log.exception("steering %s failed; the upstream answers", endpoint)
        else:
            return await self._answer(composed, send, started_s)
        return await self._hand_on(scope, body, send, forward, endpoint, reason, started_s)

    def _refused(self, endpoint: str, parameters: Parameters, now_s: float) -> str:
        """Why a refused call is left alone, told so that it gives no session away.

        A stranger who names a user must not learn from `X-Segue` whether that user is listening:
        a random call is answered as if there were no session.
        """
        if endpoint != RANDOM_ENDPOINT:
            return "refused"
        plan = decide(endpoint, parameters, Session(), self._settings.steering, now_s)
        return plan.reason if isinstance(plan, Leave) else "no-seed"

    # Forwarding and listening

    async def _hand_on(
        self,
        scope: Scope,
        body: _Body,
        send: Send,
        forward: ASGIApp,
        endpoint: str,
        reason: str,
        started_s: float,
    ) -> None:
        if endpoint not in STEERED:
            return await forward(scope, body.replay, send)
        own_ms = (self._timer() - started_s) * 1000
        self._metrics.fallbacks[reason] += 1

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                marks = _marks(f"forwarded; reason={reason}", own_ms)
                message = {**message, "headers": [*message["headers"], *marks]}
            await send(message)

        return await forward(scope, body.replay, marked)

    async def _listen(
        self,
        scope: Scope,
        body: _Body,
        send: Send,
        forward: ASGIApp,
        endpoint: str,
        parameters: Parameters,
        identity: Identity,
        at_s: float,
    ) -> None:
        native = endpoint == "song"
        if native:
            song_id = calls.native_song_id(_path(scope)) or ""
            parameters = Parameters([("id", song_id)])
        tap = OkTap(
            send,
            is_xml=not native and wanted_format(parameters) is Format.XML,
            subsonic=not native,
            on_ok=lambda: observe(self.sessions, identity, endpoint, parameters, at_s),
        )
        await forward(scope, body.replay, tap)

    # Steering

    async def _steer(
        self,
        scope: Scope,
        endpoint: str,
        parameters: Parameters,
        identity: Identity,
        by_form: bool,
        started_s: float,
    ) -> _Composed:
        view = self._knowledge.view
        if view is None:
            raise _LeftError("no-snapshot")
        if not len(view.links):
            raise _LeftError("nothing-linked")
        session = self.sessions.peek(identity)
        plan = decide(endpoint, parameters, session, self._settings.steering, started_s)
        if isinstance(plan, Leave):
            raise _LeftError(plan.reason)
        budget_s = self._settings.steering.deadline_ms / 1000
        until_s = asyncio.get_running_loop().time() + budget_s - _RESERVE_S
        asker = Asker(
            self._upstream,
            parameters,
            headers.request_headers(scope["headers"], scope, self._settings.server),
            plan.format,
            by_form=by_form,
        )
        async with asyncio.timeout_at(until_s):
            if plan.await_playing:
                session = await self._await_playing(identity, started_s)
            seeds = self._seeds(plan, view, session)
            # Login first: one call with this request's login, about a song that it must see.
            first, _ = await asker.song(view.links.song_id(seeds[0]))
            await self._check_folders(plan, asker)
        confirmed = self.sessions.get(identity) or session
        song_ids, songs = await self._choose(plan, view, seeds, confirmed, asker, until_s)
        if not songs:
            raise _LeftError("no-songs")
        self._remember(plan, view, parameters, confirmed, song_ids, started_s)
        return _composed(plan, first, songs)

    def _seeds(self, plan: Plan, view: View, session: Session) -> Sequence[int]:
        """Songs (numbers in the links) to be like: the call's own, or what the session plays."""
        if plan.seed_id:
            seeds = view.links.seeds(plan.seed_id)
            if not seeds:
                raise _LeftError("seed-not-linked")
        else:
            now = [session.playing.song_id] if session.playing else []
            known = map(view.links.song, [*now, *session.heard_latest(3)])
            seeds = [song for song in known if song is not None][:1]
            if not seeds:
                raise _LeftError("no-seed")
        step = -(-len(seeds) // MOST_SEEDS)
        return seeds[::step]

    async def _await_playing(self, identity: Identity, started_s: float) -> Session:
        """The session once it is known what plays, or as it is after `AWAIT_PLAYING_S`."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + AWAIT_PLAYING_S
        while True:
            session = self.sessions.peek(identity)
            playing = session.playing
            if playing is not None and playing.at_s >= started_s - _JUST_BEFORE_S:
                return session
            if loop.time() >= until_s:
                return session
            await asyncio.sleep(_AWAIT_STEP_S)

    async def _check_folders(self, plan: Plan, asker: Asker) -> None:
        """Several folders in one call: an unknown one among them is the upstream's error."""
        if len(plan.folder_ids) < 2:
            return
        reply = await asker.ask("getMusicFolders")
        if not set(plan.folder_ids) <= _folder_ids(reply):
            raise _LeftError("folder-not-seen")

    async def _choose(
        self,
        plan: Plan,
        view: View,
        seeds: Sequence[int],
        session: Session,
        asker: Asker,
        until_s: float,
    ) -> tuple[list[str], list[Any]]:
        """Rank and hydrate; where songs are hidden from this user, others take their place."""
        links = view.links
        genre = resolve_genre(plan.genre, links.genres) if plan.genre else ""
        if genre is None:
            raise _LeftError("unknown-genre")
        mask = links.select(
            genre=genre,
            from_year=plan.from_year,
            to_year=plan.to_year,
            folder_ids=plan.folder_ids,
        )
        chosen_ids: list[str] = []
        chosen: list[Any] = []
        hidden: set[int] = set()
        loop = asyncio.get_running_loop()
        while len(chosen) < plan.count and loop.time() < until_s:
            missing = plan.count - len(chosen)
            taken = [row for song_id in chosen_ids if (row := links.row(song_id)) is not None]
            picks = await self._rank(view, seeds, session, mask, [*taken, *hidden], missing)
            ids = [
                links.song_id(song)
                for pick in picks
                if (song := links.choose(pick.row, mask)) is not None
            ]
            found = await asker.songs(ids, until_s)
            for pick, song_id, song in zip(picks, ids, found, strict=True):
                if song is None:
                    hidden.add(pick.row)
                else:
                    chosen_ids.append(song_id)
                    chosen.append(song)
            if not picks or all(song is not None for song in found):
                break
        return chosen_ids, chosen

    async def _rank(
        self,
        view: View,
        seeds: Sequence[int],
        session: Session,
        mask: np.ndarray[tuple[int], np.dtype[np.bool_]],
        gone: Sequence[int],
        count: int,
    ) -> list[Pick]:
        links, snapshot = view.links, view.snapshot
        eligible = links.eligible_rows(mask, snapshot.n)
        now_s = self._timer()

        def rows(song_ids: Sequence[str]) -> list[int]:
            return [row for song_id in song_ids if (row := links.row(song_id)) is not None]

        heard = rows(session.heard_latest(RECENTLY_HEARD))
        served = rows(session.served_since(now_s - SERVED_TTL_S))
        offered = rows(session.offered_since(now_s - SERVED_TTL_S))
        playing = rows([session.playing.song_id]) if session.playing else []
        must_not = {*gone, *playing, *rows(session.queue)}
        familiar = tuple(heard) if self._settings.steering.history != "off" else ()
        back = frozenset([*offered, *served, *heard])
        # A small library runs out: then what was served longer ago comes again, and at last
        # anything but what plays now.
        tiers = (
            Context(
                eligible, frozenset({*must_not, *served, *heard}), frozenset(offered), familiar
            ),
            Context(eligible, frozenset({*must_not, *heard[:3]}), back, familiar),
            Context(eligible, frozenset(must_not), back, familiar),
        )
        rows_of_seeds = [Seed(int(links.rows[seed])) for seed in seeds]

        def all_ranked() -> list[Pick]:
            picks: list[Pick] = []
            for tier in tiers:
                if len(picks) < count:
                    taken = tier.excluded | {pick.row for pick in picks}
                    context = replace(tier, excluded=taken)
                    missing = count - len(picks)
                    picks += rank(snapshot, rows_of_seeds, context, self._ranking, missing)
            return picks

        if snapshot.n < THREAD_FROM:
            return all_ranked()
        return await asyncio.to_thread(all_ranked)

    def _remember(
        self,
        plan: Plan,
        view: View,
        parameters: Parameters,
        session: Session,
        song_ids: Sequence[str],
        at_s: float,
    ) -> None:
        if plan.seed_id:
            is_song = view.links.song(plan.seed_id) is not None
            session.note_similar([plan.seed_id] if is_song else [], plan.count, at_s)
        elif is_probe(parameters):
            session.probe_at_s = at_s
        session.note_served(song_ids, at_s, pool=plan.is_pool)

    async def _answer(self, composed: _Composed, send: Send, started_s: float) -> None:
        seconds = self._timer() - started_s
        self._metrics.requests["steer", "steered"] += 1
        self._metrics.observe_steering(seconds * 1000)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*composed.headers, *_marks("steered", seconds * 1000)],
            }
        )
        await send({"type": "http.response.body", "body": composed.body})

    def _trusted_user_header(self, scope: Scope) -> str:
        client = scope.get("client")
        server = self._settings.server
        trusted = headers.is_trusted(client[0] if client else "", server.trusted_proxies)
        return server.user_header if trusted else ""


class _Body:
    """A request body that can be read and then replayed, message by message."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: list[Message] = []

    async def read(self) -> bytes | None:
        """All of it; None when it is too large to be a form of ours (nothing is lost)."""
        size = 0
        while True:
            message = await self._receive()
            self._kept.append(message)
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or size > calls.MAX_FORM_BYTES:
                return None
            if not message.get("more_body", False):
                return b"".join(kept.get("body", b"") for kept in self._kept)

    async def replay(self) -> Message:
        """The ASGI `receive`: first what was read, then what still comes."""
        return self._kept.pop(0) if self._kept else await self._receive()


def _path(scope: Scope) -> str:
    """The decoded path; the application has taken Segue's own base path off."""
    path: str = scope["path"]
    return path


def _marks(what: str, own_ms: float) -> list[tuple[bytes, bytes]]:
    return [
        (b"X-Segue", what.encode("ascii")),
        (b"Server-Timing", b"segue;dur=%.1f" % own_ms),
    ]


def _folder_ids(reply: Reply) -> set[str]:
    folders = reply.answer.payload("musicFolders")
    if folders is None:
        return set()
    entries = folders if reply.answer.is_xml else folders.get("musicFolder") or ()
    return {str(entry.get("id")) for entry in entries}


def _composed(plan: Plan, template: Reply, songs: Sequence[Any]) -> _Composed:
    body = wrap(compose(template.answer, plan.listing, songs), plan.format, plan.callback)
    media_type = calls.header(template.headers, b"content-type")
    if plan.format is Format.JSONP or not media_type:
        media_type = plan.format.media_type.encode("ascii")
    kept = [
        (name, value)
        for name, value in headers.response_headers(template.headers)
        if name.lower() not in _NOT_OURS
    ]
    dated = [(n, v) for n, v in template.headers if n.lower() == b"date"]
    return _Composed(
        [(b"Content-Type", media_type), *kept, *dated, (b"Content-Length", b"%d" % len(body))],
        body,
    )
