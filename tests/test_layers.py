"""Who may import whom: reads every import of the packages and compares it with the table below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
BOTTOM = {"dittod", "dittod.types", "dittod.errors"}
MODEL = BOTTOM | {"dittod.starter", "dittod.model", "dittod.engine.protocol"}
SIZES = {"dittod.model.shape", "dittod.learner.memory", "dittod.learner.plan", "dittod.learner.preset"}
PARENT = BOTTOM | {"dittod.paths", "dittod.config", "dittod.rows", "dittod.store", "dittod.engine.protocol"}

# Longest prefix wins. A module may import what its line names, and its own package.
LAYERS: dict[str, set[str]] = {
    "dittod": set(),
    "dittod.errors": set(),
    "dittod.types": set(),
    "dittod.starter": set(),
    "dittod.paths": BOTTOM,
    "dittod.config": BOTTOM | {"dittod.paths"},
    "dittod.migrations": set(),
    "dittod.rows": BOTTOM,
    "dittod.store": BOTTOM | {"dittod.paths", "dittod.migrations", "dittod.rows", "dittod.sealing"},
    "dittod.engine": set(),
    "dittod.engine.protocol": BOTTOM,
    "dittod.serving": BOTTOM | {"dittod.engine.protocol"},
    "dittod.adapters": PARENT,
    "dittod.in_use": PARENT | {"dittod.adapters", "dittod.signals", "dittod.judge.guards", "dittod.judge.particulars"},
    "dittod.interactions": PARENT | {"dittod.ingest.secrets"},
    "dittod.feedback": PARENT | {"dittod.ingest", "dittod.serving"},
    "dittod.retrieval": BOTTOM | {"dittod.ingest.words"},
    "dittod.schedule": set(),
    "dittod.machine": BOTTOM,
    "dittod.machine.probes": {"dittod.machine", "dittod.schedule"},
    "dittod.background": BOTTOM | {"dittod.paths", "dittod.config"},
    "dittod.logs": BOTTOM | {"dittod.paths"},
    "dittod.notify": BOTTOM,
    "dittod.clients": BOTTOM,
    "dittod.catalogue": BOTTOM | {"dittod.model.shape", "dittod.starter"},
    "dittod.download": BOTTOM | {"dittod.machine.lock"},
    "dittod.sealing": BOTTOM,
    "dittod.private": BOTTOM | {"dittod.paths", "dittod.store"},
    "dittod.sweeping": PARENT | {"dittod.adapters", "dittod.runs"},
    "dittod.forgetting": PARENT | {"dittod.runs", "dittod.engine.client", "dittod.machine.lock"},
    "dittod.pruning": PARENT | {"dittod.adapters"},
    "dittod.doctor": PARENT | {"dittod.migrations", "dittod.schedule", "dittod.sealing", "dittod.ingest"},
    "dittod.ingest": BOTTOM,
    "dittod.ingest.folder": PARENT | {"dittod.ingest"},
    "dittod.ingest.vanishing": PARENT | {"dittod.ingest"},
    "dittod.ingest.growth": BOTTOM | {"dittod.ingest", "dittod.rows"},
    "dittod.ingest.tally": BOTTOM | {"dittod.ingest", "dittod.rows"},
    "dittod.engine.deaths": set(),
    "dittod.engine.process": {"dittod.logs"},
    "dittod.engine.pulse": set(),
    "dittod.engine.client": BOTTOM
    | {
        "dittod.engine.protocol",
        "dittod.engine.deaths",
        "dittod.engine.process",
        "dittod.engine.pulse",
        "dittod.logs",
    },
    "dittod.hold": {"dittod.schedule"},
    "dittod.signals": PARENT | {"dittod.schedule"},
    "dittod.material": PARENT | {"dittod.adapters", "dittod.ingest.select"},
    "dittod.stages": BOTTOM | {"dittod.engine.protocol", "dittod.learner.preset"},
    "dittod.runs": PARENT
    | {
        "dittod.adapters",
        "dittod.material",
        "dittod.ingest.select",
        "dittod.engine.client",
        "dittod.learner.preset",
        "dittod.stages",
    },
    "dittod.prompting": PARENT | {"dittod.adapters", "dittod.runs", "dittod.engine.client"},
    "dittod.considering": PARENT
    | {
        "dittod.runs",
        "dittod.prompting",
        "dittod.signals",
        "dittod.hold",
        "dittod.schedule",
        "dittod.engine.client",
    },
    "dittod.daemon": PARENT
    | {
        "dittod.sweeping",
        "dittod.considering",
        "dittod.feedback",
        "dittod.interactions",
        "dittod.private",
        "dittod.forgetting",
        "dittod.pruning",
        "dittod.machine",
        "dittod.schedule",
        "dittod.ingest",
        "dittod.engine.client",
    },
    "dittod.views": PARENT,
    "dittod.views.selections": PARENT | {"dittod.views.remembered", "dittod.runs"},
    "dittod.views.voices": PARENT | {"dittod.views", "dittod.adapters", "dittod.ingest.secrets", "dittod.serving"},
    "dittod.views.status": PARENT
    | {
        "dittod.views",
        "dittod.adapters",
        "dittod.runs",
        "dittod.pruning",
        "dittod.ingest.brake",
        "dittod.machine.lock",
        "dittod.machine.probes",
        "dittod.schedule",
        "dittod.sealing",
        "dittod.serving",
        "dittod.signals",
    },
    "dittod.views.figures": set(),
    "dittod.views.words": BOTTOM | {"dittod.judge.guards"},
    "dittod.views.written": PARENT | {"dittod.views", "dittod.sealing"},
    "dittod.views.versions": PARENT | {"dittod.views", "dittod.adapters", "dittod.signals"},
    "dittod.views.differences": PARENT | {"dittod.views", "dittod.adapters"},
    "dittod.views.forgetting": PARENT
    | {"dittod.forgetting", "dittod.ingest.brake", "dittod.ingest.folder", "dittod.ingest.watch"},
    "dittod.views.judgements": PARENT | {"dittod.views", "dittod.adapters"},
    "dittod.views.learning": PARENT
    | {"dittod.views", "dittod.learner.preset", "dittod.runs", "dittod.sealing", "dittod.signals", "dittod.stages"},
    "dittod.dashboard": PARENT
    | {
        "dittod.views",
        "dittod.clients",
        "dittod.daemon",
        "dittod.runs",
        "dittod.serving",
        "dittod.signals",
    },
    "dittod.backend": PARENT
    | {
        "dittod.adapters",
        "dittod.feedback",
        "dittod.in_use",
        "dittod.interactions",
        "dittod.retrieval",
        "dittod.serving",
        "dittod.engine.client",
        "dittod.engine.deaths",
    },
    "dittod.model": MODEL,
    "dittod.model.shape": BOTTOM | {"dittod.starter"},
    "dittod.learner": MODEL | {"dittod.sealing"},
    "dittod.learner.preset": BOTTOM,
    "dittod.learner.memory": BOTTOM | SIZES,
    "dittod.learner.plan": BOTTOM | SIZES,
    "dittod.judge": MODEL | {"dittod.learner", "dittod.retrieval"},
    "dittod.judge.guards": {
        "dittod.ingest.secrets",
        "dittod.ingest.select",
        "dittod.judge.particulars",
        "dittod.judge.refusals",
    },
    "dittod.judge.particulars": set(),
    "dittod.judge.refusals": set(),
    "dittod.engine.prompts": MODEL,
    "dittod.engine.parts": MODEL,
    "dittod.engine.manner": MODEL,
    "dittod.engine.answer": MODEL | {"dittod.engine.manner", "dittod.engine.parts"},
    "dittod.engine.answers": MODEL | {"dittod.engine.answer", "dittod.engine.manner", "dittod.engine.prompts"},
    "dittod.engine.embeddings": MODEL | {"dittod.engine.prompts"},
    "dittod.engine.tokens": MODEL | {"dittod.engine.prompts"},
    "dittod.engine.consideration": set(),
    "dittod.engine.update": MODEL | {"dittod.learner", "dittod.judge"},
    "dittod.engine.improve": MODEL | {"dittod.learner", "dittod.judge", "dittod.ingest.secrets"},
    "dittod.engine.room": MODEL | {"dittod.learner", "dittod.engine.improve"},
    "dittod.engine.worker": MODEL
    | {
        "dittod.learner",
        "dittod.engine.answers",
        "dittod.engine.consideration",
        "dittod.engine.embeddings",
        "dittod.engine.improve",
        "dittod.engine.room",
        "dittod.engine.tokens",
        "dittod.engine.update",
    },
    "dittod.engine.__main__": {"dittod.engine.worker", "dittod.logs"},
    "dittod.cli": PARENT
    | {
        "dittod.feedback",
        "dittod.serving",
        "dittod.adapters",
        "dittod.runs",
        "dittod.daemon",
        "dittod.dashboard",
        "dittod.backend",
        "dittod.engine.process",
        "dittod.machine",
        "dittod.schedule",
        "dittod.signals",
        "dittod.stages",
        "dittod.ingest",
        "dittod.background",
        "dittod.catalogue",
        "dittod.download",
        "dittod.doctor",
        "dittod.logs",
        "dittod.notify",
        "dittod.clients",
        "dittod.private",
        "dittod.sealing",
        "dittod.views",
    }
    | SIZES
    | {"dittod_service"},
    "dittod_service": BOTTOM | {"dittod.serving", "dittod.engine.protocol"},
}


def test_every_import_is_allowed_by_the_table() -> None:
    wrong = [
        f"{module} must not import {imported}"
        for module, path in _modules()
        for imported in _imports(module, path)
        if not _allowed(module, imported)
    ]
    assert wrong == []


def test_every_module_has_a_line_in_the_table() -> None:
    """A new module of the core gets a line of its own; inside a package that has one, the package's counts."""
    assert [module for module, _ in _modules() if _line(module) == "dittod" and module != "dittod"] == []


def test_the_packaging_folder_is_no_package() -> None:
    """With an __init__.py it would shadow the `packaging` library that pip, pytest and transformers import."""
    assert list((ROOT / "packaging").rglob("__init__.py")) == []


def _modules() -> Iterator[tuple[str, Path]]:
    for root in (ROOT, ROOT / "service"):
        for package in ("dittod", "dittod_service"):
            for path in sorted((root / package).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(module: str, path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            assert node.level == 0, f"{module}: imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if _is_module(inner) else str(node.module)


def _is_ours(name: str) -> bool:
    return name.split(".")[0] in ("dittod", "dittod_service")


def _is_module(name: str) -> bool:
    relative = Path(*name.split("."))
    return any(
        (root / relative).is_dir() or (root / relative).with_suffix(".py").is_file()
        for root in (ROOT, ROOT / "service")
    )


def _line(module: str) -> str:
    """The entry of LAYERS that counts for a module: the longest that it begins with."""
    return max((name for name in LAYERS if module == name or module.startswith(name + ".")), key=len)


def _allowed(module: str, imported: str) -> bool:
    line = _line(module)
    own_package = line if line not in BOTTOM else module
    allowed = LAYERS[line] | {own_package}
    return any(imported == name or (name != "dittod" and imported.startswith(name + ".")) for name in allowed)
