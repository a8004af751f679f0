"""Every client's settings: a request can be read back from them, no text has the token before it is asked for, and the
documentation says what the code says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dittod.clients import all_clients, command, document
from dittod.clients.formats import parsed, text_of
from dittod.clients.proving import read_back
from dittod.clients.shape import TOKEN, Client

from .texts import ADDRESS, KEY

DOCS = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
CLIENTS = all_clients(ADDRESS)
each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "LLM_USER_PATH", "CODEX_HOME", "DITTO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")


@pytest.mark.parametrize("model", ["ditto", "ditto/email", "ditto/email@3"])
@pytest.mark.parametrize("name", [each.name for each in CLIENTS])
def test_a_request_is_read_back_from_the_settings(name: str, model: str) -> None:
    client = next(each for each in all_clients(f"{ADDRESS}/v1/", model, token=KEY) if each.name == name)
    asked = read_back(client, [text_of(part) for part in client.parts], KEY)
    assert (asked.key, asked.model) == (KEY, model)
    assert asked.url == f"{ADDRESS}/v1/{client.proof.route}"


@each_client
def test_settings_survive_their_format(client: Client) -> None:
    for part in client.parts:
        if part.settings is not None:
            fresh = {**part.fresh, **part.settings} if isinstance(part.settings, dict) else part.settings
            assert parsed(part.language, text_of(part)) == fresh


@each_client
def test_a_document_is_json_without_the_token(client: Client) -> None:
    value = json.loads(json.dumps(document(client)))
    assert value["command"].startswith(f"dittod connect {client.name}") and value["parts"] and value["steps"]
    assert all({"path", "language", "text"} == set(part) for part in value["parts"])
    secret = next(each for each in all_clients(ADDRESS, token=KEY) if each.name == client.name)
    for part, other in zip(client.parts, secret.parts, strict=True):
        assert text_of(other).replace(KEY, TOKEN) == text_of(part)


@each_client
def test_the_documentation_has_a_section_that_begins_with_the_command(client: Client) -> None:
    assert f"```sh\n{command(client)}\n```" in _section(client)


@each_client
def test_the_documentation_shows_the_settings_as_they_are_printed(client: Client) -> None:
    for part in client.parts:
        assert f"\n{text_of(part)}```" in _section(client), f"{client.name}: {part.path or part.language}"


def test_every_command_in_the_documentation_is_one_of_a_client() -> None:
    named = set(re.findall(r"dittod connect ([a-z-]+)", DOCS))
    assert named == {client.name for client in CLIENTS}


def test_clients_with_long_prompts_say_so() -> None:
    assert {each.name for each in CLIENTS if each.least_tokens > 1024} == {"codex", "opencode", "continue"}


def _section(client: Client) -> str:
    found = re.search(rf"^### {re.escape(client.title)}\n(.*?)(?=^##|\Z)", DOCS, re.MULTILINE | re.DOTALL)
    assert found, f"no section for {client.title}"
    return found[1]
