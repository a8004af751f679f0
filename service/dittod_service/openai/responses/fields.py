"""Types of a response's fields that functions read, described exactly for /openapi.json."""

from __future__ import annotations

from typing import Annotated

from pydantic import WithJsonSchema

from dittod_service.openai.schemas import FUNCTION, NULL, PLAIN_NAME, STRING, SWITCH, allowed, object_with, tools

MAX_ITEMS = 4096
MAX_ID_CHARACTERS = 64  # this and the following are OpenAI's
MAX_METADATA = 16  # pairs
MAX_KEY_CHARACTERS = 64
MAX_VALUE_CHARACTERS = 512


def _object(kind: str, *required: str, **properties: object) -> dict[str, object]:
    return object_with(["type", *required], type={"const": kind}, **properties)


def _message(*required: str, **properties: object) -> dict[str, object]:
    """Its type may be left out."""
    return object_with([*required], type={"enum": ["message", None]}, id=_ID, **properties)


def _any(*schemas: object) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(schemas)})


_CONTENT = {
    "anyOf": [
        STRING,
        {
            "type": "array",
            "items": {
                "anyOf": [
                    _object("input_text", "text", text=STRING),
                    _object("output_text", "text", text=STRING),
                    _object("refusal", "refusal", refusal=STRING),
                ]
            },
        },
    ]
}
_TOLD = {"enum": ["user", "system", "developer"]}
_ID = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_ID_CHARACTERS}
_THOUGHTS = {"type": ["string", "array", "null"], "items": _object("reasoning_text", "text", text=STRING)}
_SAID = {"anyOf": [*_CONTENT["anyOf"], NULL]}
_ITEMS = {
    "anyOf": [
        _message("role", "content", role=_TOLD, content=_CONTENT),
        _message("role", role={"const": "assistant"}, content=_SAID),
        _object("function_call", "call_id", "name", "arguments", id=_ID, call_id=STRING, name=STRING, arguments=STRING),
        _object("function_call_output", "call_id", "output", id=_ID, call_id=STRING, output=_CONTENT),
        _object("reasoning", id=_ID, content=_THOUGHTS),
        _object("item_reference", "id", id=STRING),
    ]
}
_FUNCTION = _object("function", "name", **FUNCTION)
_NAMED = _object("function", "name", name=PLAIN_NAME)
_ALLOWED = _object("allowed_tools", "tools", **allowed(_NAMED))
_SCHEMA = _object("json_schema", "name", "schema", name=PLAIN_NAME, schema={"type": "object"}, strict=SWITCH)
_PAIRS = {
    "type": "object",
    "maxProperties": MAX_METADATA,
    "propertyNames": {"maxLength": MAX_KEY_CHARACTERS},
    "additionalProperties": {"type": "string", "maxLength": MAX_VALUE_CHARACTERS},
}

Input = Annotated[object, _any(STRING, {"type": "array", "items": _ITEMS, "maxItems": MAX_ITEMS}, NULL)]
Tools = Annotated[list[object], WithJsonSchema(tools(_FUNCTION))]
ToolChoice = Annotated[object, _any({"enum": ["none", "auto", "required"]}, _NAMED, _ALLOWED, NULL)]
TextFormat = Annotated[object, _any(_object("text"), _object("json_object"), _SCHEMA, NULL)]
Metadata = Annotated[object, _any(_PAIRS, NULL)]
Background = Annotated[bool | None, WithJsonSchema({"enum": [False, None]})]
Truncation = Annotated[str | None, WithJsonSchema({"enum": ["disabled", None]})]
