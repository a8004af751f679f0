"""`/v1/feedback`: what the user says of answers. OpenAI has no such path; its clients reach it by their `post`.

Knows the wire format and the daemon's desk; what becomes of a remark is decided there.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from dittod.errors import NotFound, RequestError
from dittod.serving import Backend, Feedback, Outcome, Rating, Remark
from dittod.types import Message
from dittod_service.generation import resolved
from dittod_service.openai.errors import Failure, Refused
from dittod_service.openai.messages import Turns, to_messages
from dittod_service.openai.request import Label, ModelName, ModelRequest, missing, parse, refusal
from dittod_service.replies import json_response

MAX_CHARACTERS = 100_000  # of an answer, of what it should have been, and of a prompt
WHICH_ANSWER = "'id' of a kept answer, or 'model', 'answer' and one of 'messages' and 'prompt'"
WHAT_OF_IT = "one of 'edited' and 'rating'"

Text = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
Voice = Annotated[
    ModelName, BeforeValidator(lambda name: "" if name is None else name, json_schema_input_type=ModelName | None)
]


class FeedbackRequest(ModelRequest):
    model: Voice = ""  # with `answer`: the voice that answered
    id: Annotated[Label, Field(min_length=1)] | None = None  # of a kept answer
    messages: Turns | None = None  # with `answer`: what was asked
    prompt: Text | None = None  # the same, as one text
    answer: Text | None = None  # of an answer that is not kept
    edited: Text | None = None
    rating: Literal["up", "down"] | None = None


class FeedbackObject(TypedDict):
    """What became of it."""

    id: str
    object: Literal["feedback"]
    created: int
    profile: str
    rating: Rating
    outcome: Outcome


class FeedbackList(TypedDict):
    """All of it, the oldest first."""

    object: Literal["list"]
    data: list[FeedbackObject]


class Deleted(TypedDict):
    """It was taken back."""

    id: str
    object: Literal["feedback"]
    deleted: bool


class FeedbackPaths:
    """The endpoints of `/feedback`. What waits for the disk does so in a thread."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def all(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._take(await request.body())
        found = await asyncio.to_thread(self._backend.feedback.all)
        return json_response(FeedbackList(object="list", data=[to_object(each) for each in found]))

    async def one(self, request: Request) -> Response:
        id: str = request.path_params["id"]
        try:
            await asyncio.to_thread(self._backend.feedback.take_back, id)
        except NotFound as error:
            raise _not_found(error, "feedback_id") from None
        return json_response(Deleted(id=id, object="feedback", deleted=True))

    async def _take(self, body: bytes) -> Response:
        remark = to_remark(parse(FeedbackRequest, body), self._backend)
        try:
            taken = await asyncio.to_thread(self._backend.feedback.take, remark)
        except NotFound as error:
            raise _not_found(error, "id") from None
        return json_response(to_object(taken))


def to_remark(request: FeedbackRequest, backend: Backend) -> Remark:
    """What a body says. Raises RequestError for what does not go together, and NotFound for a model."""
    if request.edited is None and request.rating is None:
        raise _incomplete(request)
    if request.edited is not None and request.rating == "up":
        raise refusal("rating", "An answer that was edited is not rated up: give one of 'edited' and 'rating'")
    if request.id is not None:
        _refuse_beside_id(request)
        return Remark(answer_id=request.id, edited=request.edited, rating=request.rating)
    if not _names_an_answer(request):
        raise _incomplete(request)
    if request.answer is None:
        raise missing("answer")
    if not request.model:
        raise missing("model")
    profile = resolved(backend, request.model).profile
    if not profile:
        raise refusal("model", "base is nobody's voice, and learns nothing: name the voice that is to learn from this")
    return Remark("", profile, _asked(request), request.answer, request.edited, request.rating)


def to_object(feedback: Feedback) -> FeedbackObject:
    """As it goes over the wire."""
    return {
        "id": feedback.id,
        "object": "feedback",
        "created": int(feedback.created_at),
        "profile": feedback.profile,
        "rating": feedback.rating,
        "outcome": feedback.outcome,
    }


def _names_an_answer(request: FeedbackRequest) -> bool:
    """Or begins to: what is still missing is one thing then."""
    return any(each is not None for each in (request.id, request.messages, request.prompt, request.answer))


def _incomplete(request: FeedbackRequest) -> RequestError:
    """Names everything that is missing."""
    of_answer = "" if _names_an_answer(request) else WHICH_ANSWER
    of_remark = WHAT_OF_IT if request.edited is None and request.rating is None else ""
    what = "; and ".join(filter(None, (of_answer, of_remark)))
    return RequestError(
        f"Missing required parameters: {what}",
        param="id" if of_answer else "edited",
        code="missing_required_parameter",
    )


def _refuse_beside_id(request: FeedbackRequest) -> None:
    for param in ("messages", "prompt", "answer"):
        if getattr(request, param) is not None:
            raise refusal(param, "The parameter is not allowed with 'id', which says it already")


def _asked(request: FeedbackRequest) -> tuple[Message, ...]:
    if request.messages is not None:
        if request.prompt is not None:
            raise refusal("prompt", "Give one of 'messages' and 'prompt'")
        return to_messages(request.messages)
    if request.prompt is None:
        raise missing("messages")
    return (Message("user", request.prompt),)


def _not_found(error: NotFound, param: str) -> Refused:
    message = f"{error.title[:1].upper()}{error.title[1:]}. {error.hint}"
    return Refused(Failure(404, message, param=param, code="not_found"))
