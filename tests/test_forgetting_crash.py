"""Forgetting in a real daemon, answered by a real engine, killed at any moment: afterwards no byte of the text is left.

The text is looked for in every file of the home but the watched folder, in every form in which it may lie there. A
version is made by hand, since what it has learnt is no matter here; a killing is planted by patching the daemon.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from daemons import START, DaemonProcess, mail, wait_for
from fakes import byte_tokenizer, make_tiny_model

from dittod.model.load import load_base
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.paths import Home
from dittod.store import Store
from dittod.types import Adapter, Verdict, Written

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240, func_only=True)]

CANARY = "zür Grünen Möwe 4711"
WORDS = [f"Dear Ann, note {n} says: tea at {n * 7919}. Bob" for n in range(6)]
LONG_UPDATE = {"supervised_steps": 4, "supervised_stop_loss": 0, "dpo_steps": 400, "resample_every": 2}
LONG_UPDATE |= {"samples_per_demonstration": 2}
KILL = """
import os
{imports}
original = {owner}.{name}
def strike(*arguments, **named):
    {before}
    result = original(*arguments, **named)
    {after}
    return result
{owner}.{name} = strike
"""
DIE = "os.kill(os.getpid(), 9)"
PLACES = {  # where the daemon dies, and how
    "in the transaction": ("import dittod.store as m", "m.Store", "_withdraw", "pass", DIE),
    "after the transaction": (
        "import dittod.ingest.folder as m",
        "m.Folder",
        "_drop",
        "pass",
        f"arguments[1] and {DIE}",
    ),
    "before the weights go": ("import dittod.forgetting as m", "m", "destroy_versions", DIE, "pass"),
    "while the weights go": ("import dittod.forgetting as m", "m", "_overwrite", "pass", DIE),
    "before the engine hears": ("import dittod.forgetting as m", "m.Forgetting", "_tell", DIE, "pass"),
    "before the end": ("import dittod.forgetting as m", "m", "_finish", DIE, "pass"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "m")


@pytest.fixture
def daemon(model: Path, tmp_path: Path) -> Iterator[DaemonProcess]:
    """Seven mails; a version that was served knows six of them, the one that is served knows all."""
    made = DaemonProcess(
        tmp_path / "home",
        base_model=str(model),
        min_demonstrations="100",
        identities='["bob@x.example"]',
        learner=json.dumps(LONG_UPDATE),
    )
    made.watched.mkdir(parents=True)
    for number, words in enumerate(WORDS):
        (made.watched / f"{number}.eml").write_bytes(mail(words, day=number + 1))
    (made.watched / "canary.eml").write_bytes(mail(f"Dear Ann, we meet at {CANARY} tonight. Bob", day=9))
    assert made.cli("ingest").returncode == 0
    _add_versions(Home(made.home), model)
    yield made
    made.kill()


def _add_versions(home: Home, model: Path) -> None:
    store = Store(home.store)
    base = load_base(str(model), device="cpu")
    adapters = LoraAdapters(base)
    texts = store.demonstrations("default")
    clean = [each for each in texts if CANARY not in each.completion]
    (canary,) = (
        each for each in texts if each not in clean
    )  # held out by the clean one, which has answered its prompt
    for letter, seen in (("a", clean), ("b", texts)):
        adapters.create(letter, LoraShape(rank=2, alpha=4), seed=ord(letter))
        folder = home.adapters / (letter * 64)
        adapters.save(letter, folder)
        ids = tuple(each.id for each in seen)
        verdict = Verdict(True, ("better",), {}, (Written("ditto", canary.id, f"at {CANARY}"),))
        made = Adapter(folder.name, "default", 0, "candidate", "", "r", base.name, base.revision, base.template_sha256,
                       ids, 1, 1.0, None, verdict)  # fmt: skip
        store.add_adapter(made)
        store.promote("default", made.id, float(ord(letter)))
    store.close()


def _forms() -> dict[str, bytes]:
    """In which the text may lie somewhere."""
    ids = byte_tokenizer()(CANARY, add_special_tokens=False)["input_ids"]
    return {
        "UTF-8": CANARY.encode(),
        "Latin-1": CANARY.encode("latin-1"),
        "UTF-16": CANARY.encode("utf-16-le"),
        "UTF-16, big end first": CANARY.encode("utf-16-be"),
        "JSON": json.dumps(CANARY).strip('"').encode(),
        "token ids in JSON": ", ".join(map(str, ids)).encode(),
        "token ids in JSON without spaces": ",".join(map(str, ids)).encode(),
        "token ids of 2 bytes": struct.pack(f"<{len(ids)}H", *ids),
        "token ids of 4 bytes": struct.pack(f"<{len(ids)}i", *ids),
        "token ids of 8 bytes": struct.pack(f"<{len(ids)}q", *ids),
    }


def _found(daemon: DaemonProcess) -> list[tuple[str, str]]:
    """File and form of each place where the text lies, the watched folder apart."""
    found = []
    for path in (daemon.output, *daemon.home.rglob("*")):
        if path.is_file() and daemon.watched not in path.parents:
            content = path.read_bytes()
            found += [(path.name, form) for form, canary in _forms().items() if canary in content]
    return found


def _is_gone(daemon: DaemonProcess) -> bool:
    receipts = daemon.json("receipts")["receipts"]
    return bool(receipts) and all(each["finished"] for each in receipts)


def _assert_forgotten(daemon: DaemonProcess) -> None:
    assert _found(daemon) == []
    assert [path.name[0] for path in (daemon.home / "adapters").iterdir()] == ["a"]
    states = {each["number"]: each["state"] for each in daemon.json("adapters", "list")["adapters"]}
    assert states == {1: "promoted", 2: "forgotten"}
    (receipt,) = daemon.json("receipts")["receipts"]
    assert (receipt["adapters"], receipt["replaced_by"], receipt["run_id"]) == (["default@2"], "default@1", None)


def _client(daemon: DaemonProcess) -> httpx.Client:
    token = (daemon.home / "token").read_text().strip()
    url = daemon.status()["endpoint"]
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def _body(**changes: object) -> dict[str, object]:
    return {"model": "ditto", "messages": [{"role": "user", "content": "Where?"}], "max_tokens": 4, **changes}


def test_the_text_is_found_where_it_lies_before(daemon: DaemonProcess) -> None:
    """Else the tests below would find nothing in nothing."""
    assert "UTF-8" in {form for _, form in _found(daemon)}


def test_a_deleted_file_is_forgotten_while_its_version_answers(daemon: DaemonProcess) -> None:
    daemon.start()
    said: list[str] = []
    with _client(daemon) as client:
        assert client.post("/chat/completions", json=_body()).status_code == 200

        def listen() -> None:
            with client.stream("POST", "/chat/completions", json=_body(stream=True, max_tokens=450)) as answer:
                for line in answer.iter_lines():
                    said.append(line)

        listener = threading.Thread(target=listen)
        listener.start()
        wait_for(lambda: said, 30)
        (daemon.watched / "canary.eml").unlink()
        wait_for(lambda: _is_gone(daemon), 60)
        listener.join(60)
        assert client.post("/chat/completions", json=_body()).status_code == 200
        assert client.post("/chat/completions", json=_body(model="ditto/default@2")).status_code == 404
    _assert_forgotten(daemon)
    daemon.kill()
    _assert_forgotten(daemon)


def test_the_command_forgets_while_the_daemon_runs_and_the_file_stays_unread(daemon: DaemonProcess) -> None:
    daemon.start()
    with _client(daemon) as client:
        assert client.post("/chat/completions", json=_body()).status_code == 200
        done = daemon.cli("forget", "canary.eml", "--yes", "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["finished"], done.stderr
        assert client.post("/chat/completions", json=_body()).status_code == 200
    _assert_forgotten(daemon)
    (daemon.watched / "canary.eml").touch()
    time.sleep(1.0)  # several looks: settle_seconds is 0.2
    assert _found(daemon) == []
    daemon.kill()
    daemon.start()
    wait_for(lambda: not _is_reading(daemon), 30)
    _assert_forgotten(daemon)


def _is_reading(daemon: DaemonProcess) -> bool:
    store = Store(daemon.home / "dittod.sqlite")
    try:
        return bool(store.noted("reading").get("busy"))
    finally:
        store.close()


@pytest.mark.parametrize("place", PLACES)
def test_a_daemon_that_is_killed_forgets_the_rest_at_its_next_start(daemon: DaemonProcess, place: str) -> None:
    imports, owner, name, before, after = PLACES[place]
    daemon.start(KILL.format(imports=imports, owner=owner, name=name, before=before, after=after) + START)
    (daemon.watched / "canary.eml").unlink()
    wait_for(lambda: daemon.ended, 60)
    if place == "in the transaction":
        assert daemon.json("receipts")["receipts"] == []
    else:
        assert daemon.json("receipts")["receipts"][0]["replaced_by"] == "default@1", "it is withdrawn from the first on"
    daemon.start()
    wait_for(lambda: _is_gone(daemon), 60)
    _assert_forgotten(daemon)


@pytest.mark.parametrize("by_command", [False, True])
def test_samples_of_an_update_under_way_go_though_it_may_not_go_on_now(daemon: DaemonProcess, by_command: bool) -> None:
    """Its checkpoint holds the answers to the text's prompt, and it is not begun anew: learning is paused."""
    daemon.start()
    assert daemon.cli("update").returncode == 0
    runs = daemon.home / "runs"
    wait_for(lambda: list(runs.glob("*/checkpoint-*/*")), 120)
    assert daemon.cli("pause").returncode == 0
    wait_for(lambda: daemon.status()["learning"]["state"] == "paused", 30)  # else it may be begun anew before
    if by_command:
        assert daemon.cli("forget", "canary.eml", "--yes").returncode == 0
    else:
        (daemon.watched / "canary.eml").unlink()
    wait_for(lambda: _is_gone(daemon), 60)
    assert list(runs.rglob("*.*")) == [] and not any(each.is_dir() and list(each.iterdir()) for each in runs.iterdir())
    _assert_forgotten(daemon)
