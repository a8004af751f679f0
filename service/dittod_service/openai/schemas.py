"""JSON schemas that fields of several endpoints consist of, for /openapi.json. They describe; functions check."""

from __future__ import annotations

from dittod_service.openai.formats import NAME
from dittod_service.openai.tools import MAX_DESCRIPTION_CHARACTERS, MAX_TOOLS

STRING = {"type": "string"}
NULL = {"type": "null"}
SWITCH = {"type": ["boolean", "null"]}
PLAIN_NAME = {"type": "string", "pattern": f"^{NAME}$"}
FUNCTION = {  # properties of a function's definition
    "name": PLAIN_NAME,
    "description": {"type": ["string", "null"], "maxLength": MAX_DESCRIPTION_CHARACTERS},
    "parameters": {"type": ["object", "null"], "properties": {"type": {"const": "object"}}},
    "strict": SWITCH,
}


def object_with(required: list[str], **properties: object) -> dict[str, object]:
    """An object, and those of its properties that it must have."""
    return {"type": "object", "properties": properties, "required": required}


def tools(definition: object) -> dict[str, object]:
    """A list of tools: functions, and such of other types as are skipped."""
    skipped = object_with(["type"], type={"type": "string", "not": {"const": "function"}})
    return {"type": "array", "items": {"anyOf": [definition, skipped]}, "maxItems": MAX_TOOLS}


def allowed(choice: object) -> dict[str, object]:
    """Properties of a choice out of several tools."""
    return {"mode": {"enum": ["auto", "required", None]}, "tools": tools(choice)}
