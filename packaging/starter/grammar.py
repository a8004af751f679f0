"""The small template language in which the situations are written.

``[a|b|c]`` chooses one of its parts (nested, an empty part is allowed), ``<day>`` is a slot: the same slot has the same
value in the whole mail, ``<day2>`` is another value of the same list. ``a(n)`` becomes *a* or *an*. The module knows
nothing about mails; it turns a template and a :class:`Scene` into clean sentences.
"""

from __future__ import annotations

import random
import re

from lexicon import MADE, WORDS

_SLOT = re.compile(r"<([a-z]+)(\d*)>")
_INNER_CHOICE = re.compile(r"\[([^\[\]]*)\]")


class Scene:
    """The facts of one mail: a random source and the slots that are already filled."""

    def __init__(self, rng: random.Random, facts: dict[str, str] | None = None) -> None:
        self.rng = rng
        self.facts: dict[str, str] = dict(facts or {})

    def fact(self, slot: str, number: str) -> str:
        """The value of a slot; drawn the first time, remembered afterwards, different for different numbers."""
        key = slot + number
        if key not in self.facts:
            taken = {
                value for name, value in self.facts.items() if _SLOT.fullmatch(f"<{name}>") and _base(name) == slot
            }
            for _ in range(20):
                value = MADE[slot](self.rng) if slot in MADE else self.rng.choice(WORDS[slot])
                if value not in taken:
                    break
            self.facts[key] = value
        return self.facts[key]

    def expand(self, template: str) -> str:
        """The template with every choice made and every slot filled; not yet capitalised."""
        text = template
        while match := _INNER_CHOICE.search(text):
            text = text[: match.start()] + self.rng.choice(match.group(1).split("|")) + text[match.end() :]
        while _SLOT.search(text):
            text = _SLOT.sub(lambda m: self.expand(self.fact(m.group(1), m.group(2))), text)
        return text

    def sentence(self, template: str) -> str:
        """One or more clean sentences of a template."""
        return tidy(self.expand(template))


def _base(name: str) -> str:
    return name.rstrip("0123456789")


def tidy(text: str) -> str:
    """Articles, spaces and capitals put right."""
    text = re.sub(r"\ba\(n\) (?=(?:[aeioAEIO]|un[^i]|um|up))", "an ", text)
    text = text.replace("a(n) ", "a ")
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" +([.,;:!?])", r"\1", text)
    text = re.sub(r"\b(the|my|our|your) (the|my|our|your)\b", r"\1", text)
    text = re.sub(r"(?<=\b[ap])m\.(?=\.)", "m", text)
    text = re.sub(r"(^|[.!?] |\n)([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)
    return text.strip()
