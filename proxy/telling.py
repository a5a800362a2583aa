"""The lists of `proxy.why` for programs (JSON) and for people (a page without scripts)."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from proxy.sight import Sight
from ranker.picks import Pick
from ranker.reasons import ago


@dataclass(frozen=True, slots=True)
class ServedSong:
    """A song of a list: its id, title and artist, and why it was chosen."""

    song_id: str
    title: str
    artist: str
    pick: Pick


@dataclass(frozen=True, slots=True)
class Named:
    """What a list is like: a song or album (title and artist) or an artist; "" where not known."""

    title: str = ""
    artist: str = ""

    @classmethod
    def of(cls, seed_id: str, song: Any) -> Named:
        """A seed: the song itself, or an album or artist by a song of theirs.

        The song is as it stands in an answer (JSON or XML); where it does not name the seed,
        nothing does.
        """
        if song is None:
            return cls()
        if song.get("id") == seed_id:
            return cls(str(song.get("title") or ""), str(song.get("artist") or ""))
        if song.get("albumId") == seed_id:
            return cls(str(song.get("album") or ""), str(song.get("displayAlbumArtist") or ""))
        for person in _people(song):
            if person.get("id") == seed_id:
                return cls("", str(person.get("name") or ""))
        return cls("", str(song.get("artist") or "") if song.get("artistId") == seed_id else "")


def _people(song: Any) -> Iterator[Any]:
    """The artists of a song, as OpenSubsonic lists them."""
    for kind in ("artists", "albumArtists"):
        if isinstance(song, Mapping):
            found = song.get(kind)
            listed = found if isinstance(found, list) else []
            yield from (person for person in listed if isinstance(person, Mapping))
        else:
            yield from song.findall(f"{{*}}{kind}")


def as_json(
    at_s: float,
    client: str,
    endpoint: str,
    seeds: Mapping[str, Named],
    songs: Sequence[ServedSong],
    sight: Sight,
) -> Mapping[str, object]:
    """A list for programs; its time in UTC, None where the clock was beyond all calendars.

    sight: the seeds and songs that its reader may see. Of other songs no more is told than their
    number: "hidden" are those that the music server does not show, "not_looked_at" those of which
    that is not known. Of other seeds the id is told, which was its reader's own question or what
    they played, and no name.
    """
    at = _local(at_s)
    shown, hidden, not_looked_at = _sorted(songs, sight)
    return {
        "at": at.astimezone(UTC).isoformat(timespec="seconds") if at is not None else None,
        "client": client,
        "call": endpoint,
        "seeds": list(seeds),
        "after": [
            {"id": seed, "title": named.title, "artist": named.artist}
            for seed, named in _visible(seeds, sight).items()
        ],
        "songs": [
            {
                "id": song.song_id,
                "title": song.title,
                "artist": song.artist,
                "score": round(song.pick.score, 6),
                "why": [
                    {"term": reason.term, "value": round(reason.value, 6), "text": reason.text}
                    for reason in song.pick.reasons
                ],
            }
            for song in shown
        ],
        "hidden": hidden,
        "not_looked_at": not_looked_at,
    }


def as_html(
    at_s: float,
    now_s: float,
    client: str,
    endpoint: str,
    seeds: Mapping[str, Named],
    songs: Sequence[ServedSong],
    sight: Sight,
) -> str:
    """A list for people: what it is like, how long ago it came, and its songs. sight: as above."""
    shown, hidden, not_looked_at = _sorted(songs, sight)
    rows = "".join(
        f"<tr><td>{html.escape(f'{song.artist} – {song.title}')}</td>"
        f"<td>{song.pick.score:.2f}</td><td>{html.escape(_because(song.pick))}</td></tr>"
        for song in shown
    )
    call = html.escape(f"{client or 'a client'} · {endpoint}")
    more = f"<p>… and {hidden} that the music server does not show you now</p>" if hidden else ""
    if not_looked_at:
        more += (
            f"<p>… and {not_looked_at} that the music server was not asked about, or was late</p>"
        )
    is_known = sight.not_looked_at.isdisjoint(seeds)
    return (
        f"<h2>{html.escape(_like(list(_visible(seeds, sight).values()), is_known))}</h2>"
        f"<p>{ago(now_s - at_s)} ({_time(at_s)}) · {call}</p><table>{rows}</table>{more}"
    )


def _sorted(songs: Sequence[ServedSong], sight: Sight) -> tuple[list[ServedSong], int, int]:
    """Those to show, how many are hidden, and of how many that is not known."""
    shown = [song for song in songs if song.song_id in sight.seen]
    unknown = sum(song.song_id in sight.not_looked_at for song in songs)
    return shown, len(songs) - len(shown) - unknown, unknown


def _visible(seeds: Mapping[str, Named], sight: Sight) -> dict[str, Named]:
    return {seed: named if seed in sight.seen else Named() for seed, named in seeds.items()}


def page(body: str) -> str:
    """A whole page around something."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Why did it play that?</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font:16px/1.4 sans-serif;'
        "max-width:60em;margin:1em auto;padding:0 1em}td{padding:.2em .6em;vertical-align:top}"
        "h2{font-size:1em;margin:2em 0 0}h2+p{margin:0;color:#666}</style>"
        f"<h1>Why did it play that?</h1>{body}</html>\n"
    )


#: A login, with why it is asked for in the place of WHY.
FORM: Final = (
    '<p>WHY</p><form method="post"><label>User <input name="u" autocomplete="username"></label> '
    '<label>Password <input name="p" type="password" autocomplete="current-password"></label> '
    '<input type="hidden" name="f" value="html"><button>Show</button></form>'
)


def _like(seeds: Sequence[Named], is_known: bool) -> str:
    told = [_name(seed) for seed in seeds if seed.title or seed.artist]
    if not told:
        why = "does not show you" if is_known else "was not asked about, or was late with"
        return f"Like what the music server {why}"
    return f"Like {'; '.join(told)}"


def _name(named: Named) -> str:
    if not named.title:
        return named.artist
    return f"“{named.title}”" + (f" by {named.artist}" if named.artist else "")


def _time(at_s: float) -> str:
    """The server's own time: a page without scripts cannot know its reader's."""
    at = _local(at_s)
    if at is None:
        return "at an unknown time"
    exact, shown = at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M %Z")
    return f'<time datetime="{html.escape(exact)}">{html.escape(shown)}</time>'


def _local(at_s: float) -> datetime | None:
    """Seconds since 1970 as the server's own time; None for what is in no calendar."""
    try:
        return datetime.fromtimestamp(at_s, UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return None


def _because(pick: Pick) -> str:
    first, *others = pick.reasons
    told = [f"{first.value:.2f} {first.text}"]
    told += [f"{r.value:+.2f} {r.text}" for r in others if abs(r.value) >= 0.005]
    return " · ".join(told)
