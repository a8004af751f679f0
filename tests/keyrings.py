"""Keyrings for tests: in memory, and in a file that several processes share (`PYTHON_KEYRING_BACKEND`)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

FILE = "TEST_KEYRING_FILE"  # the variable that says where InFile keeps its secrets


class InMemory(KeyringBackend):
    """Keeps what it is given."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[f"{service}/{username}"] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[f"{service}/{username}"]


class Locked(InMemory):
    """As a keyring answers whose owner dismisses the question for the password."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("Failed to unlock the collection!")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked("Failed to unlock the collection!")


class Asking(InMemory):
    """As a keyring waits that has put a question on the screen, and nobody is there."""

    def get_password(self, service: str, username: str) -> str | None:
        while True:
            time.sleep(0.2)

    def set_password(self, service: str, username: str, password: str) -> None:
        self.get_password(service, username)


class InTheOpen(InMemory):
    """As keyrings.alt has one: whatever it is given can be read by everybody."""

    priority = 0.5  # type: ignore[assignment]


class Forgetful(InMemory):
    """Takes everything and keeps nothing, whatever it says of itself."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class InFile(InMemory):
    """A stand-in for the system's, for real processes."""

    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._write({**self._read(), f"{service}/{username}": password})

    def delete_password(self, service: str, username: str) -> None:
        self._write({name: each for name, each in self._read().items() if name != f"{service}/{username}"})

    def _read(self) -> dict[str, str]:
        path = Path(os.environ[FILE])
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _write(self, kept: dict[str, str]) -> None:
        Path(os.environ[FILE]).write_text(json.dumps(kept))
