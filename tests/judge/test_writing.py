"""Answers by prompt, in groups that fit."""

from __future__ import annotations

from dataclasses import replace

from fakes import demonstration, finish

from dittod.engine.protocol import Update
from dittod.judge.writing import ENDLESS_TOKENS_LEAST, groups, most_tokens, write
from dittod.learner.workbench import Workbench, encode
from dittod.types import Plan

POOL = tuple(
    demonstration(f"Write about {what}", f"The {what} is {how}.", written_at=float(place))
    for place, (what, how) in enumerate([("barn", "red"), ("boat", "new"), ("goat", "loud"), ("mill", "old")])
)
UPDATE = Update("u", "run", "adapters", "clean", 3, POOL, (), None)


def test_answers_come_by_prompt_and_are_the_same_however_few_are_drawn_at_a_time(bench: Workbench) -> None:
    sequences = [encode(bench.base, each) for each in POOL]
    _, together = finish(write(bench, UPDATE, sequences, None, 2, 12))
    tight = replace(bench, plan=Plan(sampling_rows=2, sequence_tokens=64))
    _, apart = finish(write(tight, UPDATE, sequences, None, 2, 12))
    assert together == apart
    assert [len(each) for each in together] == [2] * 4 and len({each[0].text for each in together}) > 1


def test_longer_prompts_are_answered_in_smaller_groups() -> None:
    plan = Plan(sampling_rows=16, sequence_tokens=100)
    short, long = ({str(n): (1,) * length for n in range(8)} for length in (50, 400))
    assert [len(each) for each in groups(short, plan, 2, 50)] == [8]
    assert [len(each) for each in groups(long, plan, 2, 0)] == [2, 2, 2, 2]
    assert [len(each) for each in groups({"a": (1,) * 9000}, plan, 2, 50)] == [1]


def test_prompts_and_their_answers_at_their_longest_stay_within_the_plan() -> None:
    plan = Plan(sampling_rows=16, sequence_tokens=100)
    prompts = {str(n): (1,) * 50 for n in range(8)}
    found = groups(prompts, plan, 2, 350)
    assert [len(each) for each in found] == [2, 2, 2, 2], "2 prompts x 2 answers x 400 tokens = 16 rows x 100 tokens"
    assert {key: ids for each in found for key, ids in each.items()} == prompts


def test_an_answer_may_be_twice_as_long_as_the_longest_text(bench: Workbench) -> None:
    assert most_tokens([encode(bench.base, POOL[0])]) == ENDLESS_TOKENS_LEAST
    long = encode(bench.base, demonstration("Write", "a" * 99))
    assert most_tokens([encode(bench.base, POOL[0]), long]) == 200
