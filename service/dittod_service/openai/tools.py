"""`tools` and `tool_choice`: which functions the model may ask for, and whether it must.

Pure. Tools of other types than 'function' are skipped: agents send such as only some servers have. Definitions may
stand below the key 'function', as chats write them, or beside the type, as responses do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dittod.types import Tool, ToolChoice
from dittod_service.openai.formats import json_schema, plain_name, yes_or_no
from dittod_service.openai.request import missing, refusal

MAX_TOOLS = 128
MAX_DESCRIPTION_CHARACTERS = 65_536


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The functions, and how the model is to use them: the fields of a Generate."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = "auto"
    name: str | None = None  # with 'required': the one to call


def functions(values: Sequence[object] | None, at: str = "tools") -> tuple[Tool, ...]:
    """The functions among a client's tools."""
    _refuse_many(values or (), at)
    tools = (_tool(value, f"{at}[{number}]") for number, value in enumerate(values or ()))
    return _distinct((tool for tool in tools if tool is not None), at)


def older_functions(values: Sequence[object], choice: object) -> ToolUse:
    """`functions` and `function_call`, which OpenAI had before tools."""
    _refuse_many(values, "functions")
    tools = _distinct((function(value, f"functions[{i}]") for i, value in enumerate(values)), "functions")
    named = {**choice, "type": "function"} if isinstance(choice, dict) else choice
    return chosen(named, tools, "function_call")


def function(definition: object, at: str) -> Tool:
    """One function from its name, description, parameters and strictness."""
    if not isinstance(definition, dict):
        raise refusal(at, "Expected an object with 'name' and 'parameters'", "invalid_type")
    return Tool(
        plain_name(definition.get("name"), f"{at}.name"),
        _description(definition.get("description"), f"{at}.description"),
        _parameters(definition.get("parameters"), f"{at}.parameters"),
        yes_or_no(definition.get("strict"), f"{at}.strict"),
    )


def chosen(choice: object, tools: tuple[Tool, ...], at: str = "tool_choice") -> ToolUse:
    """What a client's `tool_choice` makes of its tools. Raises RequestError where it names one that is not there."""
    if isinstance(choice, dict):
        return _chosen_by_name(choice, tools, at)
    match choice:
        case None | "auto":
            return ToolUse(tools)
        case "none":
            return ToolUse(tools, "none")
        case "required":
            _refuse_without_tools(tools, at)
            return ToolUse(tools, "required")
        case _:
            raise refusal(at, "Expected 'none', 'auto', 'required', or an object that names a function")


def _refuse_many(values: Sequence[object], at: str) -> None:
    if len(values) > MAX_TOOLS:
        raise refusal(at, f"Expected at most {MAX_TOOLS} tools, got {len(values)}")


def _distinct(tools: Iterable[Tool], at: str) -> tuple[Tool, ...]:
    by_name: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in by_name:
            raise refusal(at, "Two functions have the same name")
        by_name[tool.name] = tool
    return tuple(by_name.values())


def _chosen_by_name(choice: Mapping[str, object], tools: tuple[Tool, ...], at: str) -> ToolUse:
    match choice.get("type"):
        case "function":
            _refuse_without_tools(tools, at)
            return ToolUse(tools, "required", _named(choice, tools, at).name)
        case "allowed_tools":
            return _allowed(choice, tools, at)
        case _:
            raise refusal(f"{at}.type", "Supported values are: function, allowed_tools")


def _allowed(choice: Mapping[str, object], tools: tuple[Tool, ...], at: str) -> ToolUse:
    """Tools that are not among the allowed ones are not shown to the model."""
    inner = choice.get("allowed_tools", choice)
    listed = inner.get("tools") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(listed, list):
        raise refusal(at, "Expected 'allowed_tools' with 'mode' and a list of 'tools'", "invalid_type")
    if inner.get("mode") not in (None, "auto", "required"):
        raise refusal(f"{at}.mode", "Supported values are: auto, required")
    _refuse_many(listed, f"{at}.tools")
    names = {
        _named(each, tools, f"{at}.tools[{number}]").name
        for number, each in enumerate(listed)
        if _typed(each, f"{at}.tools[{number}]")["type"] == "function"
    }
    kept = tuple(tool for tool in tools if tool.name in names)
    if inner.get("mode") != "required":
        return ToolUse(kept)
    _refuse_without_tools(kept, at)
    return ToolUse(kept, "required")


def _named(choice: Mapping[str, object], tools: tuple[Tool, ...], at: str) -> Tool:
    inner = choice.get("function", choice)
    if not isinstance(inner, dict):
        raise refusal(f"{at}.function", "Expected an object with 'name'", "invalid_type")
    if inner.get("name") is None:
        raise missing(f"{at}.function.name" if "function" in choice else f"{at}.name")
    for tool in tools:
        if tool.name == inner["name"]:
            return tool
    raise refusal(at, "It names a function that is not in 'tools'")


def _refuse_without_tools(tools: tuple[Tool, ...], at: str) -> None:
    if not tools:
        raise refusal(at, "There is no function in 'tools' that could be called")


def _tool(value: object, at: str) -> Tool | None:
    """None for a type that is not known here."""
    tool = _typed(value, at)
    if tool["type"] != "function":
        return None
    return function(tool["function"], f"{at}.function") if "function" in tool else function(tool, at)


def _typed(value: object, at: str) -> Mapping[str, object]:
    """An object that says of which type it is, known here or not."""
    if not isinstance(value, dict):
        raise refusal(at, "Expected an object with 'type'", "invalid_type")
    if value.get("type") is None:
        raise missing(f"{at}.type")
    if not isinstance(value["type"], str):
        raise refusal(f"{at}.type", "Expected a string", "invalid_type")
    return value


def _description(value: object, at: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise refusal(at, "Expected a string", "invalid_type")
    if len(value) > MAX_DESCRIPTION_CHARACTERS:
        raise refusal(at, f"Expected at most {MAX_DESCRIPTION_CHARACTERS} characters, got {len(value)}")
    return value


def _parameters(value: object, at: str) -> Mapping[str, object]:
    """An empty schema stands for a function without arguments."""
    if value is None:
        return {}
    schema = json_schema(value, at)
    if schema.get("type", "object") != "object":
        raise refusal(at, "Expected a JSON schema of type 'object'")
    return schema
