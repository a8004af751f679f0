"""Encryption at rest: AES-256-GCM for the texts on disk, under one key in the system's keyring.

A sealed value is bound to its place (table, column and row; run, checkpoint and file): put elsewhere, it does not open.
Knows keyrings, ciphers and which columns hold words of the user's; knows neither SQL nor when to seal. Does not hide
how many texts there are, how long they are, and what identifies them: see docs/security.md.
"""

from __future__ import annotations

import binascii
import hmac
import logging
import os
import secrets
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from dittod.errors import DittodError

log = logging.getLogger("dittod")

SERVICE = "dittod"  # in the keyring; the entry's user name is the key's
SEALED = {  # by table: what identifies a row, and what holds words or correspondents of the user's
    "demonstrations": (("profile", "key"), ("prompt", "completion", "template")),
    "files": (("path",), ("identities", "senders", "tails")),
    "adapters": (("id",), ("verdict",)),
    "interactions": (("id",), ("messages", "answer")),
    "feedback": (("id",), ("prompt", "given")),
}
_KEY_BYTES = 32
_NONCE_BYTES = 12
_CHECK = "dittod"  # sealed in the marker, to know the right key by
_PATIENCE_SECONDS = 2.0  # with a keyring that asks its user, before that is said
_START_OVER = "start over: remove dittod.sqlite* in the home; the watched folder is read again, what was learnt is lost"


class NoKey(DittodError):
    """The key of a sealed store cannot be had, now or ever."""


class Cipher:
    """One key. Every value has a random nonce of its own, which stands before it."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # not for stores that are not sealed

        self._aead = AESGCM(key)

    def close(self, content: bytes, place: str) -> bytes:
        """Sealed, for this place alone."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, content, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """What was sealed. Raises DittodError where key, place or a bit is another."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):  # ValueError: too short
            raise DittodError("sealed data is damaged, or not sealed with this key", _START_OVER) from None


class Seal:
    """How the rows of one store are closed and opened. Without a key they are left as they are."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self._cipher = Cipher(key) if key else None

    def closed(self, table: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """A row as it is written. It has what identifies it; of the sealed columns, those that are there count."""
        row = dict(values)
        if self._cipher is not None:
            for column, place in _places(table, row):
                row[column] = b64encode(self._cipher.close(row[column].encode(), place)).decode("ascii")
        return row

    def opened(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row as it was before. Raises DittodError for one that is damaged or was moved."""
        values = dict(row)
        if self._cipher is not None:
            for column, place in _places(table, values):
                values[column] = self._cipher.open(_decoded(values[column]), place).decode()
        return values

    def key_of(self, run_id: str) -> str:
        """What the engine seals this run's checkpoints with, as text; '' without a key. It opens nothing else."""
        return hmac.digest(self._key, f"checkpoints of {run_id}".encode(), "sha256").hex() if self._key else ""


def _places(table: str, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    identity, columns = SEALED[table]
    owner = "\0".join(str(row[each]) for each in identity)
    return [(column, f"{table}\0{column}\0{owner}") for column in columns if column in row]


def _decoded(text: str) -> bytes:
    """Plain text where a sealed one should be is not opened either."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def make_marker() -> dict[str, str]:
    """A new key in the keyring. Returns what the store notes of it: its name, and a value to know it by. Raises
    DittodError where there is no keyring that keeps secrets."""
    name, key = secrets.token_hex(8), secrets.token_bytes(_KEY_BYTES)
    with _in_words():
        backend = _backend()
        _asked(backend.set_password, SERVICE, name, key.hex())
        if _asked(backend.get_password, SERVICE, name) != key.hex():
            raise _NoKeyring(f"the keyring ({backend.name}) does not keep what it is given")
    return {"key": name, "check": b64encode(Cipher(key).close(_CHECK.encode(), name)).decode("ascii")}


def need_keyring() -> None:
    """Raises DittodError where there is no keyring to put a new key into. It is not written to."""
    with _in_words():
        _backend()


def seal_of(marker: Mapping[str, str]) -> Seal:
    """The seal of a store with this marker ({}: it is not sealed), its key taken from the keyring. Raises NoKey where
    the keyring cannot be reached, and where the key is not there or is another one."""
    if not marker:
        return Seal()
    try:
        found = _asked(_backend().get_password, SERVICE, marker["key"])
    except _NoKeyring as error:  # the key may well be in it: nobody is told to start over
        raise NoKey(str(error), error.remedy) from None
    if not found:
        raise NoKey(
            f"the key of the sealed texts ({SERVICE}, {marker['key']}) is not in the keyring: without it they are lost",
            f"put the key back, or {_START_OVER}",
        )
    try:
        key = bytes.fromhex(found)
        Cipher(key).open(_decoded(marker["check"]), marker["key"])
    except (DittodError, ValueError):
        raise NoKey(
            f"the key in the keyring ({SERVICE}, {marker['key']}) is not the one of the sealed texts",
            f"put the right key back, or {_START_OVER}",
        ) from None
    return Seal(key)


def forget_key(marker: Mapping[str, str]) -> None:
    """Take a key that nothing is sealed with any more out of the keyring. One that cannot be taken out stays."""
    try:
        _asked(_backend().delete_password, SERVICE, marker["key"])
    except _NoKeyring as error:
        log.warning("the key %s stays in the keyring: %s", marker["key"], error)


class _NoKeyring(Exception):
    """None that can be used, and what to do about it."""

    def __init__(self, title: str, remedy: str = "log in to a session with a keyring and unlock it") -> None:
        super().__init__(title)
        self.remedy = remedy


@contextmanager
def _in_words() -> Iterator[None]:
    """For a user whose store is not sealed yet."""
    try:
        yield
    except _NoKeyring as error:
        raise DittodError(str(error), f"{error.remedy}, or set encrypt = false") from None


def _backend() -> Any:
    """The system's keyring. Raises _NoKeyring where there is none, or one that would keep the key in the open."""
    try:
        import_module("cryptography")
        keyring = import_module("keyring")
    except ImportError as error:
        raise _NoKeyring(f"encryption at rest needs the package {error.name}", "install dittod[encryption]") from None
    backend = _asked(keyring.get_keyring)
    first = next(iter(getattr(backend, "backends", ())), backend)  # of a chain, the one that is written to
    if _asked(lambda: first.priority) < 1:  # how keyring itself marks those that keep nothing, or keep it readable
        raise _NoKeyring(f"there is no keyring that keeps a key safely (found: {first.name})")
    return backend


def _asked(question: Any, *arguments: str) -> Any:
    """The keyring's answer. It may ask its user first, for as long as they like: in a thread of its own, so that
    signals are heard meanwhile. Backends are plug-ins, and raise what they like; their messages are left out."""
    answers: list[tuple[Any, BaseException | None]] = []
    asking = threading.Thread(target=lambda: answers.append(_tried(question, *arguments)), name="keyring", daemon=True)
    asking.start()
    asking.join(_PATIENCE_SECONDS)
    if asking.is_alive():
        log.warning("waiting for the keyring: it may be asking you to unlock it")
    while asking.is_alive():
        asking.join(_PATIENCE_SECONDS)
    answer, fault = answers[0]
    if fault is not None:
        raise _NoKeyring(f"the system's keyring cannot be used ({type(fault).__name__})")
    return answer


def _tried(question: Any, *arguments: str) -> tuple[Any, BaseException | None]:
    try:
        return question(*arguments), None
    except BaseException as error:  # whatever it is, somebody waits for it
        return None, error
