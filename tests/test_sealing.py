"""Encryption at rest: what is sealed opens with its key at its place alone, and no keyring means no silence."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keyring
import pytest
from deleting import forget_file
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyrings import FILE, Asking, Forgetful, InMemory, InTheOpen, Locked

from dittod import adapters, sealing
from dittod.errors import DittodError
from dittod.rows import FileRow
from dittod.sealing import Cipher, Seal
from dittod.store import Store
from dittod.types import Adapter, Demonstration, Verdict, Written, demonstration_id

CANARIES = ("canary-prompt", "canary-words", "canary@of.example", "canary-draft")
VERDICT = Verdict(
    True, ("better",), {"candidate_nats_per_token": 2.0}, (Written("ditto", "", "a canary-draft of the model's"),)
)


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """The system's keyring, for one test."""
    ours = InMemory()
    monkeypatch.setattr("keyring.core._keyring_backend", ours)
    return ours


def _use(backend: KeyringBackend) -> None:
    keyring.set_keyring(backend)


def _pair(number: int = 0) -> Demonstration:
    prompt, words = f"Write the canary-prompt {number}", f"The canary-words of mine, in number {number}."
    return Demonstration(demonstration_id(prompt, words), prompt, words, "source", float(number))


def _file(path: str = "a.eml", read_at: float = 1.0) -> FileRow:
    return FileRow(path, "default", 1, 2, "read", "", ("canary@of.example",), {"canary@of.example": 2}, read_at)


def _adapter(adapter_id: str = "a" * 64) -> Adapter:
    names = ("path", "run_id", "base_model", "base_revision", "template_sha256")
    values = {name: name for name in names} | {"id": adapter_id, "profile": "default", "number": 1}
    values |= {"state": "candidate", "demonstration_ids": (), "seed": 1, "created_at": 1.0, "promoted_at": None}
    return Adapter(**values, verdict=VERDICT)  # type: ignore[arg-type]


def _filled(path: Path, pairs: int = 3) -> Store:
    store = Store(path)
    store.record_file(_file(), [_pair(number) for number in range(pairs)])
    store.add_adapter(_adapter())
    return store


def _left_in(folder: Path) -> set[str]:
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {each for each in CANARIES if each.encode() in content}


# --- values ---


def test_what_was_sealed_opens_at_its_place_alone() -> None:
    cipher = Cipher(b"k" * 32)
    sealed = cipher.close(b"words", "here")
    assert cipher.open(sealed, "here") == b"words"
    for other, content, place in (
        (cipher, sealed, "there"),
        (Cipher(b"x" * 32), sealed, "here"),
        (cipher, sealed[:-1] + bytes([sealed[-1] ^ 1]), "here"),
        (cipher, sealed[:11], "here"),
        (cipher, b"", "here"),
    ):
        with pytest.raises(DittodError, match="damaged") as error:
            other.open(content, place)
        assert "words" not in f"{error.value.title}{error.value.hint}"


def test_the_same_text_is_sealed_differently_each_time() -> None:
    cipher = Cipher(b"k" * 32)
    assert len({cipher.close(b"words", "here") for _ in range(50)}) == 50


def test_a_row_is_sealed_in_the_columns_that_hold_words_and_bound_to_its_key() -> None:
    seal = Seal(b"k" * 32)
    row = {"profile": "default", "key": "1", "prompt": "pé", "completion": "", "template": "p", "added_at": 1.0}
    closed = seal.closed("demonstrations", row)
    assert {name for name in row if row[name] != closed[name]} == {"prompt", "completion", "template"}
    assert seal.opened("demonstrations", closed) == row
    for moved in (
        {**closed, "key": "2"},
        {**closed, "profile": "blog"},
        {**closed, "prompt": closed["template"]},
        {**closed, "prompt": "in the open"},
        {**closed, "prompt": ""},
    ):
        with pytest.raises(DittodError, match="damaged"):
            seal.opened("demonstrations", moved)


def test_without_a_key_rows_stay_as_they_are() -> None:
    row = {"path": "a", "identities": "[]", "senders": "{}", "tails": "{}"}
    assert Seal().closed("files", row) == Seal().opened("files", row) == row


def test_the_key_of_a_runs_checkpoints_is_another_for_each_run_and_store_and_not_the_stores() -> None:
    seal, other = Seal(b"k" * 32), Seal(b"x" * 32)
    keys = {seal.key_of("r1"), seal.key_of("r2"), other.key_of("r1"), (b"k" * 32).hex()}
    assert len(keys) == 4 and seal.key_of("r1") == seal.key_of("r1")
    assert Seal().key_of("r1") == ""


# --- a store ---


def test_sealing_a_store_leaves_no_text_in_its_folder_and_everything_in_its_place(
    tmp_path: Path, ring: InMemory
) -> None:
    store = _filled(tmp_path / "s.sqlite")
    before = (store.files(), store.demonstrations("default"), store.adapters())
    assert _left_in(tmp_path) == set(CANARIES)
    store.seal(True)
    assert store.is_sealed and _left_in(tmp_path) == set()
    assert (store.files(), store.demonstrations("default"), store.adapters()) == before
    store.close()
    again = Store(tmp_path / "s.sqlite")
    assert (again.files(), again.demonstrations("default"), again.adapters()) == before
    again.seal(True)
    assert len(ring.kept) == 1
    again.close()


def test_unsealing_gives_the_texts_and_the_keyring_back(tmp_path: Path, ring: InMemory) -> None:
    store = _filled(tmp_path / "s.sqlite")
    before = (store.files(), store.demonstrations("default"), store.adapters())
    store.seal(True)
    store.seal(False)
    assert (store.is_sealed, ring.kept) == (False, {})
    assert _left_in(tmp_path) == set(CANARIES)
    assert (store.files(), store.demonstrations("default"), store.adapters()) == before
    store.close()


def test_everything_that_a_store_does_with_texts_works_sealed(tmp_path: Path, ring: InMemory) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.seal(True)
    store.add_demonstrations("a.eml", "default", [_pair(0)], 1.0)
    store.add_demonstrations("a.eml", "default", [_pair(1)], 1.0)
    assert store.record_file(_file(), [_pair(2)]) == 1
    assert store.record_file(_file("b.eml"), [_pair(2)]) == 0
    new = store.set_prompt("default", _pair(0).id, "another canary-prompt", "user")
    assert store.demonstration(new[:12]).demonstration.prompt == "another canary-prompt"
    assert store.demonstration(_pair(0).id[:12]).template == _pair(0).prompt
    assert store.demonstrations_of("default", [_pair(1).id]) == {_pair(1).id: _pair(1)}
    store.rewrite("default", _pair(1).id, "Fewer canary-words.")
    assert {each.completion for each in store.demonstrations("default")} == {
        _pair(0).completion,
        "Fewer canary-words.",
        _pair(2).completion,
    }
    rows = {row.template: row.demonstration.completion for row in store.demonstration_rows("default")}
    assert rows[_pair(1).prompt] == "Fewer canary-words." and len(rows) == 3
    assert store.add_adapter(_adapter()).verdict == VERDICT == store.adapter("a" * 64).verdict
    store.promote("default", "a" * 64, 1.0)
    assert store.adapters("default")[0].state == "promoted"
    store.note_file(replace(_file(), senders={}))
    assert store.files()["a.eml"].senders == {}
    assert _left_in(tmp_path) == set()
    assert (forget_file(store, "a.eml"), forget_file(store, "b.eml")) == (2, 1)
    store.close()


def test_a_text_that_is_moved_to_another_row_does_not_open(tmp_path: Path, ring: InMemory) -> None:
    store = _filled(tmp_path / "s.sqlite")
    store.seal(True)
    store._connection.execute("UPDATE demonstrations SET completion = (SELECT completion FROM demonstrations LIMIT 1)")
    with pytest.raises(DittodError, match="damaged"):
        store.demonstrations("default")
    store.close()


def test_a_process_that_opened_the_store_before_it_was_sealed_goes_on_in_step(tmp_path: Path, ring: InMemory) -> None:
    other = _filled(tmp_path / "s.sqlite")
    store = Store(tmp_path / "s.sqlite")
    store.seal(True)
    assert other.demonstrations("default") == [_pair(0), _pair(1), _pair(2)]
    other.record_file(_file("b.eml"), [_pair(7)])
    assert _left_in(tmp_path) == set()
    store.seal(False)
    assert _pair(7) in other.demonstrations("default")
    other.close()
    store.close()


def test_a_full_disk_leaves_the_store_in_the_open_and_no_key_behind(tmp_path: Path, ring: InMemory) -> None:
    store = _filled(tmp_path / "s.sqlite", pairs=500)
    (pages,) = store._rows("PRAGMA page_count")
    store._connection.execute(f"PRAGMA max_page_count = {pages[0]}")
    with pytest.raises(DittodError, match="full"):
        store.seal(True)
    assert (store.is_sealed, ring.kept, len(store.demonstrations("default"))) == (False, {}, 500)
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.seal(True)
    assert len(ring.kept) == 1 and _left_in(tmp_path) == set()
    store.close()


class _Interrupted:
    """A connection beside which Ctrl-C is pressed while COMMIT waits for the disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, query: str, *values: object) -> sqlite3.Cursor:
        done = self._connection.execute(query, *values)
        if query == "COMMIT":
            raise KeyboardInterrupt
        return done


def test_ctrl_c_at_the_commit_of_the_conversion_does_not_lose_the_key(tmp_path: Path, ring: InMemory) -> None:
    store = _filled(tmp_path / "s.sqlite")
    connection = store._connection
    store._connection = _Interrupted(connection)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        store.seal(True)
    store._connection = connection
    assert store.is_sealed and len(ring.kept) == 1
    store.close()
    again = Store(tmp_path / "s.sqlite")
    again.seal(True)
    assert again.demonstrations("default")[0] == _pair(0) and _left_in(tmp_path) == set()
    again.close()


def test_texts_that_a_reader_keeps_in_the_file_are_due_until_they_are_gone(
    tmp_path: Path, ring: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _filled(tmp_path / "s.sqlite", pairs=50)
    store._rows("PRAGMA wal_checkpoint(TRUNCATE)")
    reader = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM demonstrations").fetchone()
    cleared: list[int] = []
    store.seal(True, lambda: cleared.append(1))
    assert _left_in(tmp_path) and store.noted("scrub")["due"]
    reader.close()
    store.seal(True, lambda: cleared.append(2))
    assert (_left_in(tmp_path), store.noted("scrub"), cleared) == (set(), {}, [1])
    store.close()


@pytest.mark.parametrize("sealed", [True, False])
def test_rows_that_are_read_while_another_process_converts_the_store_are_opened_as_they_were(
    tmp_path: Path, ring: InMemory, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    other = _filled(tmp_path / "s.sqlite")
    other.seal(sealed)
    store = Store(tmp_path / "s.sqlite")
    store.demonstrations("default")
    rows = store._rows

    def then_convert(query: str, *values: object) -> list[sqlite3.Row]:
        found = rows(query, *values)
        if "FROM demonstrations" in query or "FROM adapters" in query:
            other.seal(not other.is_sealed)
        return found

    monkeypatch.setattr(store, "_rows", then_convert)
    assert store.demonstrations("default")[0] == _pair(0)
    assert store.adapter("a" * 64).verdict == VERDICT
    store.close()
    other.close()


# --- the keyring ---


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring, InTheOpen, Locked, Forgetful])
def test_without_a_keyring_that_keeps_a_key_safely_nothing_is_converted(
    tmp_path: Path, ring: InMemory, backend: type[KeyringBackend]
) -> None:
    store = _filled(tmp_path / "s.sqlite")
    _use(backend())
    with pytest.raises(DittodError, match="keyring") as error:
        store.seal(True)
    assert "encrypt = false" in error.value.hint
    assert not store.is_sealed and store.demonstrations("default")[0] == _pair(0)
    store.close()


def test_a_sealed_store_beside_a_locked_keyring_says_what_helps_and_not_to_turn_it_off(
    tmp_path: Path, ring: InMemory
) -> None:
    store = _filled(tmp_path / "s.sqlite")
    store.seal(True)
    store.close()
    _use(Locked())
    again = Store(tmp_path / "s.sqlite")
    for use in (lambda: again.demonstrations("default"), lambda: again.seal(False)):
        with pytest.raises(DittodError, match=r"cannot be used \(KeyringLocked\)") as error:
            use()
        assert "unlock it" in error.value.hint
        assert not [word for word in ("encrypt = false", "start over", "remove") if word in error.value.hint]
    again.close()


@pytest.mark.parametrize("backend", [fail.Keyring, Locked, InMemory])
def test_without_the_key_versions_are_listed_and_rolled_back_though_not_their_verdicts(
    tmp_path: Path, ring: InMemory, backend: type[KeyringBackend]
) -> None:
    store = _filled(tmp_path / "s.sqlite")
    store.promote("default", "a" * 64, 1.0)
    store.seal(True)
    store.close()
    _use(backend())
    again = Store(tmp_path / "s.sqlite")
    (found,) = again.adapters("default")
    assert (found.state, found.verdict.figures) == ("promoted", {}) and "keyring" in found.verdict.reasons[0]
    assert adapters.roll_back(again, "default") is None
    again.close()
    _use(ring)
    with_key = Store(tmp_path / "s.sqlite")
    assert (with_key.adapters()[0].state, with_key.adapters()[0].verdict) == ("retired", VERDICT)
    with_key.close()


def test_whoever_waits_for_a_keyring_is_told_and_can_be_interrupted(
    ring: InMemory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _use(Asking())
    monkeypatch.setattr(sealing, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(sealing.log, "warning", lambda text: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sealing.make_marker()


def test_without_the_packages_the_error_names_the_extra(ring: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(DittodError, match="package cryptography") as error:
        sealing.make_marker()
    assert "dittod[encryption]" in error.value.hint


@pytest.mark.parametrize(
    ("kept", "said"), [(None, "is not in the keyring"), ("00" * 32, "is not the one"), ("no key", "is not the one")]
)
def test_a_key_that_is_gone_or_another_is_an_error_that_says_how_to_start_over(
    tmp_path: Path, ring: InMemory, kept: str | None, said: str
) -> None:
    store = _filled(tmp_path / "s.sqlite")
    store.seal(True)
    (name,) = ring.kept
    ring.kept = {name: kept} if kept else {}
    store.close()
    again = Store(tmp_path / "s.sqlite")
    for use in (lambda: again.demonstrations("default"), lambda: again.seal(True), lambda: again.seal(False)):
        with pytest.raises(DittodError, match=said) as error:
            use()
        assert "dittod.sqlite" in error.value.hint
    with pytest.raises(DittodError, match=said):
        again.record_file(_file("b.eml"), [_pair(9)])
    assert again.count_demonstrations("default") == 3, "what needs no text needs no key"
    again.close()


# --- kills ---

SEAL = """
import os, sys, sqlite3
from pathlib import Path
from dittod import sealing, store
if "{where}" == "convert":
    closed, calls = sealing.Seal.closed, []
    def die_within(self, table, values):
        calls.append(table)
        if len(calls) == 30:
            os.kill(os.getpid(), 9)
        return closed(self, table, values)
    sealing.Seal.closed = die_within
if "{where}" == "scrub":
    store.Store._scrub = lambda self: os.kill(os.getpid(), 9)
store.Store(Path(sys.argv[1])).seal({wanted})
"""


def _process(code: str, path: Path) -> int:
    environment = {
        **os.environ,
        "PYTHON_KEYRING_BACKEND": "keyrings.InFile",
        FILE: str(path.parent.parent / "ring.json"),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    return subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False).returncode


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("where", ["convert", "scrub"])
def test_a_kill_in_the_conversion_leaves_the_store_one_way_or_the_other(
    tmp_path: Path, ring: InMemory, monkeypatch: pytest.MonkeyPatch, where: str, wanted: bool
) -> None:
    path = tmp_path / "home" / "s.sqlite"
    path.parent.mkdir()
    _filled(path, pairs=40).close()
    if not wanted:
        assert _process(SEAL.format(where="", wanted=True), path) == 0
    assert _process(SEAL.format(where=where, wanted=wanted), path) == -signal.SIGKILL
    with sqlite3.connect(path) as db:
        (marker,) = db.execute("SELECT value FROM daemon WHERE key = 'sealed'").fetchone() or ("{}",)
        (prompt,) = db.execute("SELECT prompt FROM demonstrations LIMIT 1").fetchone()
    db.close()
    is_sealed = wanted == (where == "scrub")
    assert (marker != "{}") == is_sealed == ("canary" not in prompt)
    assert _process(SEAL.format(where="", wanted=wanted), path) == 0
    assert _left_in(path.parent) == (set() if wanted else set(CANARIES))


def test_ten_thousand_sealed_demonstrations_are_listed_in_seconds(tmp_path: Path, ring: InMemory) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.seal(True)
    store.record_file(_file(), [_pair(number) for number in range(10_000)])
    begun = time.process_time()
    assert len(store.demonstrations("default")) == 10_000
    assert time.process_time() - begun < 5.0
    store.close()
