"""Versions in real processes: judged, served as their recipe, withdrawn the moment their texts go, learnt anew, edited
answers learnt from.

The daemon runs as users run it, on the embedded model; only the updates are short. Steps share one daemon, since an
update takes a while.
"""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from daemons import DaemonProcess, wait_for
from openai import OpenAI

LEARNER = {"supervised_steps": 24, "dpo_steps": 4, "resample_every": 2, "samples_per_demonstration": 2}
QUESTION = [{"role": "user", "content": "Write an e-mail to Tom about the garden fence."}]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    made = DaemonProcess(
        tmp_path / "home",
        learner=json.dumps(LEARNER),
        consider_seconds="0.5",
        new_demonstrations="3",
        keep_interactions=json.dumps({"default": 1.0}),
    )
    yield made
    made.kill()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_version_is_judged_served_withdrawn_with_its_text_and_followed_by_one_that_never_saw_it(
    daemon: DaemonProcess, stack: ExitStack
) -> None:
    # 1. learnt from; the verdict has figures of every candidate and what they wrote
    daemon.start()
    for each in files("dittod.cli").joinpath("demo_mails").iterdir():
        (daemon.watched / each.name).write_bytes(each.read_bytes())
    _learn(daemon)
    first = _served(daemon)
    assert first is not None, daemon.json("adapters", "list")
    figures = first["verdict"]["figures"]
    assert {"base_nats_per_token", "supervised_nats_per_token", "ditto_nats_per_token"} <= set(figures)
    assert figures["panel_low"] > 0
    assert {written["by"] for written in first["verdict"]["outputs"]} >= {"base"}

    # 2. what the endpoint serves is the recipe
    stack.enter_context(client := _client(daemon))
    assert _ask(client)[0] == first["id"]

    # 3. a file that was learnt from is deleted: the version is withdrawn, and its weights are destroyed
    demonstrations = daemon.json("demos", "list")["demonstrations"]
    seen = next(each for each in demonstrations if each["id"] in first["demonstration_ids"])
    (daemon.watched / seen["files"][0]).unlink()
    wait_for(lambda: _state(daemon, first["id"]) == "forgotten", 30)
    assert _ask(client)[0] != first["id"]
    wait_for(lambda: not Path(first["path"]).exists(), 10)
    receipts = daemon.json("receipts")["receipts"]
    assert len(receipts) == 1 and receipts[0]["demonstrations"] == 1
    assert daemon.cli("adapters", "promote", first["id"][:10]).returncode != 0

    # 4. the next version comes by itself, and has not seen it
    wait_for(lambda: (_newest(daemon) or first)["id"] != first["id"] and daemon.profile()["run"] is None, 300)
    assert seen["id"] not in _newest(daemon)["demonstration_ids"]

    # 5. an edited answer becomes a demonstration, and what was given a rejected answer
    _, answer_id = _ask(client)  # those of the forgotten version went with it
    before = daemon.profile()["demonstrations"]
    given = _feedback(
        daemon, {"id": answer_id, "edited": "Dear Tom, the fence is yours, and so is the bill. As ever, O."}
    )
    assert given["outcome"] == "demonstration"
    wait_for(lambda: daemon.profile()["demonstrations"] == before + 1, 30)

    # 6. private as ever
    assert daemon.kill(signal.SIGTERM) == 0
    for path in (daemon.output, *(daemon.home / "logs").iterdir()):
        assert b"the bill" not in path.read_bytes(), path.name


def _learn(daemon: DaemonProcess) -> None:
    wait_for(lambda: daemon.profile()["run"] is not None, 60)
    wait_for(lambda: daemon.profile()["run"] is None, 400)
    assert daemon.profile()["last_error"] is None


def _versions(daemon: DaemonProcess) -> list[dict[str, Any]]:
    return list(daemon.json("adapters", "list")["adapters"])


def _newest(daemon: DaemonProcess) -> dict[str, Any]:
    return max(_versions(daemon), key=lambda each: each["number"])


def _served(daemon: DaemonProcess) -> dict[str, Any] | None:
    return next((each for each in _versions(daemon) if each["state"] == "promoted"), None)


def _state(daemon: DaemonProcess, adapter_id: str) -> str:
    return next(str(each["state"]) for each in _versions(daemon) if each["id"] == adapter_id)


def _client(daemon: DaemonProcess) -> OpenAI:
    token = daemon.cli("token").stdout.strip()
    return OpenAI(base_url=daemon.status()["endpoint"], api_key=token, max_retries=2, timeout=60)


def _ask(client: OpenAI) -> tuple[str, str]:
    """Who answered, and the answer's id."""
    raw = client.chat.completions.with_raw_response.create(
        model="ditto", messages=QUESTION, seed=5, temperature=0.7, max_tokens=48
    )
    return raw.headers["x-dittod-adapter"], str(raw.parse().id)


def _feedback(daemon: DaemonProcess, body: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{daemon.status()['endpoint']}/feedback",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {daemon.cli('token').stdout.strip()}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.load(answer))
