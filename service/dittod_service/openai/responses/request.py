"""A request for a response: its parameters, what they mean to the engine, and what is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import FailFast, Field, WithJsonSchema

from dittod.engine.protocol import AdapterRef, Generate
from dittod_service.openai.fields import Nothing
from dittod_service.openai.formats import schema_of_format
from dittod_service.openai.request import TextRequest, Tokens, Wire, missing, refusal, sampling, unsupported
from dittod_service.openai.responses.conversation import to_messages
from dittod_service.openai.responses.fields import (
    MAX_KEY_CHARACTERS,
    MAX_METADATA,
    MAX_VALUE_CHARACTERS,
    Background,
    Input,
    Metadata,
    TextFormat,
    ToolChoice,
    Tools,
    Truncation,
)
from dittod_service.openai.responses.items import Item
from dittod_service.openai.tools import ToolUse

# what the engine calls as chats do
NAMES = {"messages": "input", "response_format": "text.format", "reasoning_effort": "reasoning.effort"}
LOGPROBS = "message.output_text.logprobs"  # the only thing to `include` that there is
CALLED_HERE = {  # what chats know under another name
    "max_tokens": "'max_output_tokens'",
    "max_completion_tokens": "'max_output_tokens'",
    "response_format": "'text.format'",
    "reasoning_effort": "'reasoning.effort'",
    "logprobs": f"'top_logprobs', or '{LOGPROBS}' in 'include'",
}


class ReasoningOptions(Wire):
    """Summaries are not made; what the model thinks is told as it is."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class TextOptions(Wire):
    format: TextFormat = None


class ResponseRequest(TextRequest):
    """What OpenAI's other endpoints know beyond it (`stop`, `seed`, …) is honoured here too."""

    n: Annotated[int, Field(ge=1, le=1)] | None = None
    max_tokens: Annotated[Tokens | None, WithJsonSchema({"type": "null"})] = None
    max_completion_tokens: Nothing = None
    response_format: Nothing = None
    reasoning_effort: Nothing = None
    logprobs: Nothing = None
    max_output_tokens: Tokens | None = None
    input: Input = None
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    include: Annotated[list[str] | None, FailFast()] = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    metadata: Metadata = None
    truncation: Truncation = None
    background: Background = None
    conversation: Nothing = None
    moderation: Nothing = None
    prompt: Nothing = None

    @property
    def stored(self) -> bool:
        return self.store is not False

    @property
    def alternatives(self) -> int | None:
        """How many alternatives per token; None: no log-probs. Asking for alternatives is asking for log-probs."""
        if self.top_logprobs or LOGPROBS in (self.include or ()):
            return self.top_logprobs or 0
        return None

    @property
    def format(self) -> object:
        return self.text.format if self.text else None

    @property
    def effort(self) -> str | None:
        return self.reasoning.effort if self.reasoning else None


def refuse_unsupported(request: ResponseRequest) -> None:
    """What OpenAI's servers do and this one does not, and what only other endpoints know."""
    if request.background:
        raise unsupported("background", "Responses in the background are")
    if request.moderation is not None:
        raise unsupported("moderation", "Moderation is")
    if request.conversation is not None:
        raise unsupported("conversation", "Conversations are")
    if request.prompt is not None:
        raise unsupported("prompt", "Prompt templates are")
    if request.truncation == "auto":
        raise unsupported("truncation", "Dropping items from a conversation that is too long is")
    if request.truncation not in (None, "disabled"):
        raise refusal("truncation", "Supported values are: disabled")
    for param, name in CALLED_HERE.items():
        if getattr(request, param) is not None:
            raise refusal(param, f"Here it is called {name}", "unsupported_parameter")
    if (request.input is None or request.input == []) and request.previous_response_id is None:
        raise missing("input")


def generate(
    request: ResponseRequest, adapter: AdapterRef | None, id: str, items: Sequence[Item], use: ToolUse
) -> Generate:
    """What the engine is to do about a conversation."""
    return Generate(
        id=id,
        adapter=adapter,
        sampling=sampling(request, max_tokens=request.max_output_tokens, logprobs=request.alternatives),
        messages=to_messages(request.instructions, items),
        tools=use.tools,
        tool_choice=use.choice,
        tool_name=use.name,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        json_schema=schema_of_format(request.format, "text.format"),
        reasoning_effort=request.effort,
    )


def metadata(request: ResponseRequest) -> dict[str, str]:
    """The client's own notes, which are told back to it."""
    pairs = {} if request.metadata is None else request.metadata
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise refusal("metadata", "Expected an object whose values are strings", "invalid_type")
    if len(pairs) > MAX_METADATA:
        raise refusal("metadata", f"Expected at most {MAX_METADATA} pairs, got {len(pairs)}")
    if any(len(key) > MAX_KEY_CHARACTERS or len(value) > MAX_VALUE_CHARACTERS for key, value in pairs.items()):
        most = f"{MAX_KEY_CHARACTERS} characters, and values of at most {MAX_VALUE_CHARACTERS}"
        raise refusal("metadata", f"Expected keys of at most {most}")
    return pairs
