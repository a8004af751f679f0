"""Where clients keep their settings on this platform. Knows names of folders, not what is in them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def folders() -> dict[str, str]:
    """By the names that a `Part.path` uses. `xdg`: of programs that keep to ~/.config on macOS, too."""
    if sys.platform == "win32":
        config = xdg = os.environ.get("APPDATA") or "~/AppData/Roaming"
    else:
        xdg = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        config = "~/Library/Application Support" if sys.platform == "darwin" else xdg
    return {
        "config": config,
        "xdg": xdg,
        "llm": os.environ.get("LLM_USER_PATH") or f"{config}/io.datasette.llm",
        "codex": os.environ.get("CODEX_HOME") or "~/.codex",
    }


def shown(path: str) -> str:
    """A path as people read it: with '~' for their own folder."""
    return path.format(**folders(), folder="FOLDER")


def found(path: str, folder: Path | None) -> Path:
    """The file itself. `folder`: what the user named, for paths that begin there."""
    return Path(path.format(**folders(), folder=folder or "FOLDER")).expanduser()
