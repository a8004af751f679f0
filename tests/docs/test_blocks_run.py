"""What the documents tell their readers to type works: against a real daemon on the embedded model, in a home of its
own.

Left out is what shell.py lists with its reason. What stands for something of the reader's is replaced, visibly: MEANT.
Nothing is learnt, so base answers for every voice.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from daemons import START, DaemonProcess, wait_for

from .pages import GUIDE, Block, blocks_of
from .shell import COMMANDS, Command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ADDRESS = "http://127.0.0.1:3488"
TO_RUN = list({each.words: each for each in COMMANDS if each.reason is None}.values())  # the same one once
PROGRAMS = [block for page in GUIDE for block in blocks_of(page) if block.language == "python"]
NOT_INSTALLED = {"langchain_openai"}  # not with this: tests/clients/test_real.py brings it
GOES_ON = {"OpenAIEmbeddings", "ChatOllama"}  # names that a block has from the one before it


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who follows the documents: a shell, a folder, and a daemon that has read their mails."""

    daemon: DaemonProcess
    folder: Path
    environment: dict[str, str]

    def types(self, text: str) -> subprocess.CompletedProcess[str]:
        """In a shell, which stays until the end, as one that is typed into does; nobody sits at its terminal."""
        return self._run(["bash", "-euo", "pipefail", "-c", f"{self.meant(text)}\n:"])

    def runs(self, program: str) -> subprocess.CompletedProcess[str]:
        """With the Python that dittod has."""
        return self._run([sys.executable, "-W", "error", "-c", self.meant(program)])

    def meant(self, text: str) -> str:
        """With what is the reader's in place of what stands for it."""
        for stands_for, instead in MEANT.items():
            text = text.replace(stands_for, instead)
        kept = self.daemon.json("feedback", "answers") if "chatcmpl-" in text else []
        said = self.daemon.json("feedback", "list") if "fb-" in text else []
        text = re.sub(r"chatcmpl-\S+", lambda _: kept[0]["id"], text)
        text = re.sub(r"fb-\w+", lambda _: said[0]["id"], text)
        token = self.environment["DITTO_TOKEN"]
        text = re.sub(r'api_key="(\.\.\.|…)"', f'api_key="{token}"', text)
        return text.replace(ADDRESS, str(self.daemon.status()["endpoint"]).removesuffix("/v1"))

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


MEANT = {
    "email@2": "ditto/email",  # nothing is learnt here
    "--folder FOLDER": "--folder .",
    "dry-run PATH": "dry-run better.txt",
}
FIRST = (  # so that there is an answer that is kept, and a remark on one
    "dittod chat ditto/email 'Ask Bo for tea.'",
    "dittod feedback add --prompt 'Thank Tom.' --given answer.txt --rate down --profile email",
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    daemon = DaemonProcess(
        folder / "home",
        watched_folder=str(folder / "watched"),
        keep_interactions=json.dumps({"default": 1.0, "email": 1.0}),
        allowed_origins='["moz-extension://*", "app://obsidian.md"]',  # as docs/clients.md says
        min_demonstrations="100",
        improve_prompts="false",
    )
    try:
        yield _settled(daemon, folder)
    finally:
        daemon.kill()


def _settled(daemon: DaemonProcess, folder: Path) -> Reader:
    mails = sorted(files("dittod.cli").joinpath("demo_mails").iterdir(), key=lambda each: each.name)
    for profile, of_it in (("email", mails[:14]), (".", mails[14:])):
        (folder / "watched" / profile).mkdir(parents=True, exist_ok=True)
        for each in of_it:
            (folder / "watched" / profile / each.name).write_bytes(each.read_bytes())
    for name in ("better.txt", "answer.txt", "question.txt"):
        (folder / name).write_text("The tide waits for no cardigan, and neither do I.\n", encoding="utf-8")
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")  # else curl is content with any answer
    program = folder / "bin" / "dittod"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{START}\n")
    program.chmod(0o755)
    daemon.start()
    wait_for(lambda: all(daemon.profile(name)["demonstrations"] for name in ("email", "default")), 60)
    made = Reader(daemon, folder, _environment(daemon, folder))
    for first in FIRST:
        done = made.types(first)
        assert done.returncode == 0, done.stderr
    return made


def _environment(daemon: DaemonProcess, folder: Path) -> dict[str, str]:
    """Nothing of whoever runs the tests: commands write into the files of clients, which variables may name."""
    kept = {"LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS"}
    ours = {name: value for name, value in daemon.environment.items() if name.startswith("DITTOD_") or name in kept}
    return {
        **ours,
        "HOME": str(folder),
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "DITTO_TOKEN": daemon.cli("token").stdout.strip(),
    }


@pytest.mark.parametrize("command", TO_RUN, ids=lambda each: f"{each.block.name} {each.words[:40]}")
def test_a_command_does_what_it_should(reader: Reader, command: Command) -> None:
    done = reader.types(command.text)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.name)
def test_a_program_runs(reader: Reader, block: Block) -> None:
    missing = [name for name in NOT_INSTALLED if name in block.text and find_spec(name) is None]
    if missing or any(name in block.text and "import" not in block.text for name in GOES_ON):
        pytest.skip(f"goes on from another block, or needs {missing}: tests/clients/test_real.py")
    done = reader.runs(block.text)
    assert done.returncode == 0, done.stderr
