"""Commands out of the blocks of the documents: one by one, with what is not run on this machine and why.

It knows how a shell tells one command from the next, not what a command does.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import dropwhile

from .pages import GUIDE, Block, blocks_of

NOT_RUN = {  # patterns of what commands begin with that are only parsed, each with the reason
    "dittod run": "it does not end; the daemon that answers all others is one",
    "dittod update --wait": "minutes of learning; tests/test_life_of_versions.py",
    "dittod init --model": "asks a model hub; tests/test_cli_init.py has one of its own",
    "dittod init --folder": "the same, and starts a service",
    "dittod service": "changes what this machine starts; tests/background",
    "dittod uninstall": "likewise; tests/test_cli_uninstall.py",
    "dittod forget": "asks first; tests/test_cli_forget.py",
    "dittod logs -f": "it does not end; tests/test_cli_logs.py",
    "dittod chat$": "a conversation; tests/test_cli_chat.py",
    "make": "sets up environments, tests, packages: what runs this test",
    "pip": "installs; tests/test_packages.py",
    "pipx": "installs; tests/test_packages.py",
    "uv": "installs; tests/test_packages.py",
    "python3 -m venv": "installs; tests/test_packages.py",
    "~/dittod-environment": "installs; tests/test_packages.py",
    "sudo": "changes this machine",
    "docker": "changes this machine; tests/test_packages.py reads the Dockerfile",
    "mkdir": "for Docker",
    "cp": "the reader's own mails",
    "export PIP_EXTRA_INDEX_URL": "its address is for the reader to fill in",
    "ssh": "needs another machine",
    "open-webui": "not installed here; docs/clients.md says what was tried",
    "lm_eval": "not installed here; docs/clients.md says what was tried",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One of a block, as it stands there."""

    block: Block
    text: str

    @property
    def words(self) -> str:
        """Without the variables that are set for it, in one line."""
        words = shlex.split(self.text.replace("\\\n", " "), comments=True)
        return " ".join(dropwhile(lambda word: re.match(r"\w+=", word), words))

    @property
    def reason(self) -> str | None:
        """Why it is not run. The longest beginning counts."""
        found = [each for each in NOT_RUN if re.match(rf"{each}(\W|$)", self.words)]
        return NOT_RUN[max(found, key=len)] if found else None


def commands_of(block: Block) -> list[Command]:
    """Lines that go on, by a backslash or within quotes, belong together."""
    found, text = [], ""
    for line in block.text.splitlines():
        text += line
        if text.endswith("\\") or not _is_closed(text):
            text += "\n"
            continue
        if shlex.split(text, comments=True):
            found.append(Command(block, text))
        text = ""
    assert not text, f"{block.name}: a quote is not closed"
    return found


def _is_closed(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


COMMANDS = [
    each for page in GUIDE for block in blocks_of(page) if block.language == "sh" for each in commands_of(block)
]
