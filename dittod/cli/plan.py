"""plan: how learning fits into the memory budget. Reads config.json alone; a child process asks torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

from dittod.cli.terminal import out, print_json, print_table
from dittod.config import Settings, load_settings, parse_bytes
from dittod.engine.process import OFFLINE
from dittod.errors import EngineUnavailable, ModelError, SettingsError
from dittod.learner.memory import Device
from dittod.learner.plan import BEFORE_TEXTS, Planned, make_plan, size
from dittod.learner.preset import preset
from dittod.model.shape import ModelShape
from dittod.paths import home

PROBE_SECONDS = 120.0  # importing torch from a slow disk


def show_plan(model: str | None, budget: str | None, *, as_json: bool) -> None:
    """Tables, or one document with the same. Raises SettingsError where nothing fits."""
    settings = load_settings(home())
    name = model or settings.base_model
    wanted = _budget(budget) or settings.memory_budget
    device, shape = ask(name)
    planned = make_plan(
        shape,
        device,
        device.budget(wanted),
        preset(settings.preset, settings.learner),
        quantisation=None if settings.quantisation == "auto" else settings.quantisation,
        need=BEFORE_TEXTS,
    )
    print_json(describe(name, device, planned)) if as_json else _show(name, device, planned, settings)


def describe(name: str, device: Device, planned: Planned) -> dict[str, object]:
    """All of it, in bytes."""
    return {
        "base_model": name,
        "device": asdict(device),
        "budget_bytes": planned.budget_bytes,
        "plan": asdict(planned.plan),
        "reasons": dict(planned.reasons),
        "phases": {phase: asdict(terms) for phase, terms in planned.phases.items()},
    }


def ask(model: str) -> tuple[Device, ModelShape]:
    """What the engine would compute on, and the dimensions of what. Raises ModelError, EngineUnavailable."""
    command = [sys.executable, "-m", "dittod.engine.room", model]
    environment = {**os.environ, **OFFLINE}
    try:
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise EngineUnavailable("torch could not be asked about this machine", f"run {' '.join(command)}") from error
    found = json.loads(ended.stdout.splitlines()[-1])
    if "error" in found:
        raise ModelError(*found["error"])
    return Device(**found["device"]), ModelShape(**found["shape"])


def _budget(given: str | None) -> int | None:
    try:
        return None if given is None else parse_bytes(given)
    except ValueError as error:
        raise SettingsError(f"the budget cannot be {given!r}", str(error)) from error


def _show(name: str, device: Device, planned: Planned, settings: Settings) -> None:
    where = "this processor" if device.kind == "cpu" else "the graphics card"
    peak, budget = size(planned.plan.peak_bytes), size(planned.budget_bytes)
    out.print(f"{name} on {where}, preset {settings.preset}: {peak} at the peak, of {budget}\n", markup=False)
    chosen = asdict(planned.plan)
    rows = [(field, _value(chosen[field]), reason) for field, reason in planned.reasons.items()]
    print_table(("choice", "value", "reason"), rows, empty="")
    out.print()
    phases = [asdict(terms) for terms in planned.phases.values()]
    parts = [part for part in phases[0] if any(phase[part] for phase in phases)]
    terms = [[part, *(size(phase[part]) if phase[part] else "" for phase in phases)] for part in parts]
    terms.append(["together", *(size(each.total) for each in planned.phases.values())])
    print_table(("memory for", *planned.phases), terms, empty="")


def _value(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
