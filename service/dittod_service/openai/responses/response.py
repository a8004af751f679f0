"""The response object: what was asked, and what has come of it so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from dittod.engine.protocol import Done
from dittod.types import Tool
from dittod_service.openai.errors import Failure, JsonObject
from dittod_service.openai.formats import schema_of_format
from dittod_service.openai.request import missing
from dittod_service.openai.responses.items import OutputItem
from dittod_service.openai.responses.request import ResponseRequest, metadata
from dittod_service.openai.tools import ToolUse


class ErrorDetail(TypedDict):
    """What went wrong here after the answer had begun."""

    code: Literal["server_error"]
    message: str


class IncompleteDetails(TypedDict):
    """Why the answer ends in the middle."""

    reason: Literal["max_output_tokens"]


class InputTokensDetails(TypedDict):
    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(TypedDict):
    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """Tokens read and written."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ReasoningEcho(TypedDict):
    effort: str | None
    summary: None


class TextEcho(TypedDict):
    format: JsonObject


class ResponseObject(TypedDict):
    """As OpenAI's type `Response` has it."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: bool
    error: ErrorDetail | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: ReasoningEcho
    temperature: float
    text: TextEcho
    tool_choice: object
    tools: list[JsonObject]
    top_logprobs: int
    top_p: float
    truncation: Literal["disabled"]
    usage: ResponseUsage | None


def begun(request: ResponseRequest, id: str, created_at: int, tools: Sequence[Tool], use: ToolUse) -> ResponseObject:
    """A response of which nothing is there yet."""
    return ResponseObject(
        id=id,
        object="response",
        created_at=created_at,
        status="in_progress",
        background=False,
        error=None,
        incomplete_details=None,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        metadata=metadata(request),
        model=request.model,
        output=[],
        parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id,
        reasoning=ReasoningEcho(effort=request.effort, summary=None),
        temperature=1.0 if request.temperature is None else request.temperature,
        text=TextEcho(format=_format(request)),
        tool_choice=_choice(request, use),
        tools=[_tool(tool) for tool in tools],
        top_logprobs=request.top_logprobs or 0,
        top_p=1.0 if request.top_p is None else request.top_p,
        truncation="disabled",
        usage=None,
    )


def ended(response: ResponseObject, output: list[OutputItem], done: Done, cut: bool) -> ResponseObject:
    """A response that came to its end, or was cut at the limit of its length."""
    return ResponseObject(
        {
            **response,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": IncompleteDetails(reason="max_output_tokens") if cut else None,
            "output": output,
            "usage": _usage(done),
        }
    )


def failed(response: ResponseObject, output: list[OutputItem], failure: Failure) -> ResponseObject:
    """A response that could not be gone on with."""
    error = ErrorDetail(code="server_error", message=failure.message)
    return ResponseObject({**response, "status": "failed", "output": output, "error": error})


def _usage(done: Done) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=done.prompt_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=done.cached_tokens, cache_write_tokens=0),
        output_tokens=done.completion_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=done.reasoning_tokens),
        total_tokens=done.prompt_tokens + done.completion_tokens,
    )


def _format(request: ResponseRequest) -> JsonObject:
    """The format as it is written here, beside its type, also if the client wrote it as chats do."""
    schema, form = schema_of_format(request.format, "text.format"), request.format
    if schema is None or not isinstance(form, dict):
        return {"type": "text"}
    if form["type"] != "json_schema":
        return {"type": form["type"]}
    inner = form if "schema" in form else form["json_schema"]
    if inner.get("name") is None:
        raise missing("text.format.name")
    return {"type": "json_schema", "name": inner["name"], "schema": schema, "strict": bool(inner.get("strict"))}


def _choice(request: ResponseRequest, use: ToolUse) -> object:
    if use.name is not None:
        return {"type": "function", "name": use.name}
    if isinstance(request.tool_choice, dict):
        allowed = [{"type": "function", "name": tool.name} for tool in use.tools]
        return {"type": "allowed_tools", "mode": use.choice, "tools": allowed}
    return use.choice


def _tool(tool: Tool) -> JsonObject:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
