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

from starlette.types import ASGIApp, Receive, Scope, Send

from proxy import calls, headers
from proxy.calls import Body, Headers, Identity
from proxy.choosing import Choice, LeftError, by_folder, choose_seeds
from proxy.composing import Composed, dress
from proxy.composing import marks as response_marks
from proxy.decisions import (
    RANDOM_ENDPOINT,
    SIMILAR_DEFAULT_COUNT,
    SIMILAR_ENDPOINTS,
    Leave,
    Plan,
    decide,
    is_probe,
)
from proxy.errors import UpstreamError
from proxy.hydration import Asker, Missing, RefusedError, Reply
from proxy.knowledge import Knowledge, View
from proxy.metrics import Metrics
from proxy.observation import OBSERVED, OkTap, observe
from proxy.replay import ReplayedBody
from proxy.session import Evidence, Session
from proxy.sessions import Keeper, Sessions
from proxy.settings import ProxySettings
from proxy.upstream import Upstream
from ranker.settings import RankingSettings
from subsonic.envelope import Format, wanted_format
from subsonic.errors import NOT_AUTHORISED, NOT_FOUND, AnswerError
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

#: How often songs that a user may not see are replaced by others.
_MOST_TURNS: Final = 6

#: From this many tracks on, ranking leaves the event loop.
THREAD_FROM: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call that may be steered or listened to.

    `endpoint` "song" is `/api/song/<id>`. `headers` are those that go to the upstream.
    """

    endpoint: str
    parameters: Parameters
    identity: Identity
    headers: Headers
    at_s: float


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
        keeper: Keeper | None = None,
    ) -> None:
        self._settings = settings
        self._ranking = ranking
        self._upstream = upstream
        self._knowledge = knowledge
        self._metrics = metrics
        self._timer = timer
        self.sessions = Sessions(timer, keeper)

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
        body = ReplayedBody(receive)
        kind = calls.kind_of_body(scope["method"], scope["headers"])
        form = await body.read() if kind is Body.FORM else b""
        try:
            if kind is Body.UNREAD or form is None:
                raise ParameterError("the body may hold parameters that were not read")
            parameters = Parameters.parse(scope["query_string"], form)
            onward = headers.request_headers(scope["headers"], scope, self._settings.server)
            user_header = self._trusted_user_header(scope)
            identify = calls.identify_native if endpoint == "song" else calls.identify
            identity = identify(parameters, onward, user_header)
        except Exception as error:  # fail open, whatever the request holds
            if not isinstance(error, ParameterError):
                _log.exception("a call cannot be read; the upstream answers it")
            asked = _Asked(endpoint, Parameters(), Identity(""), (), started_s)
            return await self._hand_on(scope, body, send, forward, asked, "odd-parameters")
        asked = _Asked(endpoint, parameters, identity, onward, started_s)
        if endpoint not in STEERED:
            return await self._listen(scope, body, send, forward, asked)
        try:
            composed = await self._steer(asked, by_form=bool(form))
        except LeftError as left:
            reason = left.reason
        except (UpstreamError, AnswerError) as error:
            reason = "upstream"
            _log.info("%s is left to the upstream: %s", endpoint, error)
        except RefusedError:
            reason = "refused"
        except TimeoutError:
            reason = "deadline"
        except Exception:  # fail open, whatever it is; the log says what
            reason = "error"
            _log.exception("steering %s failed; the upstream answers", endpoint)
        else:
            return await self._answer(composed, send, started_s)
        return await self._hand_on(scope, body, send, forward, asked, reason)

    # Forwarding and listening

    async def _hand_on(
        self,
        scope: Scope,
        body: ReplayedBody,
        send: Send,
        forward: ASGIApp,
        asked: _Asked,
        reason: str,
    ) -> None:
        """Let the upstream answer a call that may be steered, and note what it then knows of."""
        if asked.endpoint not in STEERED:
            return await forward(scope, body.replay, send)
        own_ms = (self._timer() - asked.at_s) * 1000
        self._metrics.fallbacks[reason] += 1

        def marks(failed: bool) -> list[tuple[bytes, bytes]]:
            # Who is refused must learn nothing from us: not what is linked, not who is listening.
            return response_marks("forwarded; reason=failed", 0.0) if failed else response_marks(
                f"forwarded; reason={reason}", own_ms
            )  # fmt: skip

        tap = OkTap(
            send,
            is_xml=wanted_format(asked.parameters) is Format.XML,
            on_ok=lambda: self._note_forwarded(asked),
            marks=marks,
        )
        return await forward(scope, body.replay, tap)

    def _note_forwarded(self, asked: _Asked) -> None:
        """The upstream answered in our place: what comes next belongs to it all the same."""
        session = self.sessions.get(asked.identity)
        if session is None:
            return
        if asked.endpoint in SIMILAR_ENDPOINTS:
            view = self._knowledge.view
            seed_id = asked.parameters.first("id")
            is_song = view is not None and view.links.song(seed_id) is not None
            count = max(asked.parameters.integer("count", SIMILAR_DEFAULT_COUNT), 0)
            session.note_similar([seed_id] if is_song else [], count, asked.at_s)
        elif is_probe(asked.parameters):
            session.probe_at_s = asked.at_s

    async def _listen(
        self, scope: Scope, body: ReplayedBody, send: Send, forward: ASGIApp, asked: _Asked
    ) -> None:
        native = asked.endpoint == "song"
        parameters = asked.parameters
        if native:
            parameters = Parameters([("id", calls.native_song_id(_path(scope)) or "")])
        tap = OkTap(
            send,
            is_xml=not native and wanted_format(parameters) is Format.XML,
            song_id=parameters.first("id") if native else "",
            on_ok=lambda: observe(
                self.sessions, asked.identity, asked.endpoint, parameters, asked.at_s
            ),
        )
        await forward(scope, body.replay, tap)

    # Steering

    async def _steer(self, asked: _Asked, *, by_form: bool) -> Composed:
        view = self._knowledge.view
        if view is None:
            raise LeftError("no-snapshot")
        if not len(view.links):
            raise LeftError("nothing-linked")
        settings = self._settings.steering
        session = self.sessions.peek(asked.identity)
        plan = decide(asked.endpoint, asked.parameters, session, settings, asked.at_s)
        if isinstance(plan, Leave):
            raise LeftError(plan.reason)
        budget_s = settings.deadline_ms / 1000
        until_s = asyncio.get_running_loop().time() + budget_s - min(_RESERVE_S, budget_s / 5)
        asker = Asker(
            self._upstream,
            asked.parameters,
            asked.headers,
            plan.format,
            by_form=by_form,
        )
        # Login first: nothing that is kept is used before the upstream said ok to this login.
        async with asyncio.timeout_at(until_s):
            if plan.probe:
                await asker.ask("ping")
                session = await self._await_playing(asked)
            first, seeds = await self._confirm(asker, view, choose_seeds(plan, view, session))
            if len(plan.folder_ids) > 1 and not set(plan.folder_ids) <= await asker.folder_ids():
                raise LeftError("folder-not-seen")  # one unknown is the upstream's own error
        confirmed = self.sessions.get(asked.identity) or session
        choice = Choice(
            plan,
            view,
            seeds,
            confirmed,
            self._ranking,
            now_s=asked.at_s,
            remembers=settings.history != "off",
        )
        in_thread = view.snapshot.n >= THREAD_FROM
        song_ids, songs = await self._hydrate(plan.count, choice, asker, until_s, in_thread)
        if not songs:
            raise LeftError("no-songs")
        self._remember(plan, view, confirmed, song_ids, asked.at_s)
        return dress(plan, first, songs)

    async def _confirm(
        self, asker: Asker, view: View, seeds: Sequence[int]
    ) -> tuple[Reply, Sequence[int]]:
        """The first answer to this login, and those seeds that this user may see.

        An artist's songs may lie in several music folders: one song of each is asked for.
        """
        first: Reply | None = None
        seen: list[int] = []
        refused = RefusedError(NOT_FOUND)
        for group in by_folder(seeds, view):
            try:
                reply, _ = await asker.song(view.links.song_id(group[0]))
            except RefusedError as error:
                if error.code not in (NOT_FOUND, NOT_AUTHORISED):
                    raise  # the login itself: asking again would only count as another try
                refused = error
                continue
            first = first or reply
            seen += group
        if first is None:
            raise refused
        return first, seen

    async def _await_playing(self, asked: _Asked) -> Session:
        """The session once it is known what plays, or as it is after `AWAIT_PLAYING_S`.

        `getTranscodeDecision` may be about the next song: it counts if nothing better comes.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + AWAIT_PLAYING_S
        since_s = asked.at_s - _JUST_BEFORE_S
        while True:
            session = self.sessions.peek(asked.identity)
            if session.playing is not None and session.playing.at_s >= since_s:
                return session
            if loop.time() >= until_s:
                break
            await asyncio.sleep(_AWAIT_STEP_S)
        if session.decided is not None and session.decided.at_s >= since_s:
            session.note_playing(session.decided.song_id, asked.at_s, Evidence.STARTS)
        return session

    async def _hydrate(
        self, count: int, choice: Choice, asker: Asker, until_s: float, in_thread: bool
    ) -> tuple[list[str], list[Any]]:
        """The best songs as this user sees them; others come in the place of hidden ones."""
        ids: list[str] = []
        songs: list[Any] = []
        rows: set[int] = set()
        loop = asyncio.get_running_loop()
        for turn in range(_MOST_TURNS):
            missing = count - len(songs)
            if missing <= 0 or loop.time() >= until_s:
                break
            try:
                async with asyncio.timeout_at(until_s):
                    chosen = (
                        await asyncio.to_thread(choice.best, missing, rows)
                        if in_thread
                        else choice.best(missing, rows)
                    )
                found = await asker.songs([one.song_id for one in chosen], until_s)
                unseen = [
                    one.song_id
                    for one, song in zip(chosen, found, strict=True)
                    if isinstance(song, Missing)
                ]
                if Missing.HIDDEN in found and turn == 0:
                    async with asyncio.timeout_at(until_s):
                        choice.restrict(await asker.folder_ids())
            except (TimeoutError, UpstreamError, AnswerError, RefusedError):
                if not songs:
                    raise
                break
            choice.hide(unseen)
            for one, song in zip(chosen, found, strict=True):
                if not isinstance(song, Missing):
                    rows.add(one.row)
                    ids.append(one.song_id)
                    songs.append(song)
            if not unseen:  # all that there is, or all that was asked for
                break
        return ids, songs

    def _remember(
        self,
        plan: Plan,
        view: View,
        session: Session,
        song_ids: Sequence[str],
        at_s: float,
    ) -> None:
        if plan.seed_id:
            is_song = view.links.song(plan.seed_id) is not None
            session.note_similar([plan.seed_id] if is_song else [], plan.count, at_s)
        elif plan.probe:
            session.probe_at_s = at_s
        session.note_served(song_ids, at_s, pool=plan.is_pool)

    async def _answer(self, composed: Composed, send: Send, started_s: float) -> None:
        seconds = self._timer() - started_s
        self._metrics.requests["steer", "steered"] += 1
        self._metrics.observe_steering(seconds * 1000)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [*composed.headers, *response_marks("steered", seconds * 1000)],
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
