"""The words that fill the slots of the written corpus: people, places, times, amounts and things.

Every list (``words.txt``) is invented or everyday vocabulary (CC0). A slot ``<day>`` in a situation takes one word of
``WORDS["day"]`` for the whole mail; ``<day2>`` takes another one. What is not a plain list (a person, a sum of money, a
time of day) is made by a function of :data:`MADE`. The module knows nothing about sentences.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

_ONSETS = [*"bcdfghjklmnprstvwyz", "br", "ch", "cl", "dr", "fl", "gr", "kl", "pr", "qu", "sh", "st", "tr"]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "io"]
_CODAS = ["", "", "", "l", "n", "r", "s", "x", "nd", "rt", "th", "m", "k"]


def read_words(path: Path) -> dict[str, list[str]]:
    """The lists of ``words.txt``: a line that begins with a blank goes on with the list above it."""
    lines = path.read_text(encoding="utf-8").replace("\n  ", " ").splitlines()
    pairs = (line.split(": ", 1) for line in lines if not line.startswith("#"))
    return {slot: [word.strip() for word in words.split(" | ")] for slot, words in pairs}


WORDS = read_words(Path(__file__).parent / "words.txt")


def invented_word(rng: random.Random) -> str:
    """A pronounceable word that is in no dictionary, so that subjects must be copied and cannot be recalled."""
    syllables = rng.choice((2, 2, 3))
    word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables)) + rng.choice(_CODAS)
    return word.capitalize()


def first_name(rng: random.Random) -> str:
    """A given name; one in fifteen is invented."""
    return invented_word(rng) if rng.random() < 0.07 else rng.choice(WORDS["firstname"])


def last_name(rng: random.Random) -> str:
    """A family name; one in six is invented."""
    return invented_word(rng) if rng.random() < 0.16 else rng.choice(WORDS["lastname"])


def clock_time(rng: random.Random) -> str:
    """A time of day in one of several notations."""
    hour, minute = rng.randint(8, 19), rng.choice(("00", "00", "00", "30", "30", "15", "45"))
    twelve = hour if hour <= 12 else hour - 12
    half = "am" if hour < 12 else "pm"
    forms = [f"{hour}:{minute}", f"{twelve}:{minute} {half}"]
    if minute == "00":
        forms += [f"{twelve} {half}", f"{twelve} o'clock", "noon" if hour == 12 else f"{twelve} {half}"]
    elif minute == "30":
        forms += [f"half past {twelve}"]
    return rng.choice(forms)


def money(rng: random.Random) -> str:
    """A sum of money with its currency."""
    value = rng.choice((rng.randint(5, 99), rng.randint(10, 60) * 10, rng.randint(3, 48) * 50))
    text = f"{value:,}" if value >= 1000 else str(value)
    if value < 100 and rng.random() < 0.4:
        text += f".{rng.choice((50, 90, 99, 20, 75))}"
    return rng.choice((f"${text}", f"{text} euros", f"EUR {text}", f"{text} dollars", f"£{text}"))


def calendar_date(rng: random.Random) -> str:
    """A day of the year without the year."""
    day, month = rng.randint(1, 28), rng.choice(WORDS["month"])
    suffix = "th" if 10 <= day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return rng.choice((f"{month} {day}", f"{day} {month}", f"the {day}{suffix} of {month}", f"{month} {day}{suffix}"))


def reference_number(rng: random.Random) -> str:
    """An order, ticket or customer number."""
    digits = "".join(rng.choice("0123456789") for _ in range(rng.choice((4, 5, 6))))
    return rng.choice(("", "", "A", "K-", "R", "#", "B-")) + digits


def company(rng: random.Random) -> str:
    """An invented firm."""
    stem = invented_word(rng) if rng.random() < 0.6 else rng.choice(WORDS["lastname"])
    return stem + rng.choice(
        ("", "", " Ltd", " and Sons", " Group", " Systems", " Foods", " Travel", " Energy", " Books")
    )


def project(rng: random.Random) -> str:
    """The name of a project or a programme."""
    if rng.random() < 0.5:
        return f"{invented_word(rng)} project"
    return f"{rng.choice(WORDS['field'])} project"


def small_number(rng: random.Random) -> str:
    """A count in digits."""
    return str(rng.choice((2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 20, 24, 25, 30, 40, 50, 80, 100)))


MADE: dict[str, Callable[[random.Random], str]] = {
    "name": first_name,
    "full": lambda rng: f"{first_name(rng)} {last_name(rng)}",
    "time": clock_time,
    "sum": money,
    "date": calendar_date,
    "ref": reference_number,
    "company": company,
    "project": project,
    "count": small_number,
    "word": invented_word,
}
