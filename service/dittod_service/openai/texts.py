"""One text or many, each as a text or as token ids: how clients write prompts and what is to be embedded. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dittod_service.openai.errors import JsonObject
from dittod_service.openai.request import missing, refusal

MAX_TOKEN_ID = 2**31 - 1
MAX_TOKEN_IDS = 2**20  # of one text: beyond every context, and still counted in a moment

Texts = tuple[str | tuple[int, ...], ...]


def schema_of_texts(most: int, shortest: int = 0) -> dict[str, object]:
    """Of a field that `texts_of` reads."""
    token_id: JsonObject = {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID}
    text: JsonObject = {"type": "string", "minLength": shortest}
    ids: JsonObject = {"type": "array", "items": token_id, "minItems": 1}
    many = [{"type": "array", "items": each, "minItems": 1, "maxItems": most} for each in (text, ids)]
    return {"anyOf": [text, ids, *many]}


def texts_of(value: object, at: str, most: int) -> Texts:
    """At most so many texts."""
    if value is None:
        raise missing(at)
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise _neither(at)
    if not value:
        raise refusal(at, "It is empty")
    if isinstance(value[0], int):
        return (_token_ids(value, at),)
    if len(value) > most:
        raise refusal(at, f"Expected at most {most} texts, got {len(value)}")
    return tuple(_text(each, f"{at}[{number}]") for number, each in enumerate(value))


def _text(value: object, at: str) -> str | tuple[int, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return _token_ids(value, at)
    raise _neither(at)


def _token_ids(values: Sequence[object], at: str) -> tuple[int, ...]:
    if not values:
        raise refusal(at, "It is empty")
    if len(values) > MAX_TOKEN_IDS:
        raise refusal(at, f"Expected at most {MAX_TOKEN_IDS} token ids, got {len(values)}")
    ids = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(ids) != len(values):
        raise _neither(at)
    if min(ids) < 0 or max(ids) > MAX_TOKEN_ID:
        raise refusal(at, "There is a number in it that is no token id")
    return tuple(ids)


def _neither(at: str) -> Exception:
    return refusal(at, "Expected a string, a list of strings, token ids, or a list of those", "invalid_type")
