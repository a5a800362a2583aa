"""The calls that Segue answers itself, and the calls that it only listens to.

A steered call, step by step: decide, check the login and the seed with one call as this user,
rank, hydrate each pick as this user, compose. Whatever goes wrong or takes too long on the way,
the request is handed on as it came and the upstream answers it: asked then, never before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy import calls, headers
from proxy.calls import Headers, Identity
from proxy.choosing import Choice, LeftError, choose_seeds
from proxy.decisions import RANDOM_ENDPOINT, SIMILAR_ENDPOINTS, Leave, Plan, decide, is_probe
from proxy.errors import UpstreamError
from proxy.hydration import Asker, RefusedError, Reply
from proxy.knowledge import Knowledge, View
from proxy.metrics import Metrics
from proxy.observation import OBSERVED, OkTap, observe
from proxy.replay import ReplayedBody
from proxy.session import Session, Sessions
from proxy.settings import ProxySettings
from proxy.upstream import Upstream
from ranker.settings import RankingSettings
from subsonic.envelope import Format, compose, wanted_format, wrap
from subsonic.errors import AnswerError
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

#: From this many tracks on, ranking leaves the event loop.
THREAD_FROM: Final = 20_000

#: The upstream's, about a body that is not the one we send.
_NOT_OURS: Final = frozenset(
    (b"content-length", b"content-encoding", b"transfer-encoding", b"content-type", b"etag",
     b"last-modified", b"date")
)  # fmt: skip


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
        body = ReplayedBody(receive)
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
        except LeftError as left:
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
        body: ReplayedBody,
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
        body: ReplayedBody,
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
            raise LeftError("no-snapshot")
        if not len(view.links):
            raise LeftError("nothing-linked")
        session = self.sessions.peek(identity)
        plan = decide(endpoint, parameters, session, self._settings.steering, started_s)
        if isinstance(plan, Leave):
            raise LeftError(plan.reason)
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
            seeds = choose_seeds(plan, view, session)
            # Login first: one call with this request's login, about a song that it must see.
            first, _ = await asker.song(view.links.song_id(seeds[0]))
            await self._check_folders(plan, asker)
        confirmed = self.sessions.get(identity) or session
        choice = Choice(
            plan,
            view,
            seeds,
            confirmed,
            self._ranking,
            now_s=started_s,
            remembers=self._settings.steering.history != "off",
        )
        in_thread = view.snapshot.n >= THREAD_FROM
        song_ids, songs = await self._hydrate(plan.count, choice, asker, until_s, in_thread)
        if not songs:
            raise LeftError("no-songs")
        self._remember(plan, view, parameters, confirmed, song_ids, started_s)
        return _composed(plan, first, songs)

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
            raise LeftError("folder-not-seen")

    async def _hydrate(
        self, count: int, choice: Choice, asker: Asker, until_s: float, in_thread: bool
    ) -> tuple[list[str], list[Any]]:
        """The best songs as this user sees them; others come in the place of hidden ones."""
        ids: list[str] = []
        songs: list[Any] = []
        seen: set[int] = set()
        loop = asyncio.get_running_loop()
        while len(songs) < count and loop.time() < until_s:
            missing = count - len(songs)
            chosen = (
                await asyncio.to_thread(choice.best, missing, seen)
                if in_thread
                else choice.best(missing, seen)
            )
            found = await asker.songs([one.song_id for one in chosen], until_s)
            seen.update(one.row for one in chosen)
            shown = [
                (one.song_id, song)
                for one, song in zip(chosen, found, strict=True)
                if song is not None
            ]
            ids += [song_id for song_id, _ in shown]
            songs += [song for _, song in shown]
            if len(shown) == len(chosen):  # all that there is, or all that was asked for
                break
        return ids, songs

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
