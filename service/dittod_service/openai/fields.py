"""Types of a chat's fields that functions read: anything at all to pydantic, which could not name what is wrong in
them as OpenAI does, and described exactly for /openapi.json.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import WithJsonSchema

from dittod_service.openai.schemas import FUNCTION, NULL, PLAIN_NAME, SWITCH, allowed, object_with, tools
from dittod_service.openai.tools import MAX_TOOLS

_FUNCTION = object_with(["name"], **FUNCTION)
_TOOL = object_with(["type", "function"], type={"const": "function"}, function=_FUNCTION)
_NAMED = object_with(["name"], name=PLAIN_NAME)
_CHOICE = object_with(["type", "function"], type={"const": "function"}, function=_NAMED)
_ALLOWED = object_with(["tools"], **allowed(_CHOICE))
_SCHEMA = object_with(["schema"], name={"anyOf": [PLAIN_NAME, NULL]}, schema={"type": "object"}, strict=SWITCH)

Nothing = Annotated[object, WithJsonSchema(NULL)]  # refused by its name otherwise
Tools = Annotated[list[object], WithJsonSchema(tools(_TOOL))]
Functions = Annotated[list[object], WithJsonSchema({"type": "array", "items": _FUNCTION, "maxItems": MAX_TOOLS})]
Modalities = Annotated[list[str], WithJsonSchema({"type": "array", "items": {"const": "text"}, "maxItems": 1})]
FunctionCall = Annotated[object, WithJsonSchema({"anyOf": [{"enum": ["none", "auto"]}, _NAMED, NULL]})]
ToolChoice = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["none", "auto", "required"]},
                _CHOICE,
                object_with(["type", "allowed_tools"], type={"const": "allowed_tools"}, allowed_tools=_ALLOWED),
                NULL,
            ]
        }
    ),
]
ResponseFormat = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                object_with(["type"], type={"enum": ["text", "json_object"]}),
                object_with(["type", "json_schema"], type={"const": "json_schema"}, json_schema=_SCHEMA),
                NULL,
            ]
        }
    ),
]
