"""What counts as a word, also in scripts that put no spaces between them. Pure."""

from __future__ import annotations

import re

_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han: about two characters a word
_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}|[^\W{_UNSPACED}]+(?:['’][^\W\d_]+)?")


def words_of(text: str) -> list[str]:
    """The words in their order: runs of letters and digits; of Chinese and Japanese, every two characters."""
    return _WORD.findall(text)


def first_words(text: str, count: int) -> str:
    """The text's beginning, up to the end of its `count`th word, on one line; '' of a text without words."""
    end = 0
    for _, found in zip(range(count), _WORD.finditer(text), strict=False):
        end = found.end()
    return " ".join(text[:end].split())
