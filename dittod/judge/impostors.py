"""Texts of people who are not the user, for judges to compare with: the impostors that ship.

Sixty-odd short e-mails, notes and paragraphs by two dozen people, all invented for this purpose, in English, German,
French and Spanish; as unlike each other as people are. They are dedicated to the public domain (CC0 1.0). A judge has
them beside the base model's own answers and other profiles' texts, which are nearer to what it must tell apart. Knows
no judge.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files


@cache
def shipped_impostors() -> tuple[str, ...]:
    """Their texts, in an order that does not change."""
    lines = files("dittod.judge").joinpath("impostors.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(str(json.loads(line)["text"]) for line in lines)
