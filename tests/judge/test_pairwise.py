"""The paper's judge, with models that can, cannot, or love a letter; and the questions that a real one reads."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
import torch
from fakes import finish, tiny_base

from dittod.judge import pairwise
from dittod.judge.pairwise import (
    LEAST_TRIALS,
    TRIALS,
    Ask,
    Question,
    by_model,
    competence,
    is_competent,
    shares_won,
)
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters

KNOWN = [f"Ahoy, it is {number} o'clock! Fair winds" for number in range(6)]
IMPOSTORS = [f"Dear colleagues, please note item {number}." for number in range(30)]


class Judge:
    """Prefers the text that begins as the sample does, by `skill` nats, the letter A by `habit`, short texts by
    `taste`."""

    def __init__(self, skill: float, habit: float = 0.0, taste: float = 0.0) -> None:
        self.skill, self.habit, self.taste = skill, habit, taste
        self.asked: list[Question] = []

    def __call__(self, questions: Sequence[Question]) -> Generator[int, None, list[float]]:
        self.asked += questions
        yield len(questions)
        return [self.habit + self._liking(each.first, each) - self._liking(each.second, each) for each in questions]

    def _liking(self, text: str, question: Question) -> float:
        return self.skill * (text[:4] == question.sample[:4]) - self.taste * len(text)


def tried(ask: Ask, known: Sequence[str] = KNOWN, impostors: Sequence[str] = IMPOSTORS) -> float:
    return finish(competence(ask, known, impostors, 0))[1]


def test_a_model_that_tells_authors_apart_is_competent_whatever_letter_it_loves() -> None:
    assert tried(Judge(1.0)) == tried(Judge(1.0, habit=9.0)) == tried(Judge(1.0, taste=-0.25)) == 1.0
    assert is_competent(1.0)


def test_a_model_that_only_loves_a_letter_or_short_texts_or_is_always_wrong_is_not() -> None:
    """All texts of the person are shorter than anybody else's."""
    assert max(map(len, KNOWN)) < min(map(len, IMPOSTORS))
    assert tried(Judge(0.0, habit=9.0)) == tried(Judge(0.0, taste=0.25)) == tried(Judge(-1.0)) == 0.0
    assert not is_competent(0.6)


def test_trying_ends_where_it_can_no_longer_be_enough() -> None:
    """0.7 of 30 are 21: after ten failures, twenty are left."""
    judge = Judge(-1.0)
    tried(judge)
    assert len(judge.asked) == 4 * 10


def test_every_trial_has_two_texts_of_the_person_and_another_stranger() -> None:
    judge = Judge(1.0)
    tried(judge)
    first, elsewhere = judge.asked[::4], judge.asked[2::4]
    assert len(first) == min(TRIALS, len(IMPOSTORS))
    assert all(each.sample in KNOWN and each.first in KNOWN and each.sample != each.first for each in first)
    assert len({each.second for each in first} & set(IMPOSTORS)) == len(first)
    assert all(each.sample in IMPOSTORS and each.sample != each.second for each in elsewhere)


@pytest.mark.parametrize(("known", "impostors"), [(KNOWN[:1], IMPOSTORS), (KNOWN, IMPOSTORS[: LEAST_TRIALS - 1])])
def test_too_few_texts_make_nobody_competent(known: list[str], impostors: list[str]) -> None:
    assert tried(Judge(1.0), known, impostors) == 0.0


def test_a_share_is_won_of_the_answers_to_a_prompt_and_a_tie_is_half() -> None:
    ours, theirs = [["Ahoy!", "Hello"], ["Hello", "Hi"]], [["Dear", "Ahoy"], ["Dear", "Sir"]]
    seen, shares = finish(shares_won(Judge(1.0, habit=3.0, taste=0.1), KNOWN[:2], ["Moin"], ours, theirs))
    assert shares == [0.5, 0.5]
    assert finish(shares_won(Judge(1.0), KNOWN[:1], ["Moin"], [["Ahoy!", "Ahoy."]], [["Dear", "Ahoy"]]))[1] == [0.75]
    assert len(seen) == 1


def test_against_itself_everybody_wins_half() -> None:
    answers = [["Ahoy", "Hello"], ["Dear", "Sir"]]
    assert finish(shares_won(Judge(1.0, habit=-2.0), KNOWN[:2], ["Moin"], answers, answers))[1] == [0.5, 0.5]


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    torch.set_num_threads(1)
    base = tiny_base(tmp_path / "model")
    adapters = LoraAdapters(base)
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=4))


def test_a_real_model_is_asked_for_the_two_letters_after_texts_that_fit(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three texts of 400 tokens, and a context of 512."""
    prompts: list[str] = []
    original = pairwise.score

    def note(bench: Workbench, sequences: Sequence[pairwise.TokenSequence], adapter: str | None) -> object:
        assert adapter is None and all(len(each) <= 512 for each in sequences)
        assert [bench.base.tokenizer.decode(each.completion_ids) for each in sequences] == ["A", "B"] * 2
        prompts.extend(bench.base.tokenizer.decode(each.prompt_ids) for each in sequences)
        return original(bench, sequences, adapter)

    monkeypatch.setattr(pairwise, "score", note)
    questions = [Question("s" * 400, "f" * 400, "g" * 400), Question("<1>", "<2>", "<3>")]
    _, margins = finish(by_model(workbench)(questions))
    assert all(math.isfinite(each) for each in margins) and len(margins) == 2
    assert prompts[0] == prompts[1] and prompts[0].startswith("<|bos|>")
    assert "ss" in prompts[0] and "ff" in prompts[0] and "gg" in prompts[0]
    assert prompts[2].index("<1>") < prompts[2].index("<2>") < prompts[2].index("<3>")
    assert prompts[2].endswith("<|assistant|>")


def test_a_tiny_random_model_is_not_competent(workbench: Workbench) -> None:
    assert not is_competent(tried(by_model(workbench)))
