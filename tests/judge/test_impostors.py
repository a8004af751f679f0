"""The texts of other people that ship."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files

from dittod.judge.guards import copied_words, words
from dittod.judge.impostors import shipped_impostors

DEMO = sorted(files("dittod.cli").joinpath("demo_mails").iterdir(), key=lambda each: each.name)


def test_there_are_enough_different_people_and_texts() -> None:
    lines = files("dittod.judge").joinpath("impostors.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    by_author = Counter(row["author"] for row in rows)
    assert len(rows) >= 60
    assert len(by_author) >= 12
    assert max(by_author.values()) <= 3
    assert [row["text"] for row in rows] == list(shipped_impostors())


def test_each_is_a_short_text_of_its_own() -> None:
    texts = shipped_impostors()
    assert all(40 <= len(each.split()) <= 150 for each in texts)
    said = [words(each) for each in texts]
    assert max(copied_words(each, said[:place]) for place, each in enumerate(said)) < 8  # greeting and closing only


def test_none_resembles_the_person_of_the_demo() -> None:
    mails = [words(each.read_text(encoding="utf-8")) for each in DEMO]
    assert len(mails) > 10
    assert max(copied_words(words(each), mails) for each in shipped_impostors()) < 6
