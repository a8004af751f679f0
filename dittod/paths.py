"""Where dittod keeps things on this platform. Knows names of files, not what is in them."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import platformdirs

from dittod.errors import DittodError, SettingsError, disk_is_full

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
    def backups(self) -> Path:
        """Files of clients as they were before `dittod connect --write`: with the user's keys in them."""
        return self.root / "backups"

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
                if disk_is_full(error):
                    raise not_written(str(folder), error) from error
                raise SettingsError(
                    f"{folder} cannot be used: {error.strerror}",
                    "give it back to be read and written by you, or set DITTOD_HOME to another folder",
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
        try:
            write_private(fresh, f"dittod-{secrets.token_urlsafe(32)}\n")
            with contextlib.suppress(FileExistsError):
                _link(fresh, self.token_file)
        finally:
            fresh.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """A file that only its owner may read, in place of what was there: whole and on the disk when this returns, or not
    at all. Raises DittodError where the disk is full or takes nothing."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8", newline="") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise not_written(path.name, error) from error


def not_written(what: str, error: OSError) -> DittodError:
    """Why something of ours could not be written, and what to do: the disk is full, read-only or gone."""
    if disk_is_full(error):
        return DittodError(f"the disk is full: {what} cannot be written", "make room on it, then try again")
    return DittodError(f"{what} cannot be written: {error.strerror}", "give dittod a disk that it can write to")


def _sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk, where the system can: Windows cannot, nor can some network drives."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def shipped(name: str) -> Path:
    """A file of `packaging/` that comes with the package, such as 'linux/dittod.service': in a checkout where it lies,
    else where it was installed to. Raises SettingsError."""
    around = Path(__file__).parent.parent
    files = distribution("dittod").files or ()
    installed = (Path(str(each.locate())) for each in files if each.as_posix().endswith(f"share/dittod/{name}"))
    beside = around / "share" / "dittod" / name  # there by `pip install --target`, which lists it elsewhere
    for path in (around / "packaging" / name, *installed, beside):
        if path.is_file():
            return path.resolve()
    raise SettingsError(f"the file {name} is missing from this installation", "install dittod again")


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


def is_mounted(root: Path) -> bool:
    """Whether a watched folder and what is in it are there. What may not be entered is not, nor is a network's folder
    whose server is gone."""
    try:
        return (root / MARKER).is_file()
    except OSError:
        return False
