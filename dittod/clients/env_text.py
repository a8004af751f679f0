"""Files of variables, changed line by line so that all the rest stays as it is, comments too. Knows no file.

Values over several lines are not told apart from variables: where a line leaves something open, nothing is changed.
"""

from __future__ import annotations

import re
import shlex

from dittod.clients.formats import env_value
from dittod.clients.spans import CannotMerge, Edit, applied

_VALUE = r"""(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|(?![ \t]+\#)[^"'\\\n])*"""  # up to the space before a comment


def edited(text: str, wanted: dict[str, str]) -> str:
    """A variable that is set already is set anew on its line. Raises CannotMerge."""
    _refuse_what_stays_open(text)
    for name, value in wanted.items():
        line = re.compile(rf"^([ \t]*(?:export[ \t]+)?{re.escape(name)}=){_VALUE}", re.MULTILINE)
        found = list(line.finditer(text))
        if found:  # the last one counts
            text = applied(text, [Edit(found[-1].end(1), found[-1].end(), env_value(value))])
        else:
            text = f"{_ended(text)}{name}={env_value(value)}\n"
    return text


def _refuse_what_stays_open(text: str) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            shlex.split(line, comments=True)
        except ValueError:
            raise CannotMerge(f"line {number} does not end its value: a quote or a backslash is open") from None


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
