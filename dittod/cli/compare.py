"""compare: two versions are asked the same, and their answers stand side by side.

Knows nothing of who answers: `dittod.cli.answers`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass

from dittod.cli import answers
from dittod.cli.answers import Began, Ended, Say, only_voice
from dittod.cli.endpoint import Endpoint
from dittod.cli.side_by_side import print_side_by_side
from dittod.cli.terminal import err, print_json
from dittod.engine.protocol import Sampling
from dittod.errors import DittodError
from dittod.paths import home
from dittod.types import BASE, Message

TEMPERATURE = 0.7  # as the gate's: below 1, as most clients sample
CUT = "length"


@dataclass(frozen=True, slots=True)
class Question:
    """What both are asked, with how their words are drawn."""

    prompt: str
    seed: int
    temperature: float = TEMPERATURE
    max_tokens: int | None = None  # None: as many as fit the model


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of them says."""

    model: str  # as it was asked for
    adapter: str  # id of the version that answered; 'base'
    text: str
    finish_reason: str


Ask = Callable[[str, Question], Answer]


def compare(prompt: str, one: str, other: str | None, *, seed: int | None, as_json: bool) -> None:
    """With the same seed for both; one that nobody named is said, so that the answers can be had again. `other`: None
    is the only voice that there is."""
    question, both = both_asked(prompt, one, other, seed)
    if as_json:
        print_json({"prompt": prompt, "seed": question.seed, "answers": [asdict(each) for each in both]})
        return
    print_answers(both)
    err.print(f"\nthe same again: --seed {question.seed}", style="dim")


def both_asked(prompt: str, one: str, other: str | None, seed: int | None) -> tuple[Question, list[Answer]]:
    """What was asked in the end, and what both say."""
    if not prompt.strip():
        raise DittodError("there is nothing to ask", "give a prompt")
    place = home()
    place.create()
    other = other or only_voice(place)
    question = Question(prompt, secrets.randbelow(2**31) if seed is None else seed)
    with answers.opened(place) as say:
        return question, [_asked(asking(say), model, question) for model in (one, other)]


def print_answers(both: list[Answer]) -> None:
    """Each under the name that was asked for."""
    print_side_by_side([(title(each), each.text) for each in both])


def at_endpoint(endpoint: Endpoint) -> Ask:
    """The voices that a running daemon serves."""
    return asking(answers.at_endpoint(endpoint))


def asking(say: Say) -> Ask:
    """For whole answers."""

    def ask(model: str, question: Question) -> Answer:
        sampling = Sampling(temperature=question.temperature, seed=question.seed, max_tokens=question.max_tokens)
        adapter, text, reason = BASE, "", ""
        for said in say(model, [Message("user", question.prompt)], sampling):
            match said:
                case Began():
                    adapter = said.adapter
                case str():
                    text += said
                case Ended():
                    reason = said.reason
        return Answer(model, adapter, text, reason)

    return ask


def _asked(ask: Ask, model: str, question: Question) -> Answer:
    with err.status(f"{model} writes"):
        return ask(model, question)


def title(answer: Answer) -> str:
    """The name that was asked for, and what is odd about the answer."""
    by_base = " (answered by base)" if answer.adapter == BASE != answer.model else ""
    return f"{answer.model}{by_base}{', cut at the limit' if answer.finish_reason == CUT else ''}"
