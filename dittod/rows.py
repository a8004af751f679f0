"""What the store gives and takes besides `types`, and how rows of its tables become values. No SQL in here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dittod.types import Adapter, AdapterState, Demonstration, Recipe, Run, Verdict, Written

FileState = Literal["read", "set_aside"]
GONE: tuple[AdapterState, ...] = ("pruned", "forgotten")  # of these adapters only the row is left
PAIR = tuple(each.name for each in fields(Demonstration))  # columns


@dataclass(frozen=True, slots=True)
class FileRow:
    """What became of one watched file."""

    path: str  # relative to the watched folder
    profile: str
    size_bytes: int
    mtime_ns: int
    state: FileState
    reason: str  # why it is set aside, or gave no demonstration; never the user's text
    identities: tuple[str, ...]  # the user's addresses it was read with: when they change, it is read again
    senders: Mapping[str, int]  # how many of its mails came from which address
    read_at: float
    tails: Mapping[str, int] = field(default_factory=dict[str, int])  # how many mails end so: hashes of last lines
    masked: Mapping[str, int] = field(default_factory=dict[str, int])  # secrets by kind
    removed: Mapping[str, int] = field(default_factory=dict[str, int])  # lines that are not the user's, by reason
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])  # why not each of its mails and texts is learnt
    content_sha256: str = ""  # of a large mailbox as it was read; '' when it was changing meanwhile


@dataclass(frozen=True, slots=True)
class DemonstrationRow:
    """A demonstration with what became of it. `demonstration` has the prompt that counts now."""

    profile: str
    key: str  # the id that it has with the template's prompt: what its files vouch for
    demonstration: Demonstration
    template: str  # the prompt it began with
    excluded: bool  # by the user: neither learnt from nor judged by
    added_at: float
    files: tuple[str, ...]  # where it stands


@dataclass(frozen=True, slots=True)
class StepRow:
    """The figures of one completed step of a run, or of one round of samples. Numbers only."""

    phase: str  # supervised, sampling, dpo
    step: int  # of the phase, from 1
    iteration: int  # t of algorithm 1, from 0
    figures: Mapping[str, float]


def as_pair(row: Mapping[str, Any]) -> Demonstration:
    """What an update learns from: the row may have more."""
    return Demonstration(**{name: row[name] for name in PAIR})


def as_demonstration(row: Mapping[str, Any]) -> DemonstrationRow:
    return DemonstrationRow(
        profile=row["profile"],
        key=row["key"],
        demonstration=as_pair(row),
        template=row["template"],
        excluded=bool(row["excluded"]),
        added_at=row["added_at"],
        files=tuple(json.loads(row["files"])),
    )


def _is_json(value: object) -> bool:
    return isinstance(value, (tuple, list, Mapping))


def json_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: json.dumps(value) if _is_json(value) else value for key, value in values.items()}


def as_file(row: Mapping[str, Any]) -> FileRow:
    values = dict(row)
    values["identities"] = tuple(json.loads(values["identities"]))
    values |= {name: json.loads(values[name]) for name in ("senders", "tails", "masked", "removed", "reasons")}
    return FileRow(**values)


def as_run(row: sqlite3.Row) -> Run:
    values = dict(row)
    for key in ("demonstration_ids", "held_out_ids", "notes"):
        values[key] = tuple(json.loads(values[key]))
    values["by_hand"] = bool(values["by_hand"])
    values["progress"] = json.loads(values["progress"])
    return Run(**values)


def as_adapter(row: Mapping[str, Any], adapters: Path) -> Adapter:
    """`adapters`: the folder that holds one for each."""
    values = {**row, "path": str(adapters / row["id"]), "pinned": bool(row["pinned"])}
    verdict = json.loads(values["verdict"])
    verdict["reasons"] = tuple(verdict["reasons"])
    verdict["outputs"] = tuple(map(_as_written, verdict["outputs"]))
    values["verdict"] = Verdict(**verdict)
    values["recipe"] = Recipe(**json.loads(values["recipe"]))
    values["demonstration_ids"] = tuple(json.loads(values["demonstration_ids"]))
    return Adapter(**values)


def _as_written(output: Any) -> Written:
    """Verdicts from before 0.7 have texts only."""
    return Written(**output) if isinstance(output, dict) else Written("", "", output)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten at once, of one profile. Nothing of the texts, and no name of a file."""

    id: str  # 8 characters
    at: float  # POSIX seconds
    profile: str
    cause: str  # a phrase: 'a file was deleted'
    demonstrations: int  # how many went
    adapters: tuple[str, ...]  # versions that had learnt from them: 'email@3'
    replaced_by: str  # what is served since: a version, or 'base'
    run_id: str | None = None  # of the update that was asked for; None: not asked for yet, or there is too little left
    finished: bool = False  # whether weights, samples and caches are gone too


@dataclass(frozen=True, slots=True)
class Judgement:
    """That the user took one of two answers for their own, without knowing whose they were. Nothing of the answers."""

    at: float  # POSIX seconds
    profile: str
    chosen: str  # a version, 'email@3', or 'base'
    other: str


def as_receipt(row: Mapping[str, Any]) -> Receipt:
    return Receipt(**{**row, "adapters": tuple(json.loads(row["adapters"])), "finished": bool(row["finished"])})
