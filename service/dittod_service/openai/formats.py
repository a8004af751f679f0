"""`response_format` and its like: which JSON schema an answer's text must fit.

Pure. It knows how large a schema may be, not which of its keywords can be enforced: the engine's grammar does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from dittod_service.openai.request import missing, refusal

MAX_SCHEMA_CHARACTERS = 65_536  # written as JSON; a thousand properties fit
ANY_OBJECT: Mapping[str, object] = {"type": "object"}
NAME = r"[a-zA-Z0-9_-]{1,64}"  # OpenAI's rule for functions and schemas


def schema_of_format(form: object, at: str) -> Mapping[str, object] | None:
    """The schema that a format asks for, or None for free text. Takes the definition below the key 'json_schema', as
    chats write it, or beside the type, as responses do."""
    if form is None:
        return None
    if not isinstance(form, dict):
        raise refusal(at, "Expected an object with 'type'", "invalid_type")
    match form.get("type"):
        case None:
            raise missing(f"{at}.type")
        case "text":
            return None
        case "json_object":
            return ANY_OBJECT
        case "json_schema":
            return _defined(form, at)
        case _:
            raise refusal(f"{at}.type", "Supported values are: text, json_object, json_schema")


def json_schema(value: object, at: str) -> Mapping[str, object]:
    """A client's schema, small enough to work on. Every number in it is finite."""
    if not isinstance(value, dict):
        raise refusal(at, "Expected a JSON schema as an object", "invalid_type")
    try:
        characters = len(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    except ValueError:
        raise refusal(at, "There is a number in it that JSON does not have") from None
    if characters > MAX_SCHEMA_CHARACTERS:
        raise refusal(at, f"It has {characters} characters, and {MAX_SCHEMA_CHARACTERS} is the most")
    return value


def plain_name(value: object, at: str) -> str:
    """A name of a function or a schema."""
    if value is None:
        raise missing(at)
    if not isinstance(value, str):
        raise refusal(at, "Expected a string", "invalid_type")
    if not re.fullmatch(NAME, value):
        raise refusal(at, "Expected 1 to 64 characters out of a-z, A-Z, 0-9, '_' and '-'")
    return value


def yes_or_no(value: object, at: str) -> bool:
    """A switch; null is off."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise refusal(at, "Expected true or false", "invalid_type")


def _defined(form: Mapping[str, object], at: str) -> Mapping[str, object]:
    """`strict` changes nothing: the answer fits the schema either way."""
    inner: object = form
    if "schema" not in form:
        at = f"{at}.json_schema"
        inner = form.get("json_schema")
    if inner is None:
        raise missing(at)
    if not isinstance(inner, dict):
        raise refusal(at, "Expected an object with 'name' and 'schema'", "invalid_type")
    if inner.get("name") is not None:
        plain_name(inner["name"], f"{at}.name")
    yes_or_no(inner.get("strict"), f"{at}.strict")
    if inner.get("schema") is None:
        raise missing(f"{at}.schema")
    return json_schema(inner["schema"], f"{at}.schema")
