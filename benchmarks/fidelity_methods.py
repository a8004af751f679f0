"""The methods that the fidelity benchmark compares: what each puts before the model, and what each changes in learning.

Two kinds. A *prompted* method writes with the base's or a trained policy's weights and some prompt; a *variant* is one
run of DITTO with other numbers, which gives policies. Knows the method's numbers; neither trains nor writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dittod.model.chat import encode_chat
from dittod.model.examples import examples_room, with_examples
from dittod.model.load import BaseModel
from dittod.retrieval import nearest
from dittod.types import Demonstration, Message

FEW = 3  # demonstrations in a prompt
ITERATIONS = 4  # of the main run
CURVE_ITERATIONS = 6
HALVED = {"dpo_steps": 20, "resample_every": 5, "samples_per_demonstration": 5}  # of the paper's numbers, for two cores
QUICK = {"supervised_steps": 6, "dpo_steps": 4, "resample_every": 1, "samples_per_demonstration": 2}
MAIN = "ditto"
ONLINE_ONLY = {"online": 1.0, "replay": 0.0, "intermodel": 0.0}

Prompts = Callable[[str], list[int]]  # the token ids that stand before the answer to a task


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of the method with some numbers replaced."""

    factors: Mapping[str, float]  # of the main run's numbers
    numbers: Mapping[str, float]  # in their place
    learnt: int | None = None  # the latest so many demonstrations; None: all
    warm: bool = False  # starts from an adapter that has learnt the older half before
    preferences: int = 0  # DPO on so many pairs of the policy's own answers instead

    def overrides(self, main: Mapping[str, float]) -> dict[str, float]:
        """The preset's numbers, from those of the main run."""
        changed = {name: round(main[name] * factor) for name, factor in self.factors.items()}
        return {**main, **changed, **self.numbers}


def _variant(learnt: int | None = None, *, warm: bool = False, preferences: int = 0, **numbers: float) -> Variant:
    return Variant({}, numbers, learnt, warm, preferences)


ABLATIONS: dict[str, Variant] = {
    "no_resampling": Variant({"resample_every": ITERATIONS}, {}),
    "no_replay": _variant(replay=0.0),
    "no_intermodel": _variant(intermodel=0.0),
    "moving_reference": _variant(moving_reference=True),
}
CURVES: dict[str, Variant] = {
    "demonstrations_1": _variant(learnt=1),
    "demonstrations_2": _variant(learnt=2),
    "demonstrations_3": _variant(learnt=3),
    "demonstrations_5": _variant(learnt=5),
    "negatives_2": Variant({"samples_per_demonstration": 0.4}, {}),
    "negatives_10": Variant({"samples_per_demonstration": 2}, {}),
    "iterations_6": Variant({"dpo_steps": CURVE_ITERATIONS / ITERATIONS}, {}),
    "warm_start": _variant(warm=True),
    "preferences_20": _variant(preferences=20),
    "preferences_80": _variant(preferences=80),
    "preferences_80_from_base": _variant(preferences=80, supervised_steps=0),
}
VARIANTS: dict[str, Variant] = {
    MAIN: _variant(),
    "spin": Variant({}, {**ONLINE_ONLY, "moving_reference": True}),
    **ABLATIONS,
    **CURVES,
}

DESCRIBE = "Describe in three sentences the manner in which these texts are written: their tone, length and habits."
DESCRIPTION_TOKENS = 96


@dataclass(frozen=True, slots=True)
class Prompter:
    """Makes the prompts of one author's methods. `room`: tokens that a prompt may have."""

    base: BaseModel
    learnt: Sequence[Demonstration]
    room: int

    def plain(self, task: str) -> list[int]:
        """The task alone."""
        return self._encode([Message("user", task)])

    def few_shot(self, task: str) -> list[int]:
        """The nearest demonstrations before it, as earlier turns."""
        near = nearest(task, self.learnt, FEW)
        return self._encode(
            with_examples(
                self.base, [Message("user", task)], near, min(self.room, examples_room(self.base.context_tokens))
            )
        )

    def described(self, task: str, description: str) -> list[int]:
        """The manner in words, then the task."""
        return self._encode([Message("user", f"Write in this manner: {description}\n\n{task}")])

    def asking_for_the_manner(self) -> list[int]:
        """As many of the demonstrations as fit, and the question how they are written."""
        texts: list[str] = []
        for each in self.learnt:
            if len(self.plain(_question([*texts, each.completion]))) <= self.room - DESCRIPTION_TOKENS:
                texts.append(each.completion)
        return self.plain(_question(texts))

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        """A prompt without room loses its beginning, as in learning."""
        return encode_chat(self.base, messages)[-self.room :]


def _question(texts: Sequence[str]) -> str:
    return "\n\n".join([*texts, DESCRIBE])
