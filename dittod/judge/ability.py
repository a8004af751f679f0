"""Whether an adapter has forgotten what its base model knew: the guard of general ability, by two small sets.

`general.jsonl` holds forty short paragraphs (encyclopaedia, narrative, news, how-to, dialogue, code, German, French,
Spanish) and forty questions with one right and two wrong answers, all written for this purpose, CC0. Of the paragraphs
it takes bits per byte, which no tokenizer decides; of the questions the share whose right answer is likelier per token
than both wrong ones. A little dearer is every adapter: it has learnt one person's manner, and these texts are nobody's.
Where base itself answers about as well as chance does, as the starter model, the questions say nothing.

Knows the workbench; does not know what was learnt, or what an adapter is for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dittod.learner.batch import TokenSequence
from dittod.learner.workbench import Workbench, encode, score
from dittod.model.chat import encode_text
from dittod.types import Demonstration

CHANCE = 1 / 3  # of the right answer among three
SURE = 0.01  # base must be better than chance so surely, or its answers say nothing
WORSE = 0.01  # … and the candidate worse than base so surely: a little worse at random it always is


@dataclass(frozen=True, slots=True)
class General:
    """What ships."""

    paragraphs: tuple[str, ...]
    questions: tuple[tuple[str, tuple[str, ...]], ...]  # with three answers each, the right one first


@dataclass(frozen=True, slots=True)
class Ability:
    """What one policy can do on general texts."""

    bits_per_byte: float
    right: tuple[bool, ...]  # by question

    @property
    def right_share(self) -> float:
        """Of the questions."""
        return sum(self.right) / len(self.right)


@cache
def general() -> General:
    """The shipped sets."""
    lines = files("dittod.judge").joinpath("general.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return General(
        tuple(each["text"] for each in rows if "text" in each),
        tuple((each["question"], (each["right"], *each["wrong"])) for each in rows if "question" in each),
    )


def ability(bench: Workbench, adapter: str | None) -> Generator[int, None, Ability]:
    """Measure it; None: base. Yields after each micro-batch how many texts and answers are done."""
    texts = general()
    paragraphs = [_paragraph(bench, each) for each in texts.paragraphs]
    answers = [
        encode(bench.base, Demonstration("", question, each, "", 0.0), bench.plan.sequence_tokens)
        for question, offered in texts.questions
        for each in offered
    ]
    logps = yield from score(bench, [*paragraphs, *answers], adapter)
    size = sum(len(each.encode()) for each in texts.paragraphs)
    bits = -sum(logps[: len(paragraphs)]) / math.log(2)
    likelihoods = [
        logp / len(each.completion_ids) for logp, each in zip(logps[len(paragraphs) :], answers, strict=True)
    ]
    return Ability(bits / size, _right(likelihoods, [len(offered) for _, offered in texts.questions]))


def ability_objection(candidate: Ability, base: Ability, max_loss: float) -> str:
    """A sentence if the candidate has forgotten too much; else ''. `max_loss`: by which share texts may be dearer."""
    loss = candidate.bits_per_byte / base.bits_per_byte - 1
    if not loss <= max_loss:  # true for NaN too
        return (
            f"General ability is lost: general texts cost {candidate.bits_per_byte:.2f} bits per byte instead of"
            f" {base.bits_per_byte:.2f}, {loss:.0%} more, and {max_loss:.0%} are allowed."
        )
    if knows_answers(base) and answers_worse(candidate, base):
        return (
            f"General ability is lost: {sum(candidate.right)} of {len(base.right)} simple questions are answered"
            f" rightly, and {sum(base.right)} by the base model."
        )
    return ""


def knows_answers(base: Ability) -> bool:
    """Whether base is surely better than chance (binomial test): else its answers are no measure."""
    return _tail(sum(base.right), len(base.right), CHANCE) < SURE


def answers_worse(candidate: Ability, base: Ability) -> bool:
    """Sign test over the questions that one of the two gets right and the other does not."""
    pairs = list(zip(candidate.right, base.right, strict=True))
    lost, won = pairs.count((False, True)), pairs.count((True, False))
    return _tail(lost, lost + won, 0.5) < WORSE


def _paragraph(bench: Workbench, text: str) -> TokenSequence:
    """A text that begins as the tokenizer begins one; cut to the plan, for base and candidate alike."""
    begin = encode_text(bench.base, "")
    ids = bench.base.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    room = min(bench.base.context_tokens, bench.plan.sequence_tokens) - len(begin)
    return TokenSequence("", tuple(begin), tuple(ids[:room]))


def _right(likelihoods: list[float], offered: list[int]) -> tuple[bool, ...]:
    """Whether the first of each question's answers is the likeliest."""
    found, start = [], 0
    for count in offered:
        first, *others = likelihoods[start : start + count]
        found.append(first > max(others))
        start += count
    return tuple(found)


def _tail(successes: int, trials: int, chance: float) -> float:
    """Probability of so many successes or more."""
    return sum(
        math.comb(trials, each) * chance**each * (1 - chance) ** (trials - each)
        for each in range(successes, trials + 1)
    )
