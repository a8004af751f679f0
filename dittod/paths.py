"""Where dittod keeps things on this platform. Knows names of files, not what is in them."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from dittod.errors import SettingsError

MARKER = ".dittod"  # lies in a watched folder: while it is missing, the folder counts as unmounted, not as emptied


@dataclass(frozen=True, slots=True)
class Home:
    """All state of one dittod: settings, store, adapters, runs, logs, token. Private to the user (0700)."""

    root: Path

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.root / "dittod.toml"

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self.root / "dittod.sqlite"

    @property
    def adapters(self) -> Path:
        """One folder per adapter, named by the hash of its content."""
        return self.root / "adapters"

    @property
    def runs(self) -> Path:
        """One folder per unfinished run: its checkpoints."""
        return self.root / "runs"

    @property
    def quantised(self) -> Path:
        """Base models in four bits, so that a start does not compute them anew. Holds nothing of the user's."""
        return self.root / "quantised"

    @property
    def logs(self) -> Path:
        """Log files, without content."""
        return self.root / "logs"

    @property
    def token_file(self) -> Path:
        """The endpoint's bearer token."""
        return self.root / "token"

    @property
    def lock(self) -> Path:
        """Held by the one daemon of this home."""
        return self.root / "lock"

    @property
    def watched(self) -> Path:
        """The watched folder, where the settings name none: inside DITTOD_HOME, else ~/dittod."""
        return self.root / "watched" if os.environ.get("DITTOD_HOME") else Path.home() / "dittod"

    def create(self) -> None:
        """Make the folders, readable by the user alone. Refuses a folder that is in use for something else."""
        for folder in (self.root, self.adapters, self.runs, self.logs):
            try:
                self._refuse_what_is_not_ours()
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            except OSError as error:
                raise SettingsError(
                    f"{folder} cannot be made: {error.strerror}",
                    "set DITTOD_HOME to a folder you can write to",
                ) from error

    def _refuse_what_is_not_ours(self) -> None:
        """Making somebody's folder private would lock others out of it."""
        if not self.root.is_dir() or self.adapters.is_dir():
            return
        if strangers := {path.name for path in self.root.iterdir()} - {
            "watched",
            self.settings.name,
            self.token_file.name,
        }:
            raise SettingsError(
                f"{self.root} holds other things ({min(strangers)}, say)", "set DITTOD_HOME to a folder of its own"
            )

    def token(self) -> str:
        """The bearer token; made at the first call, in a file that only the user can read."""
        if not self.token_file.exists():
            self._make_token()
        token = self.token_file.read_text().strip()
        if not token:
            raise SettingsError(f"{self.token_file} is empty", "remove it: a new token is made at the next start")
        return token

    def _make_token(self) -> None:
        """Written beside and linked into place, so that of two first starts one wins and none reads half a token."""
        fresh = self.token_file.with_name(f"token.{secrets.token_hex(4)}")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as out:
            out.write(f"dittod-{secrets.token_urlsafe(32)}\n")
        with contextlib.suppress(FileExistsError):
            _link(fresh, self.token_file)
        fresh.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name. On a file system without links it gets that name instead. Raises FileExistsError."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:
        source.replace(target)


def home() -> Home:
    """DITTOD_HOME if it is set, else the platform's own folder for application data."""
    given = os.environ.get("DITTOD_HOME")
    return Home(Path(given).expanduser().absolute() if given else Path(platformdirs.user_data_dir("dittod")))
