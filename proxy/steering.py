"""The calls that Segue answers itself, and the calls that it only listens to.

A steered call, step by step: decide, check the login and the seed with one call as this user,
rank, hydrate each pick as this user, compose. Whatever goes wrong or takes too long on the way,
the request is handed on as it came and the upstream answers it: asked then, never before.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Sequence
from time import localtime, monotonic, time
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from proxy import calls, headers
from proxy.admission import Admission
from proxy.calls import Asked, Body, Headers, Identity
from proxy.choosing import Choice, LeftError
from proxy.composing import Composed, dress, refusal
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
from proxy.gathering import Gathered, gather
from proxy.hydration import CONCURRENCY, Asker, RefusedError, Reply
from proxy.knowledge import Knowledge, View
from proxy.listening import Listening, stream_endpoint
from proxy.logins import Logins
from proxy.mending import Mending
from proxy.metrics import Metrics
from proxy.observation import OBSERVED, OkTap
from proxy.replay import ReplayedBody
from proxy.session import Session
from proxy.sessions import Keeper, Sessions
from proxy.settings import ProxySettings
from proxy.shares import Shares
from proxy.shelves import Shelves
from proxy.tastes import Tastes
from proxy.upstream import HttpUpstream
from proxy.why import Explanations, ServedList, Why
from ranker.settings import RankingSettings
from subsonic.envelope import Format, wanted_format
from subsonic.errors import LOGIN_ERRORS, AnswerError
from subsonic.parameters import ParameterError, Parameters

_log = logging.getLogger("segue.steering")

STEERED: Final = frozenset((*SIMILAR_ENDPOINTS, RANDOM_ENDPOINT))

#: Kept of the deadline for composing and sending.
_RESERVE_S: Final = 0.03

#: From this many tracks on, ranking leaves the event loop.
THREAD_FROM: Final = 20_000


class Steering:
    """Implements the application's steering seam over one upstream."""

    def __init__(
        self,
        settings: ProxySettings,
        ranking: RankingSettings,
        upstream: HttpUpstream,
        knowledge: Knowledge,
        metrics: Metrics,
        *,
        timer: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = time,
        keeper: Keeper | None = None,
        tastes: Tastes | None = None,
    ) -> None:
        self._settings = settings
        self._ranking = ranking
        self._upstream = upstream
        self._knowledge = knowledge
        self._metrics = metrics
        self._timer = timer
        self._wall_clock = wall_clock
        self._tastes = tastes
        self._mending = Mending(tastes, timer, wall_clock)
        self.sessions = Sessions(timer, keeper)
        logins = Logins(timer)
        self.shelves = Shelves(timer, logins)
        self._shares = Shares(CONCURRENCY)
        self._listening = Listening(self.sessions, self.shelves, logins, wall_clock)
        self._admission = Admission(self.sessions, self.shelves, logins)
        self.explanations = Explanations()
        #: The page `/segue/why`, an ASGI application.
        self.why = Why(self.explanations, upstream, settings.server, lambda: knowledge.view)

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Drop what is in memory of users of whom `is_gone` holds."""
        self.sessions.forget(is_gone)
        self.shelves.drop_where(is_gone)
        self.explanations.forget(is_gone)

    def claims(self, scope: Scope) -> bool:
        """Whether a request is one that may be steered or that tells about a session."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "POST"):
            return False
        path = _path(scope)
        endpoint = calls.rest_endpoint(path)
        if endpoint is not None:
            # The upstream routes by what was sent: `/rest/%67etSong` is no call there.
            plain = b"%" not in scope.get("raw_path", b"")
            return plain and (endpoint in STEERED or endpoint in OBSERVED)
        return scope["method"] == "GET" and calls.native_song_id(path) is not None

    def overhears(self, scope: Scope) -> Callable[[int, Headers], None] | None:
        """For a call that is forwarded: what is to be told of its answer's head, if anything."""
        endpoint = stream_endpoint(_path(scope))
        if endpoint is None or scope["method"] != "GET":
            return None
        try:
            return self._listening.overhear(self._read(scope, endpoint, b"", self._timer()))
        except ParameterError:
            return None

    def _read(self, scope: Scope, endpoint: str, form: bytes, at_s: float) -> Asked:
        parameters = Parameters.parse(scope["query_string"], form)
        onward = headers.request_headers(scope["headers"], scope, self._settings.server)
        user_header = self._trusted_user_header(scope)
        identify = calls.identify_native if endpoint == "song" else calls.identify
        return Asked(endpoint, parameters, identify(parameters, onward, user_header), onward, at_s)

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
            asked = self._read(scope, endpoint, form, started_s)
        except Exception as error:  # fail open, whatever the request holds
            if not isinstance(error, ParameterError):
                _log.exception("a call cannot be read; the upstream answers it")
            asked = Asked(endpoint, Parameters(), Identity(""), (), started_s)
            return await self._hand_on(scope, body, send, forward, asked, "odd-parameters")
        if endpoint not in STEERED:
            return await self._listening(scope, body, send, forward, asked)
        try:
            composed = await self._steer(asked, by_form=bool(form))
        except LeftError as left:
            reason = left.reason
        except (UpstreamError, AnswerError) as error:
            reason = "upstream"
            _log.info("%s is left to the upstream: %s", endpoint, error)
        except RefusedError as error:
            reason = "refused"
            if error.code in LOGIN_ERRORS and error.body:
                # Its own answer to this login. To ask again would count as another try, and would
                # take longer than for a user whom nothing is known of: strangers have clocks.
                self._metrics.fallbacks[reason] += 1
                return await self._send(send, refusal(asked.parameters, error))
        except TimeoutError:
            reason = "deadline"
        except Exception:  # fail open, whatever it is; the log says what
            reason = "error"
            _log.exception("steering %s failed; the upstream answers", endpoint)
        else:
            return await self._answer(composed, send, started_s)
        return await self._hand_on(scope, body, send, forward, asked, reason)

    # Forwarding

    async def _hand_on(
        self,
        scope: Scope,
        body: ReplayedBody,
        send: Send,
        forward: ASGIApp,
        asked: Asked,
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

    def _note_forwarded(self, asked: Asked) -> None:
        """The upstream answered in our place: what comes next belongs to it all the same."""
        session = self.sessions.get(asked.identity, asked.at_s)
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

    # Steering

    async def _steer(self, asked: Asked, *, by_form: bool) -> Composed:
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
            share=self._shares.of(asked.identity.user),
        )
        admission = self._admission.admit(asked, plan, view, session, asker, until_s)
        async with admission as admitted:
            session, seeds, shelf = admitted.session, admitted.seeds, admitted.shelf
            gathered = await gather(
                plan.count,
                lambda: self._choice(asked, plan, view, seeds, session),
                session,
                asker,
                admitted.confirming,
                until_s,
                together=shelf is None or shelf.is_empty,
                in_thread=view.snapshot.n >= THREAD_FROM,
                now_s=asked.at_s,
            )
            first, _ = await admitted.confirming
        if not gathered.songs:
            raise LeftError("no-songs")
        looked = await self._mending.look(asked, asker, until_s)
        self._remember(asked, plan, view, session, gathered, seeds, first)
        shown = zip(gathered.song_ids, gathered.songs, strict=True)
        self._mending.learn(asked, session, [*looked, *shown])
        return dress(plan, first, gathered.songs)

    def _choice(
        self, asked: Asked, plan: Plan, view: View, seeds: Sequence[int], session: Session
    ) -> Choice:
        wall_s = self._wall_clock()
        user = asked.identity.user
        # Chance falls the same way all day (but for a radio that is begun again, see `Choice`),
        # another way tomorrow, and not the same way for everyone.
        day = int(wall_s // 86_400) if abs(wall_s) < 1e12 else 0
        return Choice(
            plan,
            view,
            seeds,
            session,
            self._ranking,
            now_s=asked.at_s,
            remembers=self._settings.steering.history != "off",
            taste=self._tastes.of(user, view) if self._tastes is not None else None,
            month=localtime(wall_s).tm_mon if abs(wall_s) < 1e11 else 0,
            chance=zlib.crc32(f"{user}\0{day}".encode("utf-8", "replace")) + 1,
        )

    def _remember(
        self,
        asked: Asked,
        plan: Plan,
        view: View,
        session: Session,
        gathered: Gathered,
        seeds: Sequence[int],
        first: Reply,
    ) -> None:
        at_s = asked.at_s
        if self.sessions.is_forgotten(asked.identity.user, at_s):
            return
        if plan.seed_id:
            is_song = view.links.song(plan.seed_id) is not None
            session.note_similar([plan.seed_id] if is_song else [], plan.count, at_s)
        session.note_served(gathered.song_ids, at_s, pool=plan.is_pool, seed_id=plan.seed_id)
        after = plan.seed_id or view.links.song_id(seeds[0])

        def explain() -> None:
            user, client = asked.identity.user, asked.identity.client
            if self.sessions.is_forgotten(user, at_s):
                return
            told = zip(gathered.song_ids, gathered.songs, gathered.picks, strict=True)
            like = first.answer.payload("song")
            served = ServedList.of(self._wall_clock(), client, asked.endpoint, after, like, told)
            self.explanations.add(user, served)
            served.tell(soon)

        soon = asyncio.get_running_loop().call_soon
        soon(explain)  # the answer goes first

    async def _answer(self, composed: Composed, send: Send, started_s: float) -> None:
        seconds = self._timer() - started_s
        self._metrics.requests["steer", "steered"] += 1
        self._metrics.observe_steering(seconds * 1000)
        marks = response_marks("steered", seconds * 1000)
        await self._send(send, Composed([*composed.headers, *marks], composed.body))

    async def _send(self, send: Send, composed: Composed) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": composed.headers}
        await send(start)
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
