"""Types of a chat's fields that functions read: anything at all to pydantic, which could not name what is wrong in
them as OpenAI does, and described exactly for /openapi.json.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import WithJsonSchema

from dittod_service.openai.formats import NAME
from dittod_service.openai.tools import MAX_DESCRIPTION_CHARACTERS, MAX_TOOLS

_NULL = {"type": "null"}
_NAME = {"type": "string", "pattern": f"^{NAME}$"}
_SWITCH = {"type": ["boolean", "null"]}


def _object(required: list[str], **properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": required}


_FUNCTION = _object(
    ["name"],
    name=_NAME,
    description={"type": ["string", "null"], "maxLength": MAX_DESCRIPTION_CHARACTERS},
    parameters={"type": ["object", "null"], "properties": {"type": {"const": "object"}}},
    strict=_SWITCH,
)
_SKIPPED = _object(["type"], type={"type": "string", "not": {"const": "function"}})
_TOOLS = {"anyOf": [_object(["type", "function"], type={"const": "function"}, function=_FUNCTION), _SKIPPED]}
_NAMED = _object(["name"], name=_NAME)
_CHOICE = _object(["type", "function"], type={"const": "function"}, function=_NAMED)
_ALLOWED = _object(
    ["tools"],
    mode={"enum": ["auto", "required", None]},
    tools={"type": "array", "items": {"anyOf": [_CHOICE, _SKIPPED]}, "maxItems": MAX_TOOLS},
)
_SCHEMA = _object(["schema"], name={"anyOf": [_NAME, _NULL]}, schema={"type": "object"}, strict=_SWITCH)

Nothing = Annotated[object, WithJsonSchema(_NULL)]  # refused by its name otherwise
Tools = Annotated[list[object], WithJsonSchema({"type": "array", "items": _TOOLS, "maxItems": MAX_TOOLS})]
Functions = Annotated[list[object], WithJsonSchema({"type": "array", "items": _FUNCTION, "maxItems": MAX_TOOLS})]
Modalities = Annotated[list[str], WithJsonSchema({"type": "array", "items": {"const": "text"}, "maxItems": 1})]
FunctionCall = Annotated[object, WithJsonSchema({"anyOf": [{"enum": ["none", "auto"]}, _NAMED, _NULL]})]
ToolChoice = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["none", "auto", "required"]},
                _CHOICE,
                _object(["type", "allowed_tools"], type={"const": "allowed_tools"}, allowed_tools=_ALLOWED),
                _NULL,
            ]
        }
    ),
]
ResponseFormat = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                _object(["type"], type={"enum": ["text", "json_object"]}),
                _object(["type", "json_schema"], type={"const": "json_schema"}, json_schema=_SCHEMA),
                _NULL,
            ]
        }
    ),
]
