"""Reads `.txt` and `.md`: one file is one text, or one pair when its front matter says what was asked.

Knows front matter (YAML) and headings. Does not know mail, nor render Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dittod.errors import FileSetAside
from dittod.ingest.readers.decode import decode, looks_binary
from dittod.ingest.readers.titles import Origin, seconds_of, text_document
from dittod.types import Document

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,65536}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"([A-Za-z][\w-]{0,40})[ \t]*:[ \t]+(\S.*)")
_HEADING = re.compile(r"#{1,6}[ \t]+(.*?)[ \t#]*$")
_UNDERLINE = re.compile(r"(?:={3,}|-{3,})[ \t]*$")
_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")


def read_text(raw: bytes, origin: Origin) -> Document:
    """The whole file as one Document."""
    if looks_binary(raw):
        raise FileSetAside("not a text file", "its bytes are no text in any known charset; remove it or convert it")
    fields, body = _front_matter(decode(raw))
    if not body.strip():
        raise FileSetAside("the file is empty", "it will be read again when it changes")
    date = seconds_of(fields.get("date", ""))
    document = text_document(body, origin, fields.get("title", ""), list(_headings(body)), date)
    prompt = fields.get("prompt", "").strip()
    return replace(document, kind="pair", prompt=prompt) if prompt else document


def _front_matter(text: str) -> tuple[Mapping[str, str], str]:
    """The fields above a text, which are no prose and go, and the text. Two rules around prose are no front matter."""
    front = _FRONT_MATTER.match(text)
    fields = _fields(front.group(1)) if front else {}
    return (fields, text[front.end() :]) if front and fields else ({}, text)


def _fields(front: str) -> dict[str, str]:
    import yaml

    try:  # BaseLoader makes strings, lists and mappings, and nothing that a hostile file could blow up
        found = yaml.load(front, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):  # 'title: Cats: a study' is no YAML, and common
        lines = (_FIELD.fullmatch(line.rstrip()) for line in front.split("\n"))
        found = {line[1]: line[2].strip("\"'") for line in lines if line}
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {str(key).lower(): value for key, value in pairs if isinstance(value, str)}


def _headings(body: str) -> Iterator[str]:
    """'# On cats', or 'On cats' with a line of '=' or '-' below it; not within code."""
    lines = body.split("\n")
    fence = ""
    for above, line, below in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        mark = _FENCE.match(line)
        if mark:
            fence = "" if fence == mark[1] else fence or mark[1]
        elif not fence and (heading := _HEADING.match(line)):
            yield heading[1]
        elif not fence and line.strip() and not above.strip() and _UNDERLINE.match(below):
            yield line
