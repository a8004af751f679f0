"""The whole chain in real processes: mails dropped, an update, a promotion, clients answered, rolled back, stopped.

The daemon runs as users run it, on the embedded model; only the update is short. Clients are the official `openai`
package's. Numbered steps share one daemon, since an update takes a while.
"""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from daemons import DaemonProcess, mail, wait_for
from openai import AsyncOpenAI, OpenAI
from peft import PeftModel
from transformers import AutoModelForCausalLM

from dittod.starter import starter_path

LEARNER = {"supervised_steps": 24, "dpo_steps": 4, "resample_every": 2, "samples_per_demonstration": 2}
PROMPT_CANARY = "canary-in-the-prompt-5150"
MAIL_CANARY = "canary-in-a-mail-1984"
QUESTION = [{"role": "user", "content": f'Write an e-mail to Tom about "{PROMPT_CANARY}".'}]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    made = DaemonProcess(tmp_path / "home", learner=json.dumps(LEARNER), consider_seconds="0.5", new_demonstrations="3")
    yield made
    made.kill()


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_from_a_dropped_mail_to_a_personalised_token(daemon: DaemonProcess) -> None:
    # 1. day one: no mail yet, and a client that asks for `ditto` is answered by base, and told so
    daemon.start()
    token = daemon.cli("token").stdout.strip()
    client = OpenAI(base_url=daemon.status()["endpoint"], api_key=token, max_retries=0, timeout=60)
    assert [each.id for each in client.models.list()] == ["base", "ditto"]
    answered_by, text_of_base = _ask(client, "ditto")
    assert answered_by == "base" and text_of_base == _ask(client, "base")[1]

    # 2. mails are dropped; the update starts by itself and is followed; requests are answered meanwhile
    for each in files("dittod.cli").joinpath("demo_mails").iterdir():
        (daemon.watched / each.name).write_bytes(each.read_bytes())
    wait_for(lambda: daemon.profile()["run"] is not None, 30)
    assert _ask(client, "base")[1] == text_of_base, "an update changes nothing that base says"
    wait_for(lambda: daemon.profile()["run"] is None, 300)
    profile = daemon.profile()
    assert profile["last_error"] is None and profile["demonstrations"] == 22
    assert profile["adapter"] is not None, daemon.json("adapters", "list")

    # 3. the adapter is in PEFT's own format, private, and plain PEFT loads it
    (adapter,) = daemon.json("adapters", "list")["adapters"]
    assert adapter["id"] == profile["adapter"]["id"] and adapter["state"] == "promoted"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in Path(adapter["path"]).iterdir()}
    assert modes == {0o600}
    base = AutoModelForCausalLM.from_pretrained(starter_path())
    assert PeftModel.from_pretrained(base, adapter["path"]).active_adapter == "default"

    # 4. clients: sync, async, streamed; they all get the same seeded text, and it is not base's
    answered_by, text = _ask(client, "ditto")
    assert answered_by == adapter["id"] and text != text_of_base
    assert _ask_streaming(client, "ditto") == text
    assert asyncio.run(_ask_async(str(client.base_url), token)) == text
    assert _ask(client, "ditto/default@1") == (adapter["id"], text)
    assert _ask(client, "base")[1] == text_of_base

    # 5. nothing new: no second run; asked for by hand: one, with its verdict
    assert daemon.profile()["waiting"] == "nothing new since the last update"
    done = daemon.json("update", "--wait")
    assert done["verdict"] in ("promoted", "kept") and done["reasons"] and "served_nats_per_token" in done["figures"]

    # 6. rolled back by another process: the next request is answered by base again
    while daemon.profile()["adapter"] is not None:
        assert daemon.cli("adapters", "rollback").returncode == 0
    assert _ask(client, "ditto") == ("base", text_of_base)
    assert daemon.cli("adapters", "rollback").returncode == 1
    assert daemon.cli("adapters", "promote", "default@1").returncode == 0
    assert _ask(client, "ditto") == (adapter["id"], text)

    # 7. a second daemon in the same home is refused; SIGTERM ends the first in time and in order
    refused = daemon.cli("run")
    assert refused.returncode == 1 and "already running" in refused.stderr
    (daemon.watched / "last.eml").write_bytes(mail(f"Dear Ann, this one holds a {MAIL_CANARY} for you. Odile"))
    time.sleep(1.0)
    begun = time.monotonic()
    assert daemon.kill(signal.SIGTERM) == 0
    assert time.monotonic() - begun < 10.0

    # 8. no text in any log, nothing that others can read
    _assert_private(daemon)


def _ask(client: OpenAI, model: str) -> tuple[str, str]:
    """Who answered, and what: 48 tokens with a fixed seed."""
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=QUESTION, seed=5, temperature=0.7, max_tokens=48
    )
    return raw.headers["x-dittod-adapter"], str(raw.parse().choices[0].message.content)


def _ask_streaming(client: OpenAI, model: str) -> str:
    stream = client.chat.completions.create(
        model=model, messages=QUESTION, seed=5, temperature=0.7, max_tokens=48, stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


async def _ask_async(base_url: str, token: str) -> str:
    async with AsyncOpenAI(base_url=base_url, api_key=token, max_retries=0, timeout=60) as client:
        answer = await client.chat.completions.create(
            model="ditto", messages=QUESTION, seed=5, temperature=0.7, max_tokens=48
        )
    return str(answer.choices[0].message.content)


def _assert_private(daemon: DaemonProcess) -> None:
    written = [path for path in daemon.home.rglob("*") if path.is_file() and daemon.watched not in path.parents]
    logs = [daemon.output, *(daemon.home / "logs").iterdir()]
    assert len(logs) >= 2
    for path in logs:
        content = path.read_bytes()
        assert PROMPT_CANARY.encode() not in content and MAIL_CANARY.encode() not in content, path.name
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name
