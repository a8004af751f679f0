"""Ollama's error object, for answers under its paths."""

from __future__ import annotations

from typing_extensions import TypedDict

from dittod_service.openai.errors import Failure

PATHS = "/api/"  # all of ollama's begin so


class ErrorText(TypedDict):
    """Ollama's error object."""

    error: str


def to_error(failure: Failure) -> ErrorText:
    """A text, where OpenAI has an object."""
    return {"error": failure.message}
