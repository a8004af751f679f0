"""Every block of README and docs is what it says it is: commands that the command line takes, settings that can be
loaded, documents that can be parsed, programs that compile. What is run, and what is not and why, is in
test_blocks_run.py and shell.py."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_cli_help import calls_in, parse

from dittod.config import Settings, load_settings
from dittod.paths import Home

from .pages import GUIDE, ROOT, Block, blocks_of
from .shell import COMMANDS, NOT_RUN, Command

BLOCKS = [block for page in GUIDE for block in blocks_of(page)]
DRAWN = {"", "text"}  # trees, drawings, what a program says
LANGUAGES = DRAWN | {"sh", "python", "js", "toml", "yaml", "json", "dotenv"}
EAGER = {"--help", "--version", "--install-completion"}  # they would be done at once
PROGRAM = re.compile(r"^(\$ +)?(dittod|pip|pipx|make|curl|docker|git|ssh|export) ")


def each_block(language: str) -> Any:
    found = [block for block in BLOCKS if block.language == language]
    assert found, language
    return pytest.mark.parametrize("block", found, ids=lambda block: block.name)


each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda each: f"{each.block.name} {each.words[:40]}")


def test_every_block_is_in_a_language_that_is_checked() -> None:
    assert [block.name for block in BLOCKS if block.language not in LANGUAGES] == []


def test_no_command_hides_in_a_drawing() -> None:
    lines = [(block.name, line) for block in BLOCKS if block.language in DRAWN for line in block.text.splitlines()]
    assert [each for each in lines if PROGRAM.match(each[1])] == []


@each_block("sh")
def test_a_shell_takes_it(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@each_command
def test_the_command_line_takes_it(command: Command) -> None:
    """With its options and sub-commands as they are today."""
    for arguments in calls_in(command.text.replace("\\\n", " ")) if "docker" not in command.text else []:
        if rest := [each for each in arguments if each not in EAGER]:
            parse(rest)


def test_a_command_that_is_none_would_be_seen() -> None:
    block = Block(ROOT / "README.md", 1, "sh", "dittod stauts --json\n")
    with pytest.raises(Exception, match="No such command"):
        test_the_command_line_takes_it(Command(block, block.text.strip()))


def test_every_target_of_make_is_one() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {match[1] for each in COMMANDS if (match := re.match(r"make (\w+)", each.words))}
    assert named and named <= targets


def test_every_reason_not_to_run_a_command_is_needed() -> None:
    used = {command.reason for command in COMMANDS}
    assert [begins for begins, reason in NOT_RUN.items() if reason not in used] == []


@each_block("toml")
def test_settings_can_be_loaded(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = tomllib.loads(block.text)
    if not set(values) <= set(Settings.model_fields):
        assert block.page.name == "clients.md"  # a client's own
        return
    for name in [f"DITTOD_{each.upper()}" for each in values]:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "dittod.toml").write_text(block.text, encoding="utf-8")
    assert set(values) <= load_settings(Home(tmp_path)).model_fields_set


@each_block("json")
def test_json_can_be_parsed(block: Block) -> None:
    assert json.loads(block.text)


@each_block("yaml")
def test_yaml_can_be_parsed(block: Block) -> None:
    assert yaml.safe_load(block.text)


@each_block("dotenv")
def test_variables_are_lines_of_names_and_values(block: Block) -> None:
    assert all(re.fullmatch(r"[A-Z_]+=\S+", line) for line in block.text.splitlines())


@each_block("python")
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.name, "exec")


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
@each_block("js")
def test_javascript_compiles(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "block.mjs"
    path.write_text(block.text, encoding="utf-8")
    done = subprocess.run(["node", "--check", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
