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
from dittod.signals import LEARNING
from dittod.stages import Course, Place, Stage, expected, stage_of
from dittod.store import Store
from dittod.types import Adapter, Run
from dittod.views.figures import finite
from dittod.views.words import name_of
from dittod.views.written import demonstration

MOST_RUNS = 50


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store tells beside the runs themselves."""

    versions: dict[str, Adapter]  # by id
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
    steps = store.steps_after(id, 0)
    since = after if after in {place for place, _ in steps} else 0
    return {
        **_described(found, _known(store, [found])),
        "after": since,
        "steps": [
            {"place": place, **asdict(step), "figures": finite(step.figures)} for place, step in steps if place > since
        ],
        "samples": [_sample(store, found, each) for each in samples if each.id == id],
    }


def _known(store: Store, found: Sequence[Run]) -> _Known:
    timed = {(each.profile, each.preset): _seconds(each) for each in store.runs("done") if _seconds(each)}
    waiting = store.noted(LEARNING).get("profiles", {})
    made = {each.id: each for each in store.adapters()}
    return _Known(made, dict(waiting), store.rounds_of(each.id for each in found), timed)


def _current(found: Sequence[Run], waiting: Mapping[str, str | None]) -> Run | None:
    """Of the open ones the one that goes on, else the one that would: first what is not held, what was begun, what was
    asked for by hand, then the oldest."""

    def rank(run: Run) -> tuple[bool, bool, bool, float]:
        return waiting.get(run.profile) is not None, run.state != "running", not run.by_hand, run.requested_at

    return min((each for each in found if each.state in OPEN), key=rank, default=None)


def _described(run: Run, known: _Known) -> dict[str, Any]:
    version = known.versions.get(run.adapter_id or "")
    paused = known.waiting.get(run.profile) if run.state in OPEN else None
    stages = _stages(run, known)
    return {
        **{name: getattr(run, name) for name in ("id", "profile", "state", "requested_at", "finished_at", "by_hand")},
        "preset": run.preset,
        "seed": run.seed,
        "demonstrations": len(run.demonstration_ids),
        "held_out": len(run.held_out_ids),
        "version": name_of(version) if version else None,
        "promoted": version.verdict.promoted if version else None,
        "error": run.error,
        "notes": list(run.notes),
        **_place_in_words(run.progress),
        "paused": paused,
        "stages": stages,
        "seconds_left": None if paused or run.state != "running" else _sum(each["seconds_left"] for each in stages),
    }


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
    stage = stage_of(told["phase"], told["iteration"], told["of"], len(run.demonstration_ids))
    return Place(stage, told["done"], told.get("elapsed", 0.0))


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
