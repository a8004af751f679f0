"""What dittod promises of the user's texts, watched from outside while real processes live through a whole cycle.

Unique words stand in mails, names of files and folders, prompts, tools and answers; one file crashes its reader, one
makes it fail with its own name, one request makes the engine fail with its own text, and the engine is killed in an
update. All processes live in a network namespace that has only a loopback, where one can be had; each tells whom it
would reach (`trap/sitecustomize.py`); strace, where it is installed, sees what native code does. The umask is 000.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from daemons import START, DaemonProcess, mail, wait_for
from fakes import make_tiny_model, teach
from keyrings import FILE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces and strace are Linux's"),
]

IN_MAIL = ("qzbodyqz", "qzsubjectqz", "qzaddressqz", "qzbrokenqz", "qzsystemqz", "qztitleqz")
IN_NAMES = ("qzfilenameqz", "qzfoldernameqz")
IN_REQUESTS = ("qzpromptqz", "qzroleqz", "qztoolqz", "qzargumentqz", "qzstopqz", "qzmodelqz", "qzfaultqz", "qzheaderqz")
CANARIES = tuple(each.encode() for each in (*IN_MAIL, *IN_NAMES, *IN_REQUESTS))
LEARNER = {"supervised_steps": 20, "supervised_learning_rate": 0.003, "supervised_stop_loss": 0, "dpo_steps": 4}
LEARNER |= {"resample_every": 2, "samples_per_demonstration": 2}
MAY_HOLD_TEXTS = re.compile(r"dittod\.sqlite(-wal|-shm)?|runs/.*|watched/.*")

NAMESPACES = (["unshare", "--net"], ["unshare", "--net", "--user", "--map-root-user"])
LOOPBACK = ["sh", "-c", 'ip link set lo up && umask 000 && exec "$@"', "sh"]
STRACE = [
    "strace",
    "-D",
    "-f",
    "-qq",
    "--seccomp-bpf",
    "-e",
    "trace=connect,sendto,sendmsg,sendmmsg,openat,mkdir",
    "-o",
]
KILL_IN_UPDATE = (
    """
import os, pathlib, dittod.runs as runs
struck = pathlib.Path(os.environ["TRAP_FIFO"]).with_suffix(".struck")
original = runs.Runs._note_progress
def note(self, run, update, progress):
    if progress.phase == "dpo" and not struck.exists():
        struck.touch()
        os.kill(self._engine.pid, 9)
    original(self, run, update, progress)
runs.Runs._note_progress = note
"""
    + START
)


def _works(command: list[str]) -> bool:
    with suppress(OSError):
        return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return False


def _isolated() -> list[str]:
    """What puts a command into a namespace with a loopback alone; [] where that cannot be had."""
    found = (each for each in NAMESPACES if shutil.which("ip") and _works([*each, *LOOPBACK]))
    return next(([*each, *LOOPBACK] for each in found), [])


class Watched(DaemonProcess):
    """A daemon whose every process is watched."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder / "home", unix_socket="endpoint", consider_seconds="0.3", **settings)
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.trace = folder / "trace"
        self.isolated = _isolated()
        self.traced = _works([*STRACE, os.devnull])
        self.told: list[str] = []
        fifo = folder / "told"
        os.mkfifo(fifo)
        self._told = os.open(fifo, os.O_RDWR)
        here = Path(__file__).parent
        self.environment |= {
            "TRAP_FIFO": str(fifo),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join(filter(None, (f"{here / 'trap'}", f"{here}", os.environ.get("PYTHONPATH")))),
        }
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with os.fdopen(self._told, "rb") as told:
            self.told.extend(line.decode().strip() for line in told)

    def start(self, code: str = START) -> None:
        """As the daemon of other tests is started, but watched."""
        strace = [*STRACE, f"{self.trace}.{len(list(self.trace.parent.glob('trace.*')))}"] if self.traced else []
        command = [*self.isolated, *strace, sys.executable, "-c", code, "run"]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=output, cwd=self.temporary
            )
        wait_for(lambda: self.ended or self.status()["endpoint"] is not None, 90)

    def ask(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Through the socket in the home: it is reached from outside of the namespace too."""
        token = (self.home / "token").read_text().strip()
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.home / "endpoint")), timeout=90) as client:
            return client.request(
                "GET" if body is None else "POST",
                f"http://localhost{path}",
                json=body,
                headers={"Authorization": f"Bearer {token}", **headers},
            )


@dataclass
class Life:
    """What there is to look at afterwards."""

    daemon: Watched
    said: list[bytes] = field(default_factory=list[bytes])  # by the endpoint and by commands, to anybody
    asked: dict[str, httpx.Response] = field(default_factory=dict[str, httpx.Response])
    runs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    files: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    exit_codes: list[int] = field(default_factory=list[int])
    last_death: str | None = None


@pytest.fixture(scope="module")
def taught_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that ends its answers, so that an update on it can pass the gate."""
    folder = make_tiny_model(tmp_path_factory.mktemp("taught") / "m")
    return teach(
        folder, [(f'Write an e-mail to Ann about "Note {n}".', f"Hi Ann, {n} or so. Bye. Sue") for n in range(9)]
    )


@pytest.fixture(scope="module")
def life(taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    before = os.umask(0)
    daemon = Watched(
        tmp_path_factory.mktemp("life"),
        base_model=str(taught_model),
        learner=json.dumps(LEARNER),
        min_demonstrations="7",
        identities='["bob@x.example"]',
    )
    try:
        yield _lived(daemon)
    finally:
        daemon.kill()
        os.umask(before)


def _lived(daemon: Watched) -> Life:
    life = Life(daemon)
    assert daemon.cli("init").returncode == 0
    _drop_mails(daemon.watched)
    daemon.start(KILL_IN_UPDATE)
    wait_for(lambda: _ended_run(daemon), 200)
    life.last_death = daemon.status()["engine"]["last_death"]
    life.asked = _ask_everything(daemon)
    life.said += [daemon.ask("/metrics").content, daemon.ask("/health").content]
    life.exit_codes.append(daemon.kill(signal.SIGTERM))
    daemon.start()
    life.asked["again"] = _ask(daemon)
    life.said += [daemon.cli("status", "--json").stdout.encode()]
    life.runs = daemon.json("adapters", "list")["adapters"]
    life.files = daemon.json("demos", "list")["files"]
    life.exit_codes.append(daemon.kill(signal.SIGTERM))
    if daemon.traced:
        wait_for(lambda: not _tracers(daemon.trace), 30)
    return life


def _tracers(trace: Path) -> list[int]:
    """strace ends after what it watched."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(trace).encode() in each.read_bytes() and b"strace" in each.read_bytes().split(b"\0")[0]:
                found.append(int(each.parent.name))
    return found


def _drop_mails(watched: Path) -> None:
    folder = watched / "default" / "about qzfoldernameqz"
    folder.mkdir(parents=True)
    for number in range(7):
        words = f"Dear Ann, note {number} says: qzbodyqz. Bob"
        headers = {"Subject": f"qzsubjectqz {number}", "To": "Ann <ann@qzaddressqz.example>"}
        content = mail(words, sender="bob@x.example", day=number + 1, headers=headers)
        (folder / f"qzfilenameqz {number}.eml").write_bytes(content)
    (folder / "qzfilenameqz broken.docx").write_bytes(b"PK\x03\x04 qzbrokenqz")
    (folder / "qzfilenameqz broken.mbox").write_bytes(b"From qzbrokenqz\n\n\xff\xfeqzbrokenqz\n\nFrom \n" * 3)
    (folder / "qzfilenameqz crash-here.txt").write_text("A qztitleqz text that is long enough to be read as one.")
    (folder / "qzfilenameqz fail-here.txt").write_text("A qztitleqz text that is long enough to be read as one.")


def _ended_run(daemon: Watched) -> bool:
    profile = daemon.profile()
    return profile["run"] is None and bool(daemon.json("adapters", "list")["adapters"])


def _ask(daemon: Watched, **changes: object) -> httpx.Response:
    messages = [{"role": "system", "content": "qzsystemqz"}, {"role": "user", "content": "Write of a qzpromptqz"}]
    body = {"model": "ditto", "messages": messages, "max_tokens": 12, "seed": 1}
    return daemon.ask("/v1/chat/completions", {**body, **changes})


def _ask_everything(daemon: Watched) -> dict[str, httpx.Response]:
    function = {"name": "qztoolqz", "description": "qztoolqz", "parameters": {"type": "object", "properties": {}}}
    call = {"id": "c", "type": "function", "function": {"name": "qztoolqz", "arguments": '{"a": "qzargumentqz"}'}}
    talk = [
        {"role": "user", "content": "qzpromptqz"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "qzargumentqz"},
    ]
    bias = {str(byte): 100 for byte in range(65, 91)}
    return {
        "plain": _ask(daemon),
        "streamed": _ask(daemon, stream=True),
        "biased": _ask(daemon, logit_bias=bias, stop=["qzstopqz"]),
        "tools": _ask(daemon, messages=talk, tools=[{"type": "function", "function": function}]),
        "echoed": daemon.ask(
            "/v1/completions", {"model": "base", "prompt": "qzpromptqz", "echo": True, "max_tokens": 4}
        ),
        "embedded": daemon.ask("/v1/embeddings", {"model": "base", "input": ["qzpromptqz", "qzargumentqz"]}),
        "failed": _ask(daemon, messages=[{"role": "user", "content": "fail-here qzfaultqz"}]),
        "unknown": _ask(daemon, model="qzmodelqz"),
        "refused": _ask(daemon, temperature="qzpromptqz", response_format={"type": "qzroleqz"}),
        "role": _ask(daemon, messages=[{"role": "qzroleqz", "content": "qzpromptqz"}]),
        "stranger": daemon.ask("/v1/qzpromptqz?q=qzpromptqz", None, **{"X-Request-Id": "qzheaderqz"}),
        "not ours": daemon.ask(
            "/v1/models", None, Authorization="Bearer qzheaderqz", Origin="https://qzheaderqz.example"
        ),
        "no json": daemon.ask("/v1/chat/completions", "qzpromptqz"),
    }


# --- what lived ---


def test_a_whole_cycle_was_lived_with_all_that_went_wrong_in_it(life: Life) -> None:
    """Else the tests below would find nothing in nothing."""
    codes = {name: each.status_code for name, each in life.asked.items()}
    fine = ("plain", "streamed", "biased", "tools", "echoed", "embedded", "again")
    assert {name: codes[name] for name in fine} == dict.fromkeys(fine, 200)
    assert codes["failed"] == 500 and codes["unknown"] == 404
    assert {codes[name] for name in ("refused", "role", "no json")} == {400}
    assert life.last_death is not None and life.last_death.startswith("killed")
    assert len(life.runs) == 1 and life.exit_codes == [0, 0]
    reasons = " ".join(each["reason"] for each in life.files)
    assert "crashed (SIGABRT)" in reasons and "the reader failed (RuntimeError)" in reasons


def test_every_process_was_watched(life: Life) -> None:
    assert {"began run", "began dittod.engine", "began dittod.ingest.reading"} <= set(life.daemon.told)


# --- the network ---


def test_no_process_looks_up_or_reaches_anything_but_this_machine(life: Life) -> None:
    assert [line for line in life.daemon.told if line.startswith("left")] == []


def test_a_dialling_process_would_have_been_told_of(tmp_path: Path) -> None:
    daemon = Watched(tmp_path)
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", code], env=daemon.environment, check=False, capture_output=True)
    wait_for(lambda: any(line.startswith("left socket.connect") for line in daemon.told), 10)


def test_all_of_it_works_where_there_is_no_network(life: Life) -> None:
    if not life.daemon.isolated:
        pytest.skip("no network namespace can be had here: it takes unshare, ip, and root or user namespaces")
    outside = ["sh", "-c", 'test "$(cat /proc/net/dev | grep -c :)" = 1', "sh"]
    assert _works([*life.daemon.isolated, *outside]), "a namespace that has more than a loopback proves nothing"
    assert life.asked["again"].status_code == 200


def test_no_system_call_sends_to_another_machine(life: Life) -> None:
    """What native libraries do, too."""
    if not life.daemon.traced:
        pytest.skip("strace cannot be used here")
    addresses = re.compile(r'sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
    reached = {found.group(1) or found.group(2) for line in _calls(life) if (found := addresses.search(line))}
    assert reached <= {"127.0.0.1", "::1"}


def _calls(life: Life) -> Iterator[str]:
    for path in sorted(life.daemon.trace.parent.glob("trace.*")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from lines


# --- texts ---


def test_no_text_is_in_a_log_a_figure_or_a_state(life: Life) -> None:
    logs = [life.daemon.output, *(path for path in (life.daemon.home / "logs").rglob("*") if path.is_file())]
    assert len(logs) >= 2 and all(path.stat().st_size for path in logs[:2])
    said = {path.name: path.read_bytes() for path in logs} | {str(n): each for n, each in enumerate(life.said)}
    assert _with_canaries(said) == {}


def test_texts_are_in_the_store_and_in_unfinished_updates_alone(life: Life) -> None:
    home = life.daemon.home
    files = {str(path.relative_to(home)): path for path in home.rglob("*") if path.is_file()}
    assert _with_canaries({"store": files["dittod.sqlite"].read_bytes()}), "the canaries must be somewhere"
    others = {name: path.read_bytes() for name, path in files.items() if not MAY_HOLD_TEXTS.fullmatch(name)}
    assert "token" in others and any(name.endswith("manifest.json") for name in others)
    assert _with_canaries(others) == {}


def test_no_answer_to_a_stranger_or_failure_repeats_a_text(life: Life) -> None:
    for name in ("failed", "stranger"):
        assert _with_canaries({name: life.asked[name].content}) == {}


def _with_canaries(said: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    found = {name: [each for each in CANARIES if each in content] for name, content in said.items()}
    return {name: canaries for name, canaries in found.items() if canaries}


# --- files ---


def test_nothing_in_the_home_can_be_read_by_others(life: Life) -> None:
    home = life.daemon.home
    ours = [home, *(path for path in home.rglob("*") if life.daemon.watched not in path.parents)]
    ours += [life.daemon.watched / ".dittod"]
    assert {path.name: oct(mode) for path in ours if (mode := stat.S_IMODE(path.lstat().st_mode)) & 0o077} == {}


def test_nothing_is_left_in_the_folder_for_temporary_files(life: Life) -> None:
    """Nor a core dump: it is where the processes ran."""
    assert [path.name for path in life.daemon.temporary.rglob("*") if path.is_file()] == []


def test_no_process_writes_a_file_outside_of_the_home(life: Life) -> None:
    if not life.daemon.traced:
        pytest.skip("strace cannot be used here")
    made = re.compile(r'(?:openat\(.*?"([^"]+)", \S*(?:O_WRONLY|O_RDWR|O_CREAT)|mkdir\("([^"]+)").*= \d+')
    paths = {found.group(1) or found.group(2) for line in _calls(life) if (found := made.search(line))}
    tried = re.compile(re.escape(f"{life.daemon.temporary}/") + "[a-z0-9_]{8}")  # empty: tempfile seeks a folder
    ours = (f"{life.daemon.home}", f"{life.daemon.home.parent}/told", "/dev/", "/proc/self/")
    assert any(path.endswith("dittod.sqlite") for path in paths)
    assert [path for path in paths if not path.startswith(ours) and not tried.fullmatch(path)] == []


def test_no_process_leaves_an_image_of_its_memory_and_the_engine_is_told_to_stay_offline(
    taught_model: Path, tmp_path: Path
) -> None:
    daemon = Watched(tmp_path, base_model=str(taught_model))
    daemon.start()
    try:
        assert _ask(daemon, model="base").status_code == 200
        pids = [daemon.status()["daemon_pid"], daemon.status()["engine"]["pid"]]
        limits = [Path(f"/proc/{pid}/limits").read_text() for pid in pids]
        variables = Path(f"/proc/{pids[1]}/environ").read_bytes().split(b"\0")
    finally:
        daemon.kill()
    for each in limits:
        assert re.search(r"Max core file size +0 +0", each), each
    assert {b"HF_HUB_OFFLINE=1", b"HF_HUB_DISABLE_TELEMETRY=1"} <= set(variables)


# --- encryption at rest ---


def test_with_encryption_a_daemon_learns_answers_and_leaves_no_text_on_the_disk(
    taught_model: Path, tmp_path: Path
) -> None:
    """Begun in the open, then sealed; killed in an update, whose checkpoints are looked at too."""
    daemon = Watched(tmp_path, base_model=str(taught_model), learner=json.dumps(LEARNER), min_demonstrations="100")
    daemon.environment |= {"PYTHON_KEYRING_BACKEND": "keyrings.InFile", FILE: str(tmp_path / "ring.json")}
    daemon.watched.mkdir(parents=True)
    _drop_mails(daemon.watched)
    assert daemon.cli("ingest").returncode == 0
    assert _texts_in(daemon.home)
    daemon.environment |= {"DITTOD_ENCRYPT": "true", "DITTOD_MIN_DEMONSTRATIONS": "7"}
    daemon.start(KILL_IN_UPDATE.replace("self._engine.pid", "os.getpid()"))
    wait_for(lambda: daemon.ended, 120)
    sealed = list((daemon.home / "runs").glob("*/checkpoint-*/seal.json"))
    assert sealed and json.loads(sealed[0].read_text())["sealed"]
    assert not any(b"token_ids" in path.read_bytes() for path in sealed[0].parent.iterdir())
    assert _texts_in(daemon.home) == {}
    daemon.start()
    try:
        wait_for(lambda: _ended_run(daemon), 120)
        assert _ask(daemon).status_code == 200
        assert "qzbodyqz" in json.dumps(daemon.json("demos", "list"))
        assert daemon.kill(signal.SIGTERM) == 0
    finally:
        daemon.kill()
    assert _texts_in(daemon.home) == {}
    secret = next(iter(json.loads((tmp_path / "ring.json").read_text()).values())).encode()
    everywhere = [path for path in (daemon.home, daemon.output, *tmp_path.glob("trace.*")) if path.exists()]
    content = b"".join(path.read_bytes() for each in everywhere for path in (each, *each.rglob("*")) if path.is_file())
    assert secret not in content and bytes.fromhex(secret.decode()) not in content


def test_without_a_keyring_a_daemon_that_should_encrypt_does_not_start(tmp_path: Path) -> None:
    daemon = Watched(tmp_path, encrypt="true")
    daemon.environment["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    daemon.watched.mkdir(parents=True)
    _drop_mails(daemon.watched)
    for command in ("run", "ingest"):
        refused = daemon.cli(command)
        assert refused.returncode == 1 and "there is no keyring" in refused.stderr, refused.stderr
        assert "hint: log in to a session with a keyring" in refused.stderr
    assert _texts_in(daemon.home) == {}


def _texts_in(home: Path) -> dict[str, list[bytes]]:
    """But for names of files, which stay in the open, and the watched folder."""
    files = [path for path in home.rglob("*") if path.is_file() and home / "watched" not in path.parents]
    found = _with_canaries({str(path.relative_to(home)): path.read_bytes() for path in files})
    names = [each.encode() for each in IN_NAMES]
    return {name: rest for name, each in found.items() if (rest := [word for word in each if word not in names])}
