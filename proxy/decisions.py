"""Which calls are steered, and within which limits. Pure: a call and a session in, a plan out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy.session import Session
from proxy.settings import SteeringSettings
from subsonic.envelope import Format, is_callback, wanted_format
from subsonic.parameters import Parameters

SIMILAR_ENDPOINTS: Final = {"getSimilarSongs": "similarSongs", "getSimilarSongs2": "similarSongs2"}
RANDOM_ENDPOINT: Final = "getRandomSongs"

SIMILAR_DEFAULT_COUNT: Final = 50
RANDOM_DEFAULT_SIZE: Final = 10
RANDOM_MOST: Final = 500

#: Hydrating costs the upstream a call a song: more than this is nobody's queue.
SIMILAR_MOST: Final = 500

#: A random call this soon after a similar one continues the same act of AutoDJ …
AUTODJ_WINDOW_S: Final = 10.0

#: … where it asks for this many songs: by how the client's name begins, in lower case. Such a
#: client takes a few of them by chance. Anything else that it asks is its shuffle.
AUTODJ_SIZES: Final = {"feishin": 50}

#: Of other clients only a larger call is known to be a shuffle; they get all songs they ask for.
AUTODJ_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class FolderForm:
    """How a client's AutoDJ asks when a music folder is selected and it asks nothing similar.

    Attributes:
        client: how the client's name (`c`) begins, in lower case.
        probe_size: the size of the first call, with folder and genre.
        follow_up_size: the size of the second call, with the folder alone …
        within_s: … and how soon after the first it comes.
        queued: how many songs it queues by default. Answering the first call with so many makes
            them the songs that are queued: of a longer pool it would take any. (On 82 tracks ten
            were .28 of the time near, five .39.) A client that wants more asks the second call.
    """

    client: str
    probe_size: int
    follow_up_size: int
    within_s: float
    queued: int


FOLDER_FORMS: Final = (FolderForm("feishin", 50, 10, 2.0, 5),)

#: Of a pool the client shuffles and takes a few: every song of it must be good, so it is short.
#: (On half of a library of 165, pools of 10 were near .30 of the time, pools of 20 .21.)
POOL_PER_SONG: Final = 4
POOL_LEAST: Final = 10

#: Answers up to this long are queued as they are (track radio asks for 20 and takes them all); a
#: longer one is a pool to choose from.
MOST_QUEUED_SIMILAR: Final = 25
MOST_QUEUED_RANDOM: Final = 10


@dataclass(frozen=True, slots=True)
class Leave:
    """Not steered; `reason` is told in `X-Segue` and counted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A call to steer.

    Attributes:
        listing: the name of the list element in the answer.
        format: the client's format; `callback` for JSONP.
        seed_id: a song, album or artist; "" to follow what the session plays.
        count: how many songs to answer at most.
        genre, from_year, to_year, folder_ids: the call's own limits.
        probe: the first call of a `FolderForm`; the report of what is playing may be some
            milliseconds behind it.
        is_pool: the client will choose from the answer rather than queue it.
    """

    listing: str
    format: Format
    callback: str
    seed_id: str
    count: int
    genre: str = ""
    from_year: int = 0
    to_year: int = 0
    folder_ids: tuple[str, ...] = ()
    probe: bool = False
    is_pool: bool = False


def decide(
    endpoint: str,
    parameters: Parameters,
    session: Session,
    settings: SteeringSettings,
    now_s: float,
) -> Plan | Leave:
    """Whether a call is steered. `session` is only read."""
    wanted = wanted_format(parameters)
    callback = parameters.first("callback")
    if wanted is Format.JSONP and not is_callback(callback):
        return Leave("bad-callback")
    client = parameters.first("c")
    if endpoint in SIMILAR_ENDPOINTS:
        if not settings.steers_similar(client):
            return Leave("switched-off")
        return _similar(endpoint, parameters, wanted, callback)
    return _random(parameters, session, settings.random_mode(client), wanted, callback, now_s)


def is_probe(parameters: Parameters) -> bool:
    """Whether this is the first of the two calls of a client's folder form."""
    form = _folder_form(parameters)
    return (
        form is not None
        and bool(parameters.first("genre"))
        and parameters.integer("size", RANDOM_DEFAULT_SIZE) == form.probe_size
    )


def _follows_up(parameters: Parameters, since_probe_s: float) -> bool:
    form = _folder_form(parameters)
    return (
        form is not None
        and not parameters.first("genre")
        and parameters.integer("size", RANDOM_DEFAULT_SIZE) == form.follow_up_size
        and since_probe_s <= form.within_s
    )


def _folder_form(parameters: Parameters) -> FolderForm | None:
    if not parameters.first("musicFolderId"):
        return None
    client = parameters.first("c").lower()
    return next((form for form in FOLDER_FORMS if client.startswith(form.client)), None)


def _autodj_size(parameters: Parameters) -> int | None:
    client = parameters.first("c").lower()
    return next((size for name, size in AUTODJ_SIZES.items() if client.startswith(name)), None)


def _similar(endpoint: str, parameters: Parameters, wanted: Format, callback: str) -> Plan | Leave:
    seed_id = parameters.first("id")
    count = parameters.integer("count", SIMILAR_DEFAULT_COUNT)
    if not seed_id:
        return Leave("no-id")
    if count <= 0:
        return Leave("count")
    return Plan(
        SIMILAR_ENDPOINTS[endpoint],
        wanted,
        callback,
        seed_id,
        min(count, SIMILAR_MOST),
        is_pool=count > MOST_QUEUED_SIMILAR,
    )


def _random(
    parameters: Parameters,
    session: Session,
    mode: str,
    wanted: Format,
    callback: str,
    now_s: float,
) -> Plan | Leave:
    size = parameters.integer("size", RANDOM_DEFAULT_SIZE)
    folder_ids = tuple(dict.fromkeys(parameters.all("musicFolderId")))
    if mode == "never":
        return Leave("switched-off")
    if size <= 0:  # "all of them" to Navidrome: no choice of ours is that
        return Leave("count")
    if not all(folder.isascii() and folder.isdigit() for folder in folder_ids):
        return Leave("odd-folder")
    probe = is_probe(parameters)
    follows_up = _follows_up(parameters, now_s - session.probe_at_s)
    fixed_size = _autodj_size(parameters)
    in_act = (
        now_s - session.similar_at_s <= AUTODJ_WINDOW_S
        and (size <= AUTODJ_MOST if fixed_size is None else size == fixed_size)
        and not (parameters.first("fromYear") or parameters.first("toYear"))
    )
    if not (mode == "always" or in_act or probe or follows_up):
        return Leave("true-random")
    count = min(size, RANDOM_MOST)
    queues_all = in_act and fixed_size is None
    if mode != "always" and not queues_all:
        asked = session.similar_count if in_act else 0
        form = _folder_form(parameters) if probe else None
        most = max(POOL_PER_SONG * asked, POOL_LEAST) if form is None else form.queued
        count = min(count, most)
    return Plan(
        "randomSongs",
        wanted,
        callback,
        "",
        count,
        genre=parameters.first("genre"),
        from_year=parameters.integer("fromYear", 0),
        to_year=parameters.integer("toYear", 0),
        folder_ids=folder_ids,
        probe=probe,
        is_pool=(mode != "always" and not probe and not queues_all) or count > MOST_QUEUED_RANDOM,
    )
