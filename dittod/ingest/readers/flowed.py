"""Undoes `format=flowed` (RFC 3676): lines that a mail program broke for transport become paragraphs again. Pure."""

from __future__ import annotations

import re

_QUOTE = re.compile(r">*")


def unflow(text: str, *, delete_space: bool = False) -> str:
    """Joins lines that end with a space to the next one of the same quote depth; '-- ' stays a line of its own."""
    lines: list[str] = []
    open_depth = -1  # quote depth of the line that waits for its continuation, -1 for none
    for raw in text.split("\n"):
        depth = len(_QUOTE.match(raw).group())  # type: ignore[union-attr]
        content = raw[depth:].removeprefix(" ")
        is_signature = content == "-- "
        if open_depth == depth and content and not is_signature:
            lines[-1] += content
        else:
            lines.append(f"{'>' * depth} {content}" if depth else content)
        flows = content.endswith(" ") and not is_signature
        open_depth = depth if flows else -1
        if flows and delete_space:
            lines[-1] = lines[-1][:-1]
    return "\n".join(line if line == "-- " else line.rstrip(" ") for line in lines)
