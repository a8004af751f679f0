"""The dashboard's JSON paths: what `dittod.serving.Dashboard` says and does, over HTTP.

They are for the page alone, change with it, and are no part of /openapi.json. It knows the bodies of requests; what is
in an answer is the dashboard's matter. Who may ask has been looked at before: `security.Token`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dittod.errors import AlreadyRunning, DittodError, HasChanged, NotFound, TooFewDemonstrations
from dittod.serving import Dashboard, Document
from dittod_service.dashboard.events import Changes, Events
from dittod_service.dashboard.pages import Pages
from dittod_service.dashboard.peers import OTHER_USER, is_another_users
from dittod_service.dashboard.session import CODE_SECONDS, COOKIE, SESSION_SECONDS, Sessions
from dittod_service.metrics import Metrics
from dittod_service.openai.errors import Failure, Refused
from dittod_service.openai.request import Label, Wire, missing, parse, refusal
from dittod_service.replies import json_response

MOST_PROMPT = 100_000  # characters
MOST_TARGETS = 1_000  # of one act of forgetting
MOST_SEARCH = 1_000  # characters

_threads = ThreadPoolExecutor(3, "dashboard")  # its own: a view that takes long holds no answer up

P = ParamSpec("P")
T = TypeVar("T")
Named = Annotated[Label, Field(min_length=1)]


class SignIn(Wire):
    code: Named


class Change(Wire):
    """Of a demonstration: one of the three."""

    profile: Named
    prompt: Annotated[str, Field(min_length=1, max_length=MOST_PROMPT)] | None = None
    template: Literal[True] | None = None
    excluded: bool | None = None


class Learn(Wire):
    do: Literal["update", "stop", "pause", "resume"]
    profile: Named | None = None  # of an update
    seconds: float | None = None  # of a pause; None: until it is ended


class Serve(Wire):
    do: Literal["promote", "pin", "unpin", "rollback"]
    version: Named | None = None  # of a rollback: what was shown as served
    profile: Named | None = None  # of a rollback


class Forget(Wire):
    """One of the last three. `rehearse` has no default: what is forgotten does not come back."""

    rehearse: bool
    texts: Annotated[int, Field(ge=0)] | None = None  # how many a rehearsal has shown: what is done takes no others
    targets: Annotated[list[Named], Field(min_length=1, max_length=MOST_TARGETS)] | None = None
    profile: Named | None = None
    waiting: Literal[True] | None = None  # what has gone from the folder and waits for a word


class Judgement(Wire):
    """Of two versions by their ids, or base."""

    chosen: Named
    other: Named


class DashboardPaths:
    """The endpoints below `/dashboard`. What waits for the disk does so in a thread."""

    def __init__(self, dashboard: Dashboard, sessions: Sessions, token: str, metrics: Metrics) -> None:
        self._dashboard = dashboard
        self._sessions = sessions
        self._token = token
        self._metrics = metrics

    async def link(self, request: Request) -> Response:
        return json_response({"code": self._sessions.code(), "expires_in": CODE_SECONDS})

    async def session(self, request: Request) -> Response:
        secure = request.url.scheme == "https"
        if request.method == "DELETE":
            response = json_response({"signed_out": True})
            response.delete_cookie(COOKIE, secure=secure, httponly=True, samesite="strict")
            return response
        if await asyncio.to_thread(is_another_users, request.scope):  # before anything that would tell of codes
            raise Refused(OTHER_USER)
        made = self._sessions.sign_in(parse(SignIn, await request.body()).code)
        response = json_response({"page_key": made.page_key})
        response.set_cookie(COOKIE, made.cookie, SESSION_SECONDS, secure=secure, httponly=True, samesite="strict")
        return response

    async def token(self, request: Request) -> Response:
        return json_response({"token": self._token})

    async def now(self, request: Request) -> Response:
        return await self._now()

    async def voices(self, request: Request) -> Response:
        return await told(self._dashboard.voices)

    async def voice(self, request: Request) -> Response:
        search = request.query_params.get("search", "")
        if len(search) > MOST_SEARCH:
            raise refusal("search", f"Expected at most {MOST_SEARCH} characters")
        return await told(self._dashboard.voice, request.path_params["profile"], search)

    async def demonstration(self, request: Request) -> Response:
        id: str = request.path_params["id"]
        if request.method == "POST":
            change = parse(Change, await request.body())
            return await told(_changing(change, id, self._dashboard))
        profile = request.query_params.get("profile")
        if not profile:
            raise missing("profile")
        return await told(self._dashboard.demonstration, profile, id)

    async def runs(self, request: Request) -> Response:
        return await told(self._dashboard.runs)

    async def run(self, request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) <= 12):
            raise refusal("after", "Expected the place of a step, a number from 0")
        return await told(self._dashboard.run, request.path_params["id"], int(after))

    async def learning(self, request: Request) -> Response:
        await asked(_learning(parse(Learn, await request.body()), self._dashboard))
        return await self._now()

    async def versions(self, request: Request) -> Response:
        if request.method == "POST":
            await asked(_serving(parse(Serve, await request.body()), self._dashboard))
        return await told(self._dashboard.versions)

    async def version(self, request: Request) -> Response:
        return await told(self._dashboard.version, request.path_params["id"])

    async def forget(self, request: Request) -> Response:
        wanted = parse(Forget, await request.body())
        if [wanted.targets, wanted.profile, wanted.waiting].count(None) != 2:
            raise refusal("targets", "Give one of 'targets', 'profile' and 'waiting'")
        if wanted.rehearse:
            return await told(self._dashboard.rehearse_forgetting, wanted.targets or [], wanted.profile)
        if wanted.texts is None:
            raise missing("texts")
        return await told(self._dashboard.forget, wanted.targets or [], wanted.profile, wanted.texts)

    async def receipts(self, request: Request) -> Response:
        return await told(self._dashboard.receipts)

    async def judgements(self, request: Request) -> Response:
        if request.method == "POST":
            said = parse(Judgement, await request.body())
            return await told(self._dashboard.judge, said.chosen, said.other)
        return await told(self._dashboard.judgements)

    async def connect(self, request: Request) -> Response:
        here = f"{request.url.scheme}://{request.headers['host']}"  # as this browser reaches it, through a tunnel say
        return await told(self._dashboard.clients, here)

    async def _now(self) -> Response:
        return await told(lambda: {**self._dashboard.now(), "requests": self._metrics.summary()})


def dashboard_routes(paths: DashboardPaths, pages: Pages, changes: Changes) -> list[BaseRoute]:
    """All of them but `/`, which others ask for, too."""
    below = {
        "link": (paths.link, ["POST"]),
        "session": (paths.session, ["POST", "DELETE"]),
        "token": (paths.token, ["GET"]),
        "now": (paths.now, ["GET"]),
        "voices": (paths.voices, ["GET"]),
        "voices/{profile}": (paths.voice, ["GET"]),
        "demonstrations/{id}": (paths.demonstration, ["GET", "POST"]),
        "runs": (paths.runs, ["GET"]),
        "runs/{id}": (paths.run, ["GET"]),
        "learning": (paths.learning, ["POST"]),
        "versions": (paths.versions, ["GET", "POST"]),
        "versions/{id}": (paths.version, ["GET"]),
        "forget": (paths.forget, ["POST"]),
        "receipts": (paths.receipts, ["GET"]),
        "judgements": (paths.judgements, ["GET", "POST"]),
        "connect": (paths.connect, ["GET"]),
    }
    made: list[BaseRoute] = [
        Route(f"/dashboard/{path}", endpoint, methods=methods) for path, (endpoint, methods) in below.items()
    ]
    return [
        *made,
        Route("/dashboard/events", Events(changes), methods=["GET"]),
        Route("/static/{name}", pages.file),
    ]


async def told(act: Callable[P, Document], *values: P.args, **named: P.kwargs) -> Response:
    """As JSON, which is made in the thread as well: all texts of a voice take a while."""
    return await asked(lambda: json_response(act(*values, **named)))


async def asked(act: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
    """In a thread. What is not there is named by its own words, and what cannot be done now is no fault of the
    server."""
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, partial(act, *values, **named))
    except NotFound as error:
        raise _refused(404, error, "not_found") from None
    except (AlreadyRunning, HasChanged, TooFewDemonstrations) as error:
        raise _refused(409, error, "not_now") from None


def _changing(change: Change, id: str, dashboard: Dashboard) -> Callable[[], Document]:
    given = [name for name in ("prompt", "template", "excluded") if getattr(change, name) is not None]
    if len(given) != 1:
        raise refusal("prompt", "Give one of 'prompt', 'template' and 'excluded'")
    if change.excluded is not None:
        return partial(dashboard.exclude, change.profile, id, change.excluded)
    return partial(dashboard.set_prompt, change.profile, id, change.prompt)


def _learning(wanted: Learn, dashboard: Dashboard) -> Callable[[], Any]:
    match wanted.do:
        case "pause":
            return partial(dashboard.pause, wanted.seconds)
        case "resume":
            return dashboard.resume
        case "update":
            return partial(dashboard.update, _there(wanted.profile, "profile"))
        case "stop":
            return partial(dashboard.stop_update, _there(wanted.profile, "profile"))


def _serving(wanted: Serve, dashboard: Dashboard) -> Callable[[], Any]:
    if wanted.do == "rollback":
        profile = _there(wanted.profile, "profile")
        return partial(dashboard.roll_back, profile, _there(wanted.version, "version"))
    version = _there(wanted.version, "version")
    if wanted.do == "promote":
        return partial(dashboard.promote, version)
    return partial(dashboard.pin, version, wanted.do == "pin")


def _there(value: str | None, param: str) -> str:
    if value is None:
        raise missing(param)
    return value


def _refused(status: int, error: DittodError, code: str) -> Refused:
    message = f"{error.title[:1].upper()}{error.title[1:].rstrip('.')}. {error.hint}".strip()
    return Refused(Failure(status, message, code=code))
