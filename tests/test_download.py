"""Bringing a model from a hub: what is taken, what goes wrong on the way, what is left of it; and that it is enough."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import COMMIT, FakeHub, serving, use
from huggingface_hub.utils import close_session

from dittod import download
from dittod.errors import AlreadyRunning, ModelError
from dittod.machine.lock import held

MODEL = "org/tiny"
WEIGHTS = bytes(range(256)) * 1000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """With files that look like a model's, and others that no model needs."""
    files = {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b"{}" * 40,
        "model.safetensors": WEIGHTS,
        "LICENSE": b"Do what you like.",
        "pytorch_model.bin": b"a pickle",
        "modeling_tiny.py": b"print('ran')",
        "original/consolidated.safetensors": b"the same again",
        "consolidated.safetensors": b"the same again",
    }
    monkeypatch.setattr("dittod.download.PAUSES", (0.0, 0.0, 0.0))
    with serving(FakeHub(files)) as hub:
        use(hub, tmp_path / "cache", monkeypatch)
        yield hub
        close_session()


def fetch() -> int:
    """Returns how many bytes it said that it brought."""
    brought: list[int] = []
    download.fetch(download.look_up(MODEL), brought.append)
    return sum(brought)


def file(name: str) -> Path:
    return download.cache_folder(MODEL) / "snapshots" / COMMIT / name


def partial(hub: FakeHub) -> Path:
    (found,) = (download.cache_folder(MODEL) / "blobs").glob("*.incomplete")
    return found


def test_what_a_model_needs_is_brought_and_nothing_else(hub: FakeHub) -> None:
    assert not download.is_downloaded(MODEL)
    listing = download.look_up(MODEL)
    assert (listing.commit, listing.licence) == (COMMIT, "apache-2.0")
    assert listing.size == download.bytes_missing(listing) == fetch()
    assert download.is_downloaded(MODEL) and file("model.safetensors").read_bytes() == WEIGHTS
    assert {each.name for each in file("config.json").parent.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "LICENSE",
    }


def test_the_cache_is_laid_out_as_the_hubs_own_library_has_it(hub: FakeHub) -> None:
    from huggingface_hub import scan_cache_dir, snapshot_download

    fetch()
    assert snapshot_download(MODEL, local_files_only=True, cache_dir=download.cache_folder(MODEL).parent) == str(
        file("config.json").parent
    )
    scanned = scan_cache_dir(download.cache_folder(MODEL).parent)
    assert [repository.repo_id for repository in scanned.repos] == [MODEL] and not scanned.warnings


def test_what_is_here_is_not_asked_for_again(hub: FakeHub) -> None:
    fetch()
    hub.asked.clear()
    assert fetch() == 0
    assert hub.paths() == ["/api/models/org/tiny/revision/main"]
    file("tokenizer.json").resolve().unlink()
    assert not download.is_downloaded(MODEL)
    assert fetch() == 80 and hub.paths()[2:] == [f"/org/tiny/resolve/{COMMIT}/tokenizer.json"]


def test_a_broken_connection_goes_on_where_it_broke(hub: FakeHub) -> None:
    hub.breaks_after = [100_000, 50_000]
    assert fetch() == download.look_up(MODEL).size
    assert hub.ranges("model.safetensors") == ["", "bytes=100000-", "bytes=150000-"]
    assert file("model.safetensors").read_bytes() == WEIGHTS


def test_a_hub_that_breaks_off_for_ever_is_given_up_and_what_came_is_kept(hub: FakeHub) -> None:
    hub.breaks_after = [1000, 0, 0, 0, 0]
    with pytest.raises(ModelError, match="has stopped") as caught:
        fetch()
    assert "dittod init --model org/tiny" in caught.value.hint
    assert partial(hub).stat().st_size == 1000 and not download.is_downloaded(MODEL)
    hub.breaks_after = []
    assert fetch() == len(WEIGHTS) - 1000
    assert hub.ranges("model.safetensors")[-1] == "bytes=1000-" and download.is_downloaded(MODEL)


def test_ctrl_c_keeps_what_came(hub: FakeHub) -> None:
    def interrupt(more: int) -> None:
        if more > 50_000:
            raise KeyboardInterrupt

    hub.breaks_after = [100_000]
    with pytest.raises(KeyboardInterrupt):
        download.fetch(download.look_up(MODEL), interrupt)
    came = partial(hub).stat().st_size
    hub.breaks_after = []
    assert 0 < came <= 100_000 and fetch() == len(WEIGHTS) - came
    assert file("model.safetensors").read_bytes() == WEIGHTS


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_from(hub: FakeHub) -> None:
    hub.breaks_after, hub.stalls = [100_000], threading.Event()
    code = (
        f"from dittod.download import fetch, look_up\nfetch(look_up({MODEL!r}), lambda more: print(more, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        came = 0
        while came < 100_000:
            came += int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
    hub.stalls.set()
    kept = partial(hub).stat().st_size
    assert kept > 0 and not download.is_downloaded(MODEL)
    assert fetch() == len(WEIGHTS) - kept
    assert hub.ranges("model.safetensors")[-1] == f"bytes={kept}-" and file("model.safetensors").read_bytes() == WEIGHTS


def test_a_server_without_ranges_begins_anew_and_the_count_stays_right(hub: FakeHub) -> None:
    hub.breaks_after, hub.ignores_ranges = [100_000], True
    assert fetch() == download.look_up(MODEL).size
    assert file("model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("change", [lambda right: b"?" + right[1:], lambda right: right + b"?", lambda right: b""])
def test_a_file_that_is_not_what_the_hub_says_is_removed_and_named(hub: FakeHub, name: str, change) -> None:
    hub.sends = {name: change(hub.files[name])}
    with pytest.raises(ModelError) as caught:
        fetch()
    assert name in caught.value.title or "has stopped" in caught.value.title
    assert not download.is_downloaded(MODEL)
    hub.sends = {}
    fetch()
    assert file(name).read_bytes() == hub.files[name]


def test_what_was_damaged_between_two_tries_is_found_out(hub: FakeHub) -> None:
    hub.breaks_after = [1000, 0, 0, 0, 0]
    with pytest.raises(ModelError, match="has stopped"):
        fetch()
    partial(hub).write_bytes(b"!" * 1000)
    hub.breaks_after = []
    with pytest.raises(ModelError, match="of org/tiny is not what the hub says"):
        fetch()
    assert fetch() == len(WEIGHTS) and file("model.safetensors").read_bytes() == WEIGHTS


def test_a_licence_that_was_not_accepted_is_an_error_with_the_steps(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_right"
    for token in ("", "hf_wrong"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(ModelError, match="accepted its licence") as caught:
            fetch()
        assert f"{hub.at}/org/tiny" in caught.value.hint and "HF_TOKEN=" in caught.value.hint
        assert "hf_wrong" not in caught.value.hint
    assert hub.ranges("model.safetensors") == []  # nothing large was begun
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    fetch()
    assert download.is_downloaded(MODEL)


def test_the_token_is_for_the_hub_alone(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    fetch()
    delivered = [headers for path, headers in hub.asked if path.startswith("/deliver/")]
    assert delivered and not any("authorization" in headers for headers in delivered)


def test_the_hub_learns_nothing_of_the_machine(hub: FakeHub) -> None:
    fetch()
    assert {headers["user-agent"] for _, headers in hub.asked} == {"dittod"}
    assert "/api/agent-harnesses" not in hub.paths()


@pytest.mark.parametrize("model", ["org/other", "nobody/nothing"])
def test_a_model_that_the_hub_does_not_have_is_an_error(hub: FakeHub, model: str) -> None:
    with pytest.raises(ModelError, match=f"the hub has no {model}"):
        download.look_up(model)


def test_a_model_without_safetensors_is_refused(hub: FakeHub) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelError, match="no weights in safetensors"):
        download.look_up(MODEL)


def test_a_hub_that_cannot_be_reached_is_an_error(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="does not answer: ConnectError"):
        download.look_up(MODEL)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        download.look_up(MODEL)


def test_a_hub_that_is_busy_is_asked_again(hub: FakeHub) -> None:
    listing = download.look_up(MODEL)
    hub.statuses = [503, 429]
    download.fetch(listing)
    assert download.is_downloaded(MODEL)


@pytest.mark.parametrize(
    "change",
    [
        {"sha": "../../elsewhere"},
        {"sha": None},
        {"siblings": None},
        {"siblings": [{"rfilename": "config.json", "size": 3, "blobId": "../../../elsewhere"}]},
        {"siblings": [{"rfilename": "config.json", "size": -3, "blobId": "0" * 40}]},
        {"siblings": [{"rfilename": "config.json"}]},
        {"siblings": [{"size": 1}]},
    ],
)
def test_what_a_hub_says_never_leads_out_of_the_cache(hub: FakeHub, change, monkeypatch: pytest.MonkeyPatch) -> None:
    said = hub.about() | change
    monkeypatch.setattr(hub, "about", lambda: said)
    with pytest.raises(ModelError, match="cannot be understood"):
        download.look_up(MODEL)


def test_shards_are_taken_where_there_is_no_whole_file(hub: FakeHub) -> None:
    del hub.files["model.safetensors"]
    shards = {f"model-0000{n}-of-00002.safetensors": bytes([n]) * 1000 for n in (1, 2)}
    index = json.dumps({"weight_map": {f"layer of {name}": name for name in shards}})
    hub.files |= shards | {"model.safetensors.index.json": index.encode()}
    fetch()
    assert download.is_downloaded(MODEL)
    file("model-00002-of-00002.safetensors").unlink()
    assert not download.is_downloaded(MODEL)


def test_two_processes_do_not_bring_the_same_model(hub: FakeHub) -> None:
    listing = download.look_up(MODEL)
    locks = download.cache_folder(MODEL).parent / ".locks" / download.cache_folder(MODEL).name
    locks.mkdir(parents=True)
    with held(locks / "dittod.lock"), pytest.raises(AlreadyRunning, match="by another process"):
        download.fetch(listing)


def test_where_there_are_no_links_the_files_themselves_lie_there(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("a privilege is missing")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    fetch()
    assert not file("model.safetensors").is_symlink() and download.is_downloaded(MODEL)
    hub.asked.clear()
    assert fetch() == 0


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("org/tiny", True),
        ("starter", False),
        ("../tiny", False),
        ("org/ti ny", False),
        ("org/tiny/more", False),
        ("/org", False),
        ("org/..", False),
        ("", False),
    ],
)
def test_what_can_be_a_models_id(name: str, is_one: bool) -> None:
    assert download.is_hub_id(name) == is_one


@pytest.mark.timeout(180)  # torch is imported anew
def test_a_model_that_was_brought_is_loaded_without_the_network(hub: FakeHub, tiny_model: Path) -> None:
    """A guard counts every connection and every name that is asked for, from before the first import."""
    hub.files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    fetch()
    hub.asked.clear()
    code = (
        "import sys\n"
        "def guard(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'):\n"
        "        raise SystemExit(f'the network was asked: {event} {arguments}')\n"
        "sys.addaudithook(guard)\n"
        "import dittod.engine.__main__\n"
        "from dittod.engine.room import read_shape\n"
        "from dittod.model.load import load_base\n"
        f"base = load_base({MODEL!r})\n"
        f"print(base.context_tokens, base.revision, read_shape({MODEL!r}).layers)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.split() == ["512", COMMIT, "2"], ended.stderr
    assert hub.asked == []


def test_a_bar_is_told_of_bytes_as_they_come(hub: FakeHub) -> None:
    """Not once, at the end."""
    hub.breaks_after, hub.stalls = [100_000], threading.Event()
    seen: list[int] = []
    thread = threading.Thread(target=download.fetch, args=(download.look_up(MODEL), seen.append))
    thread.start()
    deadline = time.monotonic() + 20
    while sum(seen) < 100_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    before = sum(seen)
    hub.stalls.set()
    thread.join()
    assert 100_000 <= before < len(WEIGHTS) <= sum(seen)
