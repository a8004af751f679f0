"""Clients as people install them, set up by `dittod connect` alone, in a home of their own, against a real daemon.

The model is the starter, for long prompts with its context stretched: what is shown is that both sides understand each
other. Everything is fetched from PyPI and npm: `make clients`, with a network.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from daemons import DaemonProcess, wait_for

import dittod.starter

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(1800)]

INSTALL_SECONDS = 900
ANSWER_SECONDS = 300
LONG = 32768
MASTER = "sk-of-a-test"
DITTOD = [sys.executable, "-c", "from dittod.cli import main; main()"]


@dataclass
class Machine:
    """A user's home on which a client is set up, and the daemon that it is to ask."""

    home: Path
    daemon: DaemonProcess

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: each for name, each in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
        return kept | {"HOME": str(self.home), "DITTOD_HOME": str(self.daemon.home), "NO_COLOR": "1"}

    def run(self, *command: str, seconds: float = ANSWER_SECONDS, **variables: str) -> str:
        """What it prints; fails with what it complains of."""
        done = subprocess.run(
            command,
            env=self.environment | variables,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == 0, f"{command[0]}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def connect(self, *arguments: str) -> str:
        return self.run(*DITTOD, "connect", *arguments)

    def part(self, client: str, number: int) -> str:
        """One of the texts that are printed."""
        return str(json.loads(self.connect(client, "--json"))["parts"][number]["text"])

    def token(self) -> str:
        return self.run(*DITTOD, "token").strip()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], DaemonProcess]]:
    """A daemon with the starter, or with one whose context is long: each is started once."""
    running: dict[bool, DaemonProcess] = {}

    def start(roomy: bool) -> DaemonProcess:
        if roomy not in running:
            folder = tmp_path_factory.mktemp("daemon")
            running[roomy] = DaemonProcess(folder / "home", base_model=str(_stretched(folder)) if roomy else "starter")
            running[roomy].start()
        return running[roomy]

    yield start
    for daemon in running.values():
        daemon.kill()


@pytest.fixture
def machine(tmp_path: Path, serving: Callable[[bool], DaemonProcess]) -> Machine:
    return Machine(_made(tmp_path / "user"), serving(False))


@pytest.fixture
def roomy(tmp_path: Path, serving: Callable[[bool], DaemonProcess]) -> Machine:
    """For clients with long prompts."""
    return Machine(_made(tmp_path / "user"), serving(True))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder with the programs of packages from PyPI; each set is fetched once."""
    made: dict[tuple[str, ...], Path] = {}

    def install(*packages: str) -> Path:
        if packages not in made:
            folder = tmp_path_factory.mktemp("venv")
            _fetch(sys.executable, "-m", "venv", str(folder))
            _fetch(str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages)
            made[packages] = folder / "bin"
        return made[packages]

    return install


@pytest.fixture(scope="module")
def from_npm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a package from npm."""

    def install(package: str) -> Path:
        if shutil.which("npm") is None:
            pytest.skip("npm is not here")
        folder = tmp_path_factory.mktemp("npm")
        _fetch("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", package)
        return folder / "node_modules"

    return install


def test_openai_for_python(machine: Machine, installed: Callable[..., Path]) -> None:
    program = machine.home / "ask.py"
    program.write_text(machine.part("openai", 0))
    said = machine.run(str(installed("openai") / "python"), str(program), DITTO_TOKEN=machine.token())
    assert said.strip()
    _note("openai", installed("openai"))


def test_programs_that_read_the_environment(machine: Machine, installed: Callable[..., Path]) -> None:
    (machine.home / "dittod").write_text(f'#!/bin/sh\nexec {shlex.join(DITTOD)} "$@"\n')
    (machine.home / "dittod").chmod(0o755)
    program = "import openai, os; print(openai.OpenAI().models.retrieve(os.environ['OPENAI_MODEL']).owned_by)"
    command = f'set -a; eval "$(./dittod connect env)"; set +a; exec {installed("openai")}/python -c "{program}"'
    assert machine.run("sh", "-c", command).strip() == "dittod"


def test_openai_for_node(machine: Machine, from_npm: Callable[[str], Path]) -> None:
    modules = from_npm("openai")
    program = modules.parent / "ask.mjs"
    program.write_text(machine.part("openai", 1))
    assert machine.run("node", str(program), DITTO_TOKEN=machine.token()).strip()
    _note_npm("openai", modules)


def test_llm(machine: Machine, installed: Callable[..., Path]) -> None:
    machine.connect("llm", "--write")
    programs = installed("llm")
    assert machine.run(str(programs / "llm"), "-m", "ditto", "-o", "max_tokens", "12", "Write to Ann").strip()
    assert machine.run(str(programs / "llm"), "-m", "ditto-completion", "-o", "max_tokens", "12", "Dear Ann,").strip()
    _note("llm", programs)


def test_aider(machine: Machine, installed: Callable[..., Path]) -> None:
    machine.connect("aider", "--write")
    programs = installed("aider-chat")
    said = machine.run(
        str(programs / "aider"),
        *("--config", str(machine.home / ".aider.dittod.conf.yml")),
        *("--no-git", "--yes-always", "--no-check-update", "--no-pretty", "--no-show-release-notes"),
        *("--message", "/ask Write to Ann"),
    )
    assert "openai/ditto" in said and "Tokens:" in said and "received" in said, said
    _note("aider-chat", programs)


def test_langchain(machine: Machine, installed: Callable[..., Path]) -> None:
    program = machine.home / "ask.py"
    program.write_text(machine.part("langchain", 0))
    programs = installed("langchain-openai")
    assert machine.run(str(programs / "python"), str(program), DITTO_TOKEN=machine.token()).strip()
    _note("langchain-openai", programs)


def test_litellm(machine: Machine, installed: Callable[..., Path]) -> None:
    machine.connect("litellm", "--folder", str(machine.home), "--write")
    programs, port = installed("litellm[proxy]"), _free_port()
    variables = {"DITTO_TOKEN": machine.token(), "LITELLM_MASTER_KEY": MASTER}
    with (machine.home / "output").open("wb") as output:
        proxy = subprocess.Popen(
            [str(programs / "litellm"), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)],
            env=machine.environment | variables | {"PATH": f"{programs}:{os.environ['PATH']}"},
            cwd=machine.home,
            stdout=output,
            stderr=output,
        )
        try:
            wait_for(lambda: proxy.poll() is not None or _answers(port), 180)
            assert proxy.poll() is None, (machine.home / "output").read_text()[-2000:]
            answer = _asked(port, "Write to Ann")
        finally:
            proxy.terminate()
            proxy.wait(30)
    assert answer["choices"][0]["message"]["content"], (machine.home / "output").read_text()[-2000:]
    _note("litellm", programs)


def test_codex(roomy: Machine, from_npm: Callable[[str], Path]) -> None:
    modules = from_npm("@openai/codex")
    roomy.connect("codex", "--write")
    said = roomy.run(
        str(modules / ".bin" / "codex"),
        *("exec", "--profile", "dittod", "--skip-git-repo-check", "--json", "Write to Ann"),
        DITTO_TOKEN=roomy.token(),
    )
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert any(each["type"] == "turn.completed" and each["usage"]["output_tokens"] > 0 for each in events), said
    _note_npm("@openai/codex", modules)


def test_opencode(roomy: Machine, from_npm: Callable[[str], Path]) -> None:
    modules = from_npm("opencode-ai")
    roomy.connect("opencode", "--write")
    program = str(modules / ".bin" / "opencode")
    said = roomy.run(program, "run", "--model", "dittod/ditto", "Write to Ann", DITTO_TOKEN=roomy.token())
    assert said.strip()
    _note_npm("opencode-ai", modules)


def test_continue(roomy: Machine, from_npm: Callable[[str], Path]) -> None:
    modules = from_npm("@continuedev/cli")
    roomy.connect("continue", "--write")
    config = str(roomy.home / ".continue" / "config.yaml")
    assert roomy.run(str(modules / ".bin" / "cn"), "--config", config, "-p", "Write to Ann").strip()
    _note_npm("@continuedev/cli", modules)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _stretched(folder: Path) -> Path:
    """The starter, which takes longer prompts without having learnt to."""
    model = folder / "model"
    shutil.copytree(Path(dittod.starter.__file__).parent, model, ignore=shutil.ignore_patterns("__*"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": LONG}))
    return model


def _fetch(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{' '.join(command[-2:])} took too long")
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command[-2:])}: {done.stderr.strip().splitlines()[-1:]}")


def _note(package: str, programs: Path) -> None:
    """Its version, for whoever runs these with -s."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    version = subprocess.check_output([programs / "python", "-c", code], text=True)
    sys.stdout.write(f"{package} {version}")


def _note_npm(package: str, modules: Path) -> None:
    sys.stdout.write(f"{package} {json.loads((modules / package / 'package.json').read_text())['version']}\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=5):
            return True
    except OSError:
        return False


def _asked(port: int, prompt: str) -> Any:
    body = {"model": "ditto", "max_tokens": 12, "messages": [{"role": "user", "content": prompt}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {MASTER}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        pytest.fail(error.read().decode(errors="replace")[:1000])
