"""From a request to the token ids that the model reads, with the examples that a version's recipe puts before a
conversation. Refuses what cannot fit before it is made into tokens. Does not know where examples come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from dittod.engine.protocol import Generate, Tokenize
from dittod.errors import RequestError
from dittod.model.chat import encode_chat, encode_text
from dittod.model.examples import examples_room, with_examples
from dittod.model.infill import encode_infill
from dittod.model.load import BaseModel
from dittod.model.schema import check_tools
from dittod.types import Demonstration, Message, Tool

CHARACTERS_PER_TOKEN_MOST = 32  # no text of any language has so few tokens


def prompt_ids(base: BaseModel, request: Generate, longest: int) -> list[int]:
    """What the model reads before it answers. Raises RequestError where that cannot be made of the request. `longest`:
    tokens of prompt and answer that fit into memory."""
    if request.messages is not None:
        plain = chat_ids(base, request)
        return _with_examples(base, request, plain, longest) if request.examples else plain
    if request.suffix is not None:
        return _infill_ids(base, request.prompt, request.suffix)
    if request.prompt is not None:
        return text_ids(base, request.prompt)
    return known_ids(base, request.prompt_token_ids or (), "prompt", param="prompt")


def known_ids(base: BaseModel, token_ids: Sequence[int], at: str, *, param: str) -> list[int]:
    """Token ids that came from outside. Raises RequestError where there are none, or one that this model has not."""
    vocabulary = base.model.config.get_text_config().vocab_size
    if not token_ids or not all(0 <= each < vocabulary for each in token_ids):
        raise RequestError(f"{at} must hold token ids from 0 to {vocabulary - 1}", param=param)
    return list(token_ids)


def chat_ids(base: BaseModel, request: Generate | Tokenize) -> list[int]:
    """Of a conversation."""
    messages = request.messages or ()
    check_tools(request.tools)
    _refuse_hopeless(base, _length(messages, request.tools), "messages")
    effort = request.reasoning_effort if isinstance(request, Generate) else None
    return encode_chat(base, messages, request.tools, reasoning_effort=effort)


def _with_examples(base: BaseModel, request: Generate, plain: list[int], longest: int) -> list[int]:
    """As many examples as fit beside the answer. `plain`, the conversation alone, where there is no room for any, or
    the template takes none: they cost nobody an answer."""
    messages, room = request.messages or (), _room(request, len(plain), longest)
    if len(plain) >= room:
        return plain
    shown = [each for each in request.examples if _characters(each) <= CHARACTERS_PER_TOKEN_MOST * room]
    try:
        around = len(plain) - len(encode_chat(base, messages))  # what is said of tools
        whole = with_examples(base, messages, shown, room - around)
        ids = encode_chat(base, whole, request.tools, reasoning_effort=request.reasoning_effort)
    except RequestError:
        return plain
    return ids if len(ids) <= room else plain


def _room(request: Generate, plain: int, longest: int) -> int:
    """Tokens that a prompt with examples may have: the share that it was judged with, less where the client asks for so
    long an answer. One that would not fit without examples either is a bound, and nobody waits for its end."""
    wanted = request.sampling.max_tokens or 0
    most = longest - wanted if plain + wanted <= longest else longest
    return min(examples_room(longest), most)


def text_ids(base: BaseModel, text: str, *, begun: bool = True) -> list[int]:
    """Of a text as it stands."""
    _refuse_hopeless(base, len(text), "prompt")
    return encode_text(base, text, begun=begun)


def _infill_ids(base: BaseModel, prompt: str | None, suffix: str) -> list[int]:
    if prompt is None:
        raise RequestError("suffix needs a prompt that is text", param="suffix")
    _refuse_hopeless(base, len(prompt) + len(suffix), "prompt")
    ids = encode_infill(base, prompt, suffix)
    if ids is None:
        raise RequestError(
            "this model cannot write between a prompt and a suffix",
            "leave suffix out, or use a model with tokens for filling in the middle",
            param="suffix",
            code="unsupported_parameter",
        )
    return ids


def _length(messages: Sequence[Message], tools: Sequence[Tool]) -> int:
    """In characters, of everything that a template may write; it may name in every result the call that it answers."""
    calls = [call for message in messages for call in message.tool_calls]
    longest_name = max((len(call.name) for call in calls), default=0)
    return sum(
        (
            *(len(each.content) + len(each.reasoning) + len(each.name) + len(each.tool_call_id) for each in messages),
            *(longest_name for each in messages if each.role == "tool"),
            *(len(call.id) + len(call.name) + len(call.arguments) for call in calls),
            *(len(tool.name) + len(tool.description) + _written(tool.parameters) for tool in tools),
        )
    )


def _characters(example: Demonstration) -> int:
    return len(example.prompt) + len(example.completion)


def _written(schema: Mapping[str, object]) -> int:
    return len(json.dumps(schema, ensure_ascii=False))


def _refuse_hopeless(base: BaseModel, characters: int, param: str) -> None:
    """Text far beyond the context is not even made into tokens: that would hold up everybody else for seconds."""
    if characters > CHARACTERS_PER_TOKEN_MOST * base.context_tokens:
        raise RequestError(  # in the same words as the decoder's, by which clients know it
            f"the prompt is too long: this model's maximum context length is {base.context_tokens} tokens, "
            f"and the prompt has {characters} characters",
            "reduce the length of the messages",
            param=param,
            code="context_length_exceeded",
        )
