"""The stages of an update: which there will be, which one it is at, and how long the rest takes at the pace so far.

A stage with steps takes as long as its steps do; of the others it is known how long they took the last time, in this
update or in an earlier one. What has never been timed is not guessed. Numbers only: knows neither store nor texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from dittod.engine.protocol import Progress
from dittod.learner.preset import Preset

TITLES = {
    "supervised": "supervised steps",
    "reference": "reference",
    "sampling": "samples",
    "dpo": "preference steps",
    "gate": "gate",
    "saving": "saving",
}
IN_ROUNDS = ("sampling", "dpo")
IN_STEPS = ("supervised", "dpo")  # of the optimiser, all alike
UNTIMED = {"saving": 0.0}  # a moment


@dataclass(frozen=True, slots=True)
class Stage:
    """One of them."""

    phase: str  # as in Progress
    iteration: int = 0  # t of algorithm 1

    @property
    def title(self) -> str:
        """For people, who count from 1."""
        title = TITLES.get(self.phase, self.phase)
        return f"{title}, iteration {self.iteration + 1}" if self.phase in IN_ROUNDS else title


@dataclass(frozen=True, slots=True)
class Course:
    """What a method's numbers come to."""

    supervised_steps: int
    dpo_steps: int
    resample_every: int

    @classmethod
    def of(cls, method: Preset) -> Course:
        """The preset's."""
        return cls(method.supervised_steps, method.dpo_steps, method.resample_every)

    @property
    def rounds(self) -> int:
        """Of samples, the last of which may be followed by fewer steps."""
        return -(-self.dpo_steps // self.resample_every)

    def stages(self) -> list[Stage]:
        """In their order, if nothing ends learning early."""
        rounds = chain.from_iterable((Stage("sampling", t), Stage("dpo", t)) for t in range(self.rounds))
        supervised = [Stage("supervised")] if self.supervised_steps else []
        return [*supervised, Stage("reference"), *rounds, Stage("gate"), Stage("saving")]

    def steps(self, stage: Stage, done: int = 0) -> int:
        """How many a stage in steps has still to take, where `done` of its phase are taken."""
        if stage.phase == "supervised":
            return max(0, self.supervised_steps - done)
        first = stage.iteration * self.resample_every
        return max(0, min(first + self.resample_every, self.dpo_steps) - max(first, done))


def stage_of(phase: str, iteration: int, of: int, demonstrations: int) -> Stage:
    """Where such a progress is. What the reference makes of fresh samples, of which there are more than
    demonstrations, belongs to the drawing of them."""
    if phase == "reference" and (iteration or of > demonstrations):
        return Stage("sampling", iteration)
    return Stage(phase, iteration if phase in IN_ROUNDS else 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an update is, and since when."""

    stage: Stage
    done: int = 0  # of the phase
    elapsed: float = 0.0  # seconds, in this stage or since its latest step


def expected(course: Course, stage: Stage, place: Place | None, seconds: Mapping[str, float]) -> float | None:
    """How many seconds this stage will take from now on; None: such a one was never timed. `place`: where the update
    is, if it is in this stage. `seconds` by phase: of one step, or of the whole stage where it has none."""
    known = {**UNTIMED, **seconds}.get(stage.phase)
    here = place if place is not None and place.stage == stage else Place(stage)
    if known is None:
        return None
    steps = course.steps(stage, here.done) if stage.phase in IN_STEPS else 1
    return max(0, steps - 1) * known + max(0.0, min(1, steps) * known - here.elapsed)


class Pace:
    """Listens to an update, and times its stages. Begun anew with every start: time that it was left alone does not
    count. Clients' requests in between do: that is how fast it goes."""

    def __init__(self, demonstrations: int, seconds: Mapping[str, float]) -> None:
        """`seconds`: what was known before, see `expected`."""
        self.seconds = dict(seconds)
        self._demonstrations = demonstrations
        self._stage: Stage | None = None
        self._first = self._done = 0  # steps that were taken when the stage began, and by now
        self._begun = self._stepped = self._heard = 0.0  # when it did, its latest step ended, something was heard last

    @property
    def elapsed(self) -> float:
        """Seconds in the stage under way or since its latest step, as far as was heard of it."""
        return self._heard - self._stepped

    def hear(self, progress: Progress, now: float) -> None:
        """At this time, in seconds of any clock that never goes back."""
        stage = stage_of(progress.phase, progress.iteration, progress.of, self._demonstrations)
        if stage != self._stage:
            self._enter(stage, progress.done, now)
        self._heard = now
        if stage.phase in IN_STEPS and progress.done > self._done:
            self._done, self._stepped = progress.done, now
            self.seconds[stage.phase] = (now - self._begun) / (progress.done - self._first)

    def _enter(self, stage: Stage, done: int, now: float) -> None:
        """It began when the one before had ended: the first that is heard of a stage is the end of a micro-step."""
        before, self._stage = self._stage, stage
        if before is not None and before.phase not in IN_STEPS:
            self.seconds[before.phase] = self.elapsed
        self._first = self._done = done
        self._begun = self._stepped = now if before is None else self._heard
