"""Types of a response's fields that functions read, described exactly for /openapi.json."""

from __future__ import annotations

from typing import Annotated

from pydantic import WithJsonSchema

from dittod_service.openai.formats import NAME
from dittod_service.openai.tools import MAX_DESCRIPTION_CHARACTERS, MAX_TOOLS

MAX_ITEMS = 4096
MAX_ID_CHARACTERS = 64  # this and the following are OpenAI's
MAX_METADATA = 16  # pairs
MAX_KEY_CHARACTERS = 64
MAX_VALUE_CHARACTERS = 512

_STRING = {"type": "string"}
_NULL = {"type": "null"}
_NAME = {"type": "string", "pattern": f"^{NAME}$"}
_SWITCH = {"type": ["boolean", "null"]}


def _object(kind: str, *required: str, **properties: object) -> dict[str, object]:
    described = {"type": {"const": kind}, **properties}
    return {"type": "object", "properties": described, "required": ["type", *required]}


def _message(*required: str, **properties: object) -> dict[str, object]:
    """Its type may be left out."""
    described = {"type": {"enum": ["message", None]}, "id": _ID, **properties}
    return {"type": "object", "properties": described, "required": list(required)}


def _any(*schemas: object) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(schemas)})


_CONTENT = {
    "anyOf": [
        _STRING,
        {
            "type": "array",
            "items": {
                "anyOf": [
                    _object("input_text", "text", text=_STRING),
                    _object("output_text", "text", text=_STRING),
                    _object("refusal", "refusal", refusal=_STRING),
                ]
            },
        },
    ]
}
_TOLD = {"enum": ["user", "system", "developer"]}
_ID = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_ID_CHARACTERS}
_THOUGHTS = {"type": ["string", "array", "null"], "items": _object("reasoning_text", "text", text=_STRING)}
_SAID = {"anyOf": [*_CONTENT["anyOf"], _NULL]}
_CALL = {"call_id": _STRING, "name": _STRING, "arguments": _STRING}
_ITEMS = {
    "anyOf": [
        _message("role", "content", role=_TOLD, content=_CONTENT),
        _message("role", role={"const": "assistant"}, content=_SAID),
        _object(
            "function_call", "call_id", "name", "arguments", id=_ID, call_id=_STRING, name=_STRING, arguments=_STRING
        ),
        _object("function_call_output", "call_id", "output", id=_ID, call_id=_STRING, output=_CONTENT),
        _object("reasoning", id=_ID, content=_THOUGHTS),
        _object("item_reference", "id", id=_STRING),
    ]
}
_FUNCTION = _object(
    "function",
    "name",
    name=_NAME,
    description={"type": ["string", "null"], "maxLength": MAX_DESCRIPTION_CHARACTERS},
    parameters={"type": ["object", "null"], "properties": {"type": {"const": "object"}}},
    strict=_SWITCH,
)
_SKIPPED = {
    "type": "object",
    "properties": {"type": {"type": "string", "not": {"const": "function"}}},
    "required": ["type"],
}
_NAMED = _object("function", "name", name=_NAME)
_ALLOWED = _object(
    "allowed_tools",
    "tools",
    mode={"enum": ["auto", "required", None]},
    tools={"type": "array", "items": {"anyOf": [_NAMED, _SKIPPED]}, "maxItems": MAX_TOOLS},
)
_SCHEMA = _object("json_schema", "name", "schema", name=_NAME, schema={"type": "object"}, strict=_SWITCH)
_PAIRS = {
    "type": "object",
    "maxProperties": MAX_METADATA,
    "propertyNames": {"maxLength": MAX_KEY_CHARACTERS},
    "additionalProperties": {"type": "string", "maxLength": MAX_VALUE_CHARACTERS},
}

Input = Annotated[object, _any(_STRING, {"type": "array", "items": _ITEMS, "maxItems": MAX_ITEMS}, _NULL)]
Tools = Annotated[
    list[object],
    WithJsonSchema({"type": "array", "items": {"anyOf": [_FUNCTION, _SKIPPED]}, "maxItems": MAX_TOOLS}),
]
ToolChoice = Annotated[object, _any({"enum": ["none", "auto", "required"]}, _NAMED, _ALLOWED, _NULL)]
TextFormat = Annotated[object, _any(_object("text"), _object("json_object"), _SCHEMA, _NULL)]
Metadata = Annotated[object, _any(_PAIRS, _NULL)]
Background = Annotated[bool | None, WithJsonSchema({"enum": [False, None]})]
Truncation = Annotated[str | None, WithJsonSchema({"enum": ["disabled", None]})]
