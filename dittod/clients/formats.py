"""Settings as texts of each format, and back. Knows no client and no file."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from typing import Any

import yaml

from dittod.clients import json_text
from dittod.clients.shape import Language, Part, Settings

_PAIR = re.compile(r"""(\w+)\s*[:=]\s*(?:["']([^"']*)["']|([\w.:/@«»-]+(?:\[["']\w+["']\])?))""")
_PLAIN = re.compile(r"[\w.:/@%+«»-]*")


class _Indented(yaml.SafeDumper):
    """Items of lists stand further in than their list's name, as most people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def to_yaml(settings: Settings) -> str:
    """In blocks, in the order given."""
    text: str = yaml.dump(settings, Dumper=_Indented, sort_keys=False, allow_unicode=True, width=10**6)
    return text


def to_json(settings: Settings) -> str:
    """With two spaces."""
    return json.dumps(settings, ensure_ascii=False, indent=2) + "\n"


def to_toml(settings: Settings) -> str:
    """Values first, then tables, as deep as they go."""
    return "\n".join(_toml_lines(settings, "")).strip("\n") + "\n"


def env_value(value: str) -> str:
    """In quotes where a shell would see more than one word."""
    return value if _PLAIN.fullmatch(value) else f'"{value}"'


def text_of(part: Part) -> str:
    """What to paste, or what a file that is not there yet is to hold."""
    if part.settings is None:
        return part.text
    whole = {**part.fresh, **part.settings} if isinstance(part.settings, dict) else part.settings
    if part.language == "json":
        return to_json(whole)
    if part.language == "yaml":
        return to_yaml(whole)
    if part.language == "toml":
        return to_toml(whole)
    return "".join(f"{name}={env_value(value)}\n" for name, value in whole.items())


def parsed(language: Language, text: str) -> Settings:
    """The settings in a text. Raises ValueError with the place of a fault, never with what stands there."""
    if language == "json":
        return json_text.read(text).value
    if language == "yaml":
        return _from_yaml(text)
    if language == "toml":
        return _from_toml(text)
    if language in ("env", "sh"):
        return _from_shell(text)
    return {name: quoted or bare for name, quoted, bare in _PAIR.findall(text)}


def _from_toml(text: str) -> Settings:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise ValueError(f"line {line[1]} is not valid TOML" if line else "it is not valid TOML") from None


def _from_yaml(text: str) -> Settings:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"line {line} is not valid YAML") from None
    except (yaml.YAMLError, RecursionError):
        raise ValueError("it is not valid YAML") from None


def _from_shell(text: str) -> dict[str, str]:
    """Every assignment, whether exported or written before a command."""
    words = [word for line in text.splitlines() for word in _words(line)]
    pairs = (word.partition("=") for word in words if re.match(r"[A-Za-z_]\w*=", word))
    return {name: value for name, _, value in pairs}


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a quote that is not closed: some programs take it as it is
        return line.split()


def _toml_lines(settings: dict[str, Any], name: str) -> list[str]:
    """JSON's texts, numbers and truths are TOML's, too."""
    plain = {key: json.dumps(each, ensure_ascii=False) for key, each in settings.items() if not isinstance(each, dict)}
    values = [f"{key} = {each}" for key, each in plain.items()]
    lines = ["", f"[{name}]", *values] if name and values else values
    for key, each in settings.items():
        if isinstance(each, dict):
            lines += _toml_lines(each, f"{name}.{key}" if name else key)
    return lines
