"""Updates: those under way with how far they are, those that have ended with what came of them.

Reads the store. What the policy writes while it learns is handed in: it lies in the daemon's memory only. Knows neither
engine nor method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dittod.engine.protocol import Drawn
from dittod.learner.preset import PRESETS
from dittod.runs import OPEN
from dittod.sealing import NoKey
from dittod.signals import LEARNING
from dittod.stages import Course, Place, Stage, expected, stage_of
from dittod.store import Store
from dittod.types import AdapterState, Run
from dittod.views.figures import finite
from dittod.views.remembered import remembered
from dittod.views.written import demonstration

MOST_RUNS = 50


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store tells beside the runs themselves."""

    versions: Mapping[str, tuple[str, AdapterState]]  # by id, what each is called
    passed: Mapping[str, bool]  # by id, whether the gate was for it; where the key cannot be had, of none
    waiting: dict[str, str | None]  # by profile, why nothing is learnt; None: nothing is in the way
    rounds: dict[str, int]  # of samples, by run
    seconds: dict[tuple[str, str], Mapping[str, float]]  # by profile and preset, how long stages took the last time


def runs(store: Store) -> dict[str, Any]:
    """The latest, the newest first, and which one is under way or comes next."""
    found = store.runs()[-MOST_RUNS:][::-1]
    known = _known(store, found)
    current = _current(found, known.waiting)
    return {
        "runs": [_described(each, known) for each in found],
        "current": current.id if current else None,
        "waiting": known.waiting,
    }


def run(store: Store, id: str, after: int, samples: Iterable[Drawn]) -> dict[str, Any]:
    """One, with its steps behind a place, and what its policy wrote lately. `after` in the answer is 0 where all steps
    are there: the run was led back to a checkpoint, and what was told before does not count. Raises NotFound."""
    found = store.run(id)
    since = after if store.has_step(id, after) else 0
    return {
        **_described(found, _known(store, [found])),
        "after": since,
        "steps": [
            {"place": place, **asdict(step), "figures": finite(step.figures)}
            for place, step in store.steps_after(id, since)
        ],
        "samples": [_sample(store, found, each) for each in samples if each.id == id],
    }


def seconds_left(store: Store, run: Run) -> float | None:
    """How long the rest of it will take. None: it does not move on, or some of that was never timed."""
    return _seconds_left(run, _known(store, [run]))


def _known(store: Store, found: Sequence[Run]) -> _Known:
    timed = {(each.profile, each.preset): _seconds(each) for each in store.runs("done") if _seconds(each)}
    waiting = store.noted(LEARNING).get("profiles", {})
    rounds = store.rounds_of(each.id for each in found)
    return _Known(store.adapters_in_short(), _passed(store), dict(waiting), rounds, timed)


def _passed(store: Store) -> Mapping[str, bool]:
    try:
        return remembered(store, "passed the gate", store.mark_of_versions, store.passed_the_gate)
    except NoKey:
        return {}


def _current(found: Sequence[Run], waiting: Mapping[str, str | None]) -> Run | None:
    """Of the open ones the one that goes on, else the one that would: first what is not held, what was begun, what was
    asked for by hand, then the oldest."""

    def rank(run: Run) -> tuple[bool, bool, bool, float]:
        return waiting.get(run.profile) is not None, run.state != "running", not run.by_hand, run.requested_at

    return min((each for each in found if each.state in OPEN), key=rank, default=None)


def _described(run: Run, known: _Known) -> dict[str, Any]:
    version, _ = known.versions.get(run.adapter_id or "", (None, None))
    return {
        **{name: getattr(run, name) for name in ("id", "profile", "state", "requested_at", "finished_at", "by_hand")},
        "preset": run.preset,
        "seed": run.seed,
        "demonstrations": len(run.demonstration_ids),
        "held_out": len(run.held_out_ids),
        "version": version,
        "promoted": known.passed.get(run.adapter_id or ""),
        "error": run.error,
        "notes": list(run.notes),
        **_place_in_words(run.progress),
        "paused": _paused(run, known),
        "stages": _stages(run, known),
        "seconds_left": _seconds_left(run, known),
    }


def _paused(run: Run, known: _Known) -> str | None:
    return known.waiting.get(run.profile) if run.state in OPEN else None


def _seconds_left(run: Run, known: _Known) -> float | None:
    if run.state != "running" or _paused(run, known):
        return None
    return _sum(each["seconds_left"] for each in _stages(run, known))


def _place_in_words(progress: Mapping[str, Any]) -> dict[str, Any]:
    """As the engine said it last."""
    return {
        "phase": progress.get("phase"),
        "iteration": progress.get("iteration", 0),
        "done": progress.get("done", 0),
        "of": progress.get("of", 0),
        "figures": finite(progress.get("figures", {})),
    }


def _stages(run: Run, known: _Known) -> list[dict[str, Any]]:
    """Those behind it, the one it is at, and those to come. Of a run that has ended, what it did not come to the end of
    is to come for ever."""
    course, place = _course(run), _place(run)
    if course is None:
        return []
    there = [each for each in course.stages() if not _was_left_out(each, run, place, known.rounds.get(run.id, 0))]
    at = len(there) if run.state == "done" else there.index(place.stage) if place and place.stage in there else 0
    seconds = {**known.seconds.get((run.profile, run.preset), {}), **_seconds(run)}
    under_way = run.state == "running" and place is not None
    return [
        {
            "phase": each.phase,
            "iteration": each.iteration,
            "title": each.title,
            "state": "done" if number < at else "now" if under_way and number == at else "to come",
            "seconds_left": 0.0 if number < at else expected(course, each, place, seconds),
        }
        for number, each in enumerate(there)
    ]


def _was_left_out(stage: Stage, run: Run, place: Place | None, rounds: int) -> bool:
    """Rounds that learning, which had ended early, never came to."""
    judged = run.state == "done" or (place is not None and place.stage.phase in ("gate", "saving"))
    return judged and rounds > 0 and stage.iteration >= rounds


def _course(run: Run) -> Course | None:
    """As it was begun; before that, what its preset has by itself. None: of a preset that is no more."""
    if told := run.progress.get("course"):
        return Course(**dict(told))  # type: ignore[call-overload]
    return Course.of(PRESETS[run.preset]) if run.preset in PRESETS else None


def _place(run: Run) -> Place | None:
    told: Mapping[str, Any] = run.progress
    if "phase" not in told:
        return None
    stage = stage_of(told["phase"], told.get("iteration", 0), told.get("of", 0), len(run.demonstration_ids))
    return Place(stage, told.get("done", 0), told.get("elapsed", 0.0))


def _seconds(run: Run) -> Mapping[str, float]:
    told: Any = run.progress.get("seconds", {})
    return told if isinstance(told, dict) else {}


def _sum(seconds: Iterable[float | None]) -> float | None:
    """None where any is not known."""
    found = list(seconds)
    known = [each for each in found if each is not None]
    return sum(known) if len(known) == len(found) else None


def _sample(store: Store, run: Run, drawn: Drawn) -> dict[str, Any]:
    row = demonstration(store, run.profile, drawn.demonstration_id)
    return {
        "iteration": drawn.iteration,
        "demonstration_id": drawn.demonstration_id,
        "prompt": row.demonstration.prompt if row else None,
        "text": drawn.text,
        "at": drawn.at,
    }
