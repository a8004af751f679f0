from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from fakes import finish

from dittod.judge.ability import Ability, ability, ability_objection, answers_worse, general, knows_answers
from dittod.learner.workbench import Workbench, encode
from dittod.model.lora import LoraShape
from dittod.types import Demonstration, Plan

GOOD = Ability(1.0, (True,) * 36 + (False,) * 4)
AT_CHANCE = Ability(2.7, (True, False, False) * 13 + (False,))


def test_the_sets_are_what_the_docstring_says() -> None:
    texts = general()
    assert (len(texts.paragraphs), len(texts.questions)) == (40, 40)
    assert len(set(texts.paragraphs)) == len({question for question, _ in texts.questions}) == 40
    assert all(len(set(answers)) == 3 for _, answers in texts.questions)
    assert all(100 < len(each) < 500 for each in texts.paragraphs)


def test_an_answer_is_not_known_by_its_length() -> None:
    """Neither the longest nor the shortest of the three is right much oftener than chance has it."""
    longest = Counter(max(range(3), key=lambda place, said=said: len(said[place])) for _, said in general().questions)
    shortest = Counter(min(range(3), key=lambda place, said=said: len(said[place])) for _, said in general().questions)
    assert max(longest[0], shortest[0]) <= 22


def test_bits_per_byte_are_those_of_the_models_own_log_probabilities(bench: Workbench) -> None:
    base, bits, size = bench.base, 0.0, 0
    for text in general().paragraphs:
        ids = torch.tensor([[base.tokenizer.bos_token_id, *base.tokenizer(text)["input_ids"]]])
        with torch.no_grad():
            logps = base.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        bits -= float(logps.gather(-1, ids[0, 1:, None]).sum()) / math.log(2)
        size += len(text.encode())
    _, found = finish(ability(bench, None))
    assert found.bits_per_byte == pytest.approx(bits / size, rel=1e-4)


def test_a_question_is_right_where_the_right_answer_is_likelier_per_token_than_both_others(bench: Workbench) -> None:
    def likelihood(question: str, answer: str) -> float:
        each = encode(bench.base, Demonstration("", question, answer, "", 0.0))
        ids = torch.tensor([[*each.prompt_ids, *each.completion_ids]])
        with torch.no_grad():
            logps = bench.base.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])
        return float(logps[-len(each.completion_ids) :].mean())

    _, found = finish(ability(bench, None))
    for (question, (right, *wrong)), is_right in list(zip(general().questions, found.right, strict=True))[:10]:
        assert is_right == (likelihood(question, right) > max(likelihood(question, each) for each in wrong))
    assert found.right_share == sum(found.right) / 40


def test_it_is_measured_under_the_adapter_and_can_be_left_between_micro_batches(bench: Workbench) -> None:
    bench.plan = replace(Plan(), micro_batch_tokens=2000)
    bench.adapters.create("policy", LoraShape(rank=4, alpha=8), seed=0)
    steps, fresh = finish(ability(bench, "policy"))
    assert len(steps) > 5, "requests are answered in between"
    _, base = finish(ability(bench, None))
    assert fresh.bits_per_byte == pytest.approx(base.bits_per_byte), "a fresh adapter changes nothing"
    for value in bench.adapters.parameters("policy"):
        value.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    _, moved = finish(ability(bench, "policy"))
    assert moved.bits_per_byte != pytest.approx(base.bits_per_byte)


@pytest.mark.parametrize(
    ("bits", "lost"), [(0.9, False), (1.25, False), (1.26, True), (math.nan, True), (math.inf, True)]
)
def test_the_limit_is_a_share_of_what_base_needs(bits: float, lost: bool) -> None:
    assert bool(ability_objection(replace(GOOD, bits_per_byte=bits), GOOD, 0.25)) is lost


def test_losing_answers_is_found_where_base_knows_them() -> None:
    """Of 36 right answers 29 are left: seven lost and none won is no chance, 0.5^7 < 0.01."""
    worse = Ability(1.0, (True,) * 29 + (False,) * 11)
    assert "29 of 40" in ability_objection(worse, GOOD, 0.25)
    assert ability_objection(Ability(1.0, (True,) * 30 + (False,) * 10), GOOD, 0.25) == ""


def test_answers_say_nothing_where_base_guesses() -> None:
    none_right = Ability(2.7, (False,) * 40)
    assert answers_worse(none_right, AT_CHANCE)
    assert not knows_answers(AT_CHANCE)
    assert ability_objection(none_right, AT_CHANCE, 0.25) == ""


def test_as_many_won_as_lost_is_not_worse() -> None:
    assert not answers_worse(Ability(1.0, (False,) * 4 + (True,) * 36), GOOD)
