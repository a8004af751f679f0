"""What a fresh interpreter has loaded after the parent's imports: the parent is light, the core knows no HTTP."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _loaded_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(' '.join(m for m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in run.stdout.split()}


def test_the_parent_never_loads_torch() -> None:
    loaded = _loaded_after(
        "import dittod.cli.home, dittod.cli.update, dittod.cli.demo, dittod.cli.plan; "
        "import dittod.backend, dittod_service.server"
    )
    assert not loaded & {"torch", "transformers", "peft", "tokenizers", "bitsandbytes"}


def test_the_core_never_loads_the_service() -> None:
    loaded = _loaded_after("import dittod.daemon, dittod.backend, dittod.engine.client")
    assert not loaded & {"dittod_service", "starlette", "uvicorn"}


def test_help_loads_neither_the_daemon_nor_the_service() -> None:
    assert not _loaded_after("import dittod.cli.app") & {"apscheduler", "watchdog", "dittod_service", "sqlite3"}


def test_every_package_that_is_imported_is_required_by_name() -> None:
    """Not only by way of another that happens to need it, and may stop to."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["encryption"]]
    required = {_normal(re.split(r"[^\w.-]", each)[0]) for each in asked}
    owners = packages_distributions()
    missing = {name for name in _imported() if not {_normal(each) for each in owners.get(name, [name])} & required}
    assert missing == set()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported() -> set[str]:
    """The first names of what is imported from elsewhere, anywhere in the sources."""
    found: set[str] = set()
    for path in [*ROOT.glob("dittod/**/*.py"), *ROOT.glob("service/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"dittod", "dittod_service"}
