"""Reads explicit pairs and chat logs, one JSON object a line: the first exchange of each as prompt and completion.

Knows prompt/completion and instruction/output lines, OpenAI's messages and ShareGPT's conversations. Does not judge
whose words they are: what is put here is meant to be learnt. Later turns answer earlier ones and are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from dittod.errors import FileSetAside
from dittod.ingest.readers.decode import clean
from dittod.types import Document

LONGEST_LINE_BYTES = 8 * 2**20
_FORMS = '{"prompt", "completion"}, {"instruction", "output"}, {"messages": […]} or {"conversations": […]}'
_PROMPTS = ("prompt", "instruction")
_COMPLETIONS = ("completion", "output", "response")
_ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant"}
_ROLES |= {"gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "model": "assistant"}
_TOOLS = {"tool", "function", "function_call", "observation"}


def read_jsonl(file: BinaryIO, modified_at: float) -> Iterator[Document]:
    """A Document of kind "pair" for each line that holds one. Raises FileSetAside when none does."""
    lines = found = 0
    for line in _lines(file):
        lines += 1
        pair = _pair(line)
        if pair is not None:
            found += 1
            prompt, completion = pair
            sha256 = hashlib.sha256(line).hexdigest()
            yield Document("pair", clean(completion), sha256, prompt=clean(prompt), written_at=modified_at)
    if not found:
        raise FileSetAside(f"none of its {lines} lines is a pair or a conversation", f"a line is one of {_FORMS}")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines that are not empty; of one that is too long only the beginning, which is no JSON then."""
    while line := file.readline(LONGEST_LINE_BYTES):
        piece = line
        while piece and not piece.endswith(b"\n"):
            piece = file.readline(LONGEST_LINE_BYTES)
        if line.strip():
            yield line


def _pair(line: bytes) -> tuple[str, str] | None:
    """Prompt and completion; None for what is no JSON or has no known form."""
    try:
        row = json.loads(line.decode("utf-8-sig", "strict"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, Mapping):
        return None
    turns = row.get("messages", row.get("conversations"))
    pair = _first_exchange(turns) if isinstance(turns, list) else _explicit(row)
    return pair if pair and all(half.strip() for half in pair) else None


def _explicit(row: Mapping[str, object]) -> tuple[str, str] | None:
    prompt = next((row[key] for key in _PROMPTS if key in row), None)
    completion = next((row[key] for key in _COMPLETIONS if key in row), None)
    if not isinstance(prompt, str) or not isinstance(completion, str):
        return None
    added = row.get("input")
    return "\n\n".join([prompt, *([added] if isinstance(added, str) and added.strip() else [])]), completion


def _first_exchange(turns: Sequence[object]) -> tuple[str, str] | None:
    """What was asked up to the first answer, and that answer, unless it is marked as not to be learnt."""
    asked: list[str] = []
    is_asked = False
    for turn in turns:
        if not isinstance(turn, Mapping):
            return None
        name = str(turn.get("role", turn.get("from"))).lower()
        role, text = _ROLES.get(name), _text(turn.get("content", turn.get("value")))
        if name in _TOOLS or (role == "assistant" and not text):  # a call of a tool, and what it gave
            continue
        if role == "assistant":
            return ("\n\n".join(asked), str(text)) if is_asked and turn.get("weight", 1) != 0 else None
        if role is None or text is None:
            return None
        is_asked = is_asked or role == "user"
        asked += [text] if text.strip() else []
    return None


def _text(content: object) -> str | None:
    """Of a string or of content parts; None when there is something else, a picture for example."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
    return "\n".join(map(str, texts)) if texts and len(texts) == len(content) else None
