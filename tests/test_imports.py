"""What a fresh interpreter has loaded after the parent's imports: the parent is light, the core knows no HTTP."""

from __future__ import annotations

import subprocess
import sys


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
