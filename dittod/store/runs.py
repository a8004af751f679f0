"""Runs in the store, with the course of each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from dittod.errors import NotFound
from dittod.rows import StepRow, as_run, json_values
from dittod.store.file import OPEN_RUNS, StoreFile
from dittod.types import Run, RunState

MOST_NOTES = 50  # of a run: one that is paused for weeks does not grow


class RunRows(StoreFile):
    """Runs by their id."""

    def request_run(self, run: Run) -> Run:
        """Enter a new run, unless one of the profile is open already: that one is returned, by hand if either is."""
        with self._transaction() as db:
            if open_run := db.execute(OPEN_RUNS, (run.profile,)).fetchone():
                by_hand = bool(open_run["by_hand"]) or run.by_hand
                db.execute("UPDATE runs SET by_hand = ? WHERE id = ?", (int(by_hand), open_run["id"]))
                return replace(as_run(open_run), by_hand=by_hand)
            db.execute(
                "INSERT INTO runs VALUES (:id, :profile, :state, :seed, :preset, :requested_at, :finished_at,"
                " :demonstration_ids, :held_out_ids, :adapter_id, :error, :progress, :by_hand, :notes)",
                json_values(asdict(run)),
            )
            return run

    def change_run(self, run_id: str, **changes: Any) -> bool:
        """Set some fields of an open run. False: it has ended, and stays as it is."""
        row = json_values(changes)
        with self._transaction() as db:
            assignments = ", ".join(f"{key} = :{key}" for key in row)
            query = f"UPDATE runs SET {assignments} WHERE id = :run_id AND state IN ('requested', 'running')"
            return db.execute(query, {**row, "run_id": run_id}).rowcount > 0

    def stop_run(self, profile: str, now: float) -> Run | None:
        """Give the open run of a profile up, at this time (POSIX seconds). None: there is none."""
        with self._transaction() as db:
            row = db.execute(OPEN_RUNS, (profile,)).fetchone()
            if row is None or not self.change_run(row["id"], state="stopped", finished_at=now):
                return None
            return self.run(row["id"])

    def add_note(self, run_id: str, sentence: str) -> None:
        """Add a sentence to a run's notes, of which the latest are kept."""
        with self._transaction() as db:
            notes = (*self.run(run_id).notes, sentence)[-MOST_NOTES:]
            db.execute("UPDATE runs SET notes = ? WHERE id = ?", (json.dumps(notes), run_id))

    def set_clock_back(self, now: float) -> None:
        """What was noted for after this time (POSIX seconds) has happened just now, in the same order: the clock was
        wrong then, or is now."""
        columns = (
            ("runs", "requested_at"),
            ("runs", "finished_at"),
            ("demonstrations", "added_at"),
            ("interactions", "asked_at"),
        )
        with self._transaction() as db:
            latest = [
                db.execute(f"SELECT max({column}) FROM {table}").fetchone()[0] or 0.0 for table, column in columns
            ]
            for table, column in columns if max(latest) > now else ():
                db.execute(
                    f"UPDATE {table} SET {column} = :now - (:latest - {column}) * 1e-6 WHERE {column} > :now",
                    {"now": now, "latest": max(latest)},
                )

    def runs(self, *states: RunState, profile: str | None = None) -> list[Run]:
        """Runs in these states (all, if none is named), oldest first."""
        in_states = f" AND state IN ({', '.join('?' * len(states))})" if states else ""
        query = f"SELECT * FROM runs WHERE (? IS NULL OR profile = ?){in_states} ORDER BY requested_at, rowid"
        return [as_run(row) for row in self._rows(query, profile, profile, *states)]

    def latest_run(self, profile: str, *states: RunState) -> Run | None:
        """The profile's latest in one of these states."""
        rows = self._rows(
            f"SELECT * FROM runs WHERE profile = ? AND state IN ({', '.join('?' * len(states))})"
            " ORDER BY requested_at DESC, rowid DESC LIMIT 1",
            profile,
            *states,
        )
        return as_run(rows[0]) if rows else None

    def run(self, run_id: str) -> Run:
        """Raises NotFound."""
        rows = self._rows("SELECT * FROM runs WHERE id = ?", run_id)
        if not rows:
            raise NotFound(f"there is no run {run_id}")
        return as_run(rows[0])

    def record_step(self, run_id: str, step: StepRow) -> None:
        """Add it to the run's course. Where the run took it before, a kill has led back to it: what followed goes."""
        row = {**json_values(asdict(step)), "run_id": run_id}
        with self._transaction() as db:
            db.execute(
                "DELETE FROM steps WHERE run_id = :run_id AND place >="
                " (SELECT place FROM steps WHERE run_id = :run_id AND phase = :phase AND step = :step)",
                row,
            )
            db.execute(
                "INSERT INTO steps (run_id, phase, step, iteration, figures)"
                " VALUES (:run_id, :phase, :step, :iteration, :figures)",
                row,
            )

    def steps(self, run_id: str) -> list[StepRow]:
        """A run's course so far, in the order in which it was taken."""
        return [step for _, step in self.steps_after(run_id, 0)]

    def steps_after(self, run_id: str, after: int) -> list[tuple[int, StepRow]]:
        """The same with the place of each among the steps of all runs, as far as it is behind `after`."""
        query = "SELECT place, phase, step, iteration, figures FROM steps WHERE run_id = ? AND place > ? ORDER BY place"
        rows = [dict(row) for row in self._rows(query, run_id, after)]
        return [(row.pop("place"), StepRow(**{**row, "figures": json.loads(row["figures"])})) for row in rows]

    def has_step(self, run_id: str, place: int) -> bool:
        """Whether the step at that place is still one of the run's."""
        return bool(self._rows("SELECT 1 FROM steps WHERE run_id = ? AND place = ?", run_id, place))

    def rounds_of(self, run_ids: Iterable[str]) -> dict[str, int]:
        """By run, how many rounds of samples it has drawn, of those whose steps are kept."""
        query = (
            "SELECT run_id, max(step) AS rounds FROM steps WHERE phase = 'sampling'"
            " AND run_id IN (SELECT value FROM json_each(?)) GROUP BY run_id"
        )
        return {row["run_id"]: row["rounds"] for row in self._rows(query, json.dumps(list(run_ids)))}

    def forget_courses(self, *, keep: int) -> None:
        """Of all runs that have ended but the latest `keep`, the steps go; the runs stay."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM steps WHERE run_id IN (SELECT id FROM runs WHERE state NOT IN ('requested', 'running')"
                " ORDER BY requested_at DESC LIMIT -1 OFFSET ?)",
                (keep,),
            )
