"""Conversations and texts to token ids.

A conversation goes through the model's chat template. Templates refuse shapes (a system turn that is not the first, two
users in a row) or drop turns without a word: then it is put into another shape that says the same. A text of the
conversation never becomes a control token, whatever it spells; the raw prompt of a completion may.
Knows nothing of requests, adapters or answers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from dittod.errors import RequestError
from dittod.model.dialect import PLAIN, Dialect, dialect_of
from dittod.model.load import BaseModel
from dittod.types import Message, Tool, ToolCall

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
_MISTRAL_ID_LENGTH = 9  # its templates refuse every other

_TOOLS_IN_WORDS = """You can call these functions:
{tools}

To call one, answer with its name and its arguments, in this form:
{opening}{{"name": "…", "arguments": {{…}}}}{closing}"""


def encode_chat(
    base: BaseModel, messages: Sequence[Message], tools: Sequence[Tool] = (), *, reasoning_effort: str | None = None
) -> list[int]:
    """Token ids of a conversation up to where the assistant's next answer begins, with exactly one BOS.

    Raises RequestError where the template takes it in no shape, or has no place for what is asked.
    """
    dialect = dialect_for(base, tools)
    settings = _switches(dialect, reasoning_effort)
    if base.tokenizer.chat_template is None:
        text = "\n\n".join(message.content for message in _in_words(messages, tools)) + "\n\n"
        return list(base.tokenizer(text, split_special_tokens=True)["input_ids"])
    return _ids(base.tokenizer, *_accepted(base.tokenizer, messages, tools, dialect, settings), settings)


def encode_text(base: BaseModel, text: str, *, begun: bool = True) -> list[int]:
    """Token ids of a text to be continued as it stands, begun as the tokenizer begins a text."""
    return list(base.tokenizer(text, add_special_tokens=begun)["input_ids"]) or ([_beginning(base)] if begun else [])


def encode_completion(base: BaseModel, completion: str) -> list[int]:
    """Token ids of an answer, ended by the end-of-turn token, so that stopping is learnt too."""
    encoded = base.tokenizer(completion, add_special_tokens=False, split_special_tokens=True)
    return [*encoded["input_ids"], base.end_of_turn_id]


def dialect_for(base: BaseModel, tools: Sequence[Tool] = ()) -> Dialect:
    """The habits of this model; a few have a template of their own for conversations with tools."""
    if base.tokenizer.chat_template is None:
        return dialect_of(None)
    return dialect_of(base.tokenizer.get_chat_template(tools=[{}] if tools else None))


def _beginning(base: BaseModel) -> int:
    begin = base.tokenizer.bos_token_id
    return base.end_of_turn_id if begin is None else int(begin)


def _switches(dialect: Dialect, effort: str | None) -> dict[str, object]:
    """What the template is told about reasoning. Without a switch, a model always reasons as it does, or never."""
    if effort is None or (effort == "none" and not dialect.reasons):
        return {}
    settings: dict[str, object] = {}
    if "enable_thinking" in dialect.switches:
        settings["enable_thinking"] = effort not in ("none", "minimal")
    if "reasoning_effort" in dialect.switches:
        settings["reasoning_effort"] = {"none": "low", "minimal": "low", "xhigh": "high"}.get(effort, effort)
    if effort not in EFFORTS or not (settings or (dialect.reasons and effort == "medium")):
        raise RequestError(
            f"reasoning_effort cannot be {effort if effort in EFFORTS else 'that'} with this model",
            "leave it out",
            param="reasoning_effort",
            code="unsupported_parameter",
        )
    return settings


# --- shapes ------------------------------------------------------------------------------------------------------


def _accepted(
    tokenizer: Any, messages: Sequence[Message], tools: Sequence[Tool], dialect: Dialect, settings: dict[str, object]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    """The turns and tools of the first shape that the template takes, best without dropping anything."""
    taken = None
    failure: Exception | None = None
    for shape, told in _shapes(messages, tools, dialect):
        turns = [_turn(message, dialect) for message in shape]
        described = [_described(tool) for tool in told] or None
        try:
            text = tokenizer.apply_chat_template(
                turns, tools=described, add_generation_prompt=True, tokenize=False, **settings
            )
        except Exception as error:  # jinja's own errors, or whatever a template raises about roles and their order
            failure = error
            continue
        taken = taken or (turns, described)
        said = [each.content.strip() for each in shape if each.role in ("system", "user")]
        if _holds(text, said) and _holds(text, [tool.name for tool in told]):
            return turns, described
    if taken is None:
        raise RequestError(
            "the model's chat template does not take these messages", "send a user's message", param="messages"
        ) from failure
    return taken


def _holds(text: str, said: list[str]) -> bool:
    """Whether all of it is in the text; looked for in order first, which takes linear time."""
    at = 0
    for each in said:
        found = text.find(each, at)
        at = text.find(each) if found < 0 else found
        if at < 0:
            return False
    return True


def _shapes(
    messages: Sequence[Message], tools: Sequence[Tool], dialect: Dialect
) -> Iterator[tuple[list[Message], Sequence[Tool]]]:
    if dialect.takes_tools:
        for shape in (list(messages), _joined(messages), _folded(messages)):
            yield shape, tools
    if not dialect.takes_tools or tools or any(each.role == "tool" or each.tool_calls for each in messages):
        plain = _in_words(messages, tools)
        for shape in (plain, _joined(plain), _folded(plain)):
            yield shape, ()


def _in_words(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Without anything that only some templates know: tools are told of by the system, results by the user."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    plain = [_said_plainly(message, names) for message in messages]
    if not tools:
        return plain
    lines = "\n".join(json.dumps(_described(tool)["function"], ensure_ascii=False) for tool in tools)
    told = _TOOLS_IN_WORDS.format(tools=lines, opening=PLAIN.opening, closing=PLAIN.closing)
    if plain and plain[0].role == "system":
        return [replace(plain[0], content=f"{plain[0].content}\n\n{told}"), *plain[1:]]
    return [Message("system", told), *plain]


def _said_plainly(message: Message, names: Mapping[str, str]) -> Message:
    if message.role == "tool":
        name = message.name or names.get(message.tool_call_id, "")
        return Message("user", f"{f'Result of {name}' if name else 'Result'}:\n{message.content}")
    if not message.tool_calls:
        return message
    calls = [f"{PLAIN.opening}{_call_in_words(call)}{PLAIN.closing}" for call in message.tool_calls]
    return Message("assistant", "\n".join([message.content, *calls] if message.content else calls), message.reasoning)


def _call_in_words(call: ToolCall) -> str:
    return json.dumps({"name": call.name, "arguments": _arguments(call)}, ensure_ascii=False)


def _joined(messages: Sequence[Message]) -> list[Message]:
    """What the system says first and at once; neighbouring turns of one role are one turn, empty ones none."""
    system = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    joined: list[Message] = []
    for message in [*system, *(each for each in others if each.role != "assistant" or each.content or each.tool_calls)]:
        last = joined[-1] if joined else None
        if last and last.role == message.role != "tool":
            joined[-1] = replace(
                last,
                content=_paragraphs(last.content, message.content),
                reasoning=_paragraphs(last.reasoning, message.reasoning),
                tool_calls=(*last.tool_calls, *message.tool_calls),
            )
        else:
            joined.append(message)
    return joined


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Joined, begun by a user, who says what the system would have said."""
    joined = _joined(messages)
    system = joined.pop(0).content if joined and joined[0].role == "system" else ""
    if joined and joined[0].role == "user":
        return [replace(joined[0], content=_paragraphs(system, joined[0].content)), *joined[1:]]
    return [Message("user", system), *joined]


def _paragraphs(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)


# --- what templates read -----------------------------------------------------------------------------------------


def _turn(message: Message, dialect: Dialect) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": _call_id(call.id, dialect),
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        turn |= {"tool_call_id": _call_id(message.tool_call_id, dialect), "name": message.name}
    return turn


def _described(tool: Tool) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _arguments(call: ToolCall) -> Any:
    """The object that they spell, as templates want it; what spells none is left as it is."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return call.arguments
    return arguments if isinstance(arguments, dict) else call.arguments


def _call_id(call_id: str, dialect: Dialect) -> str:
    if dialect.calls.form not in ("listed", "named") or len(call_id) == _MISTRAL_ID_LENGTH:
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:_MISTRAL_ID_LENGTH]


def _ids(
    tokenizer: Any, turns: list[dict[str, Any]], tools: list[dict[str, Any]] | None, settings: dict[str, object]
) -> list[int]:
    control = _control_texts(tokenizer)
    texts = list(_texts(turns)), list(_texts(tools))
    for param, (_, keys) in zip(("messages", "tools"), map(_split, texts), strict=True):
        if any(control.search(key) for key in keys):
            raise RequestError(f"a name in {param} is a control token of this model", "rename it", param=param)
    forged = any(control.search(text) for each in texts for _, text in each)
    try:
        encoded = tokenizer.apply_chat_template(
            turns,
            tools=tools,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            sanitize_control_tokens=forged,
            **settings,
        )
    except ValueError as error:
        raise RequestError(
            "a text spells a control token that this model's tokenizer cannot read as text", param="messages"
        ) from error
    return list(encoded["input_ids"])


def _split(texts: list[tuple[bool, str]]) -> tuple[list[str], list[str]]:
    return [text for is_key, text in texts if not is_key], [text for is_key, text in texts if is_key]


def _texts(value: object) -> Iterator[tuple[bool, str]]:
    """Every string in it, and whether it is a key."""
    if isinstance(value, str):
        yield False, value
    elif isinstance(value, Mapping):
        yield from ((True, str(key)) for key in value)
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


@lru_cache(maxsize=4)
def _control_texts(tokenizer: Any) -> re.Pattern[str]:
    """Finds what the tokenizer reads as one of its added tokens."""
    added = [str(each.content) for each in tokenizer.added_tokens_decoder.values()]
    return re.compile("|".join(re.escape(text) for text in added if text.strip()) or r"(?!)")
