"""`dittod connect`: settings on stdout, everything else on stderr; what is written is proved with a request."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from conftest import Command
from endpoints import note_endpoint, standing_in

from dittod.paths import Home
from dittod.store import Store
from dittod_service.server import Terms

from ..service.conftest import _certificate
from ..service.fakes import FakeBackend


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("XDG_CONFIG_HOME", "LLM_USER_PATH", "CODEX_HOME", "DITTO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setattr("sys.platform", "linux")
    made = Home(tmp_path / "home")
    made.create()
    return made


@contextmanager
def running(home: Home, terms: Terms) -> Iterator[FakeBackend]:
    """Whom the endpoint asks."""
    backend = FakeBackend()
    with standing_in(home, backend, terms):
        yield backend


@pytest.fixture
def backend(home: Home) -> Iterator[FakeBackend]:
    with running(home, Terms()) as backend:
        yield backend


def address(home: Home) -> str:
    store = Store(home.store)
    url = store.noted("endpoint")["url"]
    store.close()
    return str(url)


def test_alone_it_lists_every_client_in_eighty_columns(
    home: Home, dittod: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = dittod("connect")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 16 and all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["client", "about", "context", "set", "up", "by"]
    listed = json.loads(dittod("connect", "--json")[1])
    assert listed["url"] == "http://127.0.0.1:3488/v1" and len(listed["clients"]) == 15
    assert home.token() not in json.dumps(listed)


def test_settings_are_printed_alone_and_proved(home: Home, backend: FakeBackend, dittod: Command) -> None:
    code, out, err = dittod("connect", "zed", "--model", "ditto/email")
    assert code == 0, err
    provider = json.loads(out)["language_models"]["openai_compatible"]["dittod"]
    assert provider["api_url"] == f"{address(home)}/v1"
    assert "answered a request as Zed will send it" in err and "~/.config/zed/settings.json" in err
    (asked,) = backend.asked
    assert asked.profile == "email" and asked.sampling.max_tokens == 8


def test_the_context_is_the_models_and_too_short_a_one_is_told(
    home: Home, backend: FakeBackend, dittod: Command
) -> None:
    code, out, err = dittod("connect", "codex")
    size = int(next(line for line in out.splitlines() if "context_window" in line).split("= ")[1])
    assert code == 0 and size < 9000
    assert f"9,000 tokens before your first word, and there is room for {size:,}: set a base_model" in err


def test_written_settings_are_shown_kept_and_proved(home: Home, backend: FakeBackend, dittod: Command) -> None:
    config = home.root.parent / ".continue" / "config.yaml"
    config.parent.mkdir()
    config.write_text("# mine\nname: Mine\nversion: 1.0.0\nschema: v1\n")
    code, out, err = dittod("connect", "continue", "--write")
    assert code == 0 and out == "", err
    assert "+  - name: ditto" in err and "+DITTO_TOKEN=«TOKEN»" in err and home.token() not in err
    (kept,) = (home.root / "backups").iterdir()
    assert f"as it was: {kept}\n" in err and kept.name.startswith("continue-config.yaml-")
    assert kept.read_text() == "# mine\nname: Mine\nversion: 1.0.0\nschema: v1\n" and "Mine" not in err
    assert config.read_text().startswith("# mine\nname: Mine\n")
    assert yaml.safe_load(config.read_text())["models"][0]["apiBase"] == f"{address(home)}/v1"
    before = sorted(each.name for each in config.parent.iterdir())
    code, _, err = dittod("connect", "continue", "--write")
    assert code == 0 and err.count("has it already") == 2 and "written: " not in err
    assert sorted(each.name for each in config.parent.iterdir()) == before
    assert len(backend.asked) == 2


def test_what_stands_in_the_file_is_what_is_proved(home: Home, backend: FakeBackend, dittod: Command) -> None:
    """A key that llm's file has for dittod is replaced; the request went out with what was written."""
    keys = home.root.parent / ".config" / "io.datasette.llm" / "keys.json"
    keys.parent.mkdir(parents=True)
    keys.write_text(json.dumps({"openai": "sk-other", "dittod": "an-old-one"}))
    code, _, err = dittod("connect", "llm", "--write")
    assert code == 0 and json.loads(keys.read_text()) == {"openai": "sk-other", "dittod": home.token()}, err
    assert "sk-other" not in err and "an-old-one" not in err


def test_a_wrong_key_in_the_environment_is_found_out(
    home: Home, backend: FakeBackend, dittod: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DITTO_TOKEN", "an-old-one")
    code, out, err = dittod("connect", "codex")
    assert code == 1 and "model_provider" in out and "error:" in err and backend.asked == []


def test_nothing_is_written_where_one_of_the_files_cannot_be(home: Home, backend: FakeBackend, dittod: Command) -> None:
    (home.root.parent / ".aider.model.metadata.json").write_text("{")
    code, _, err = dittod("connect", "aider", "--write")
    assert code == 1 and "aider.model.metadata.json is left as it is: line 1 is not valid JSON" in err
    assert not (home.root.parent / ".aider.dittod.conf.yml").exists() and backend.asked == []


def test_a_page_is_refused_until_its_origin_is_allowed(home: Home, dittod: Command) -> None:
    with running(home, Terms()):
        code, out, err = dittod("connect", "obsidian")
    assert code == 1 and home.token() in out
    assert 'allowed_origins = ["app://obsidian.md"]' in err and "of this origin may not ask here" in err
    home.settings.write_text('allowed_origins = ["app://obsidian.md"]\n')
    with running(home, Terms(allowed_origins=("app://obsidian.md",))):
        code, _, err = dittod("connect", "obsidian")
    assert code == 0 and "allowed_origins" not in err


def test_over_tls_the_certificate_has_to_hold_for_the_address(home: Home, dittod: Command, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    home.settings.write_text(f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n')
    with running(home, Terms(tls=(certificate, key))):
        code, out, err = dittod("connect", "zed")
        assert code == 0 and '"api_url": "https://127.0.0.1:' in out and "one that this client trusts" in err
        note_endpoint(home, address(home).replace("127.0.0.1", "localhost"))
        code, _, err = dittod("connect", "zed")
    assert code == 1 and "the certificate of the endpoint does not hold for https://localhost" in err


def test_where_there_is_no_file_writing_says_what_to_do(home: Home, backend: FakeBackend, dittod: Command) -> None:
    code, out, err = dittod("connect", "open-webui", "--write")
    assert code == 1 and "Admin Panel" in err and "Open WebUI has no file that dittod could write" in err
    assert '"$(dittod token)"' in out and home.token() not in out and backend.asked == []


def test_a_file_with_the_token_that_git_would_take_along_is_told(
    home: Home, backend: FakeBackend, dittod: Command
) -> None:
    project = home.root.parent / "project"
    (project / ".git").mkdir(parents=True)  # of which git knows nothing, so that it cannot say
    said = f"{project / '.env'} has your token in it, and git does not ignore it"
    code, _, err = dittod("connect", "env", "--folder", str(project), "--write")
    assert code == 0 and said in err
    assert said in json.loads(dittod("connect", "env", "--folder", str(project), "--write", "--json")[1])["warnings"][0]
    assert "git" not in dittod("connect", "litellm", "--folder", str(project), "--write")[2]  # its file has no token


def test_without_a_daemon_the_settings_are_there_and_the_way_to_start_it(home: Home, dittod: Command) -> None:
    code, out, err = dittod("connect", "env")
    assert code == 1 and "OPENAI_BASE_URL=http://127.0.0.1:3488/v1\n" in out
    assert "hint: start it: dittod run" in err and "then: dittod connect env" in err


def test_a_document_says_what_was_written_and_proved(home: Home, backend: FakeBackend, dittod: Command) -> None:
    code, out, _ = dittod("connect", "aider", "--write", "--json")
    value = json.loads(out)
    assert code == 0 and value["proof"]["pieces"] > 0 and len(value["written"]) == 3 and value["warnings"] == []
    assert home.token() not in out and "«TOKEN»" in out
    assert home.token() in (home.root.parent / ".aider.dittod.conf.yml").read_text()


def test_a_document_that_could_not_be_proved_is_printed_all_the_same(home: Home, dittod: Command) -> None:
    code, out, err = dittod("connect", "zed", "--json")
    assert code == 1 and json.loads(out)["proof"] is None and "nothing answers" in err


def test_a_folder_is_asked_for_where_one_is_needed(home: Home, backend: FakeBackend, dittod: Command) -> None:
    code, _, err = dittod("connect", "librechat", "--write")
    assert code == 1 and "dittod connect librechat --folder FOLDER --write" in err
    code, _, err = dittod("connect", "librechat", "--write", "--folder", str(home.root / "none"))
    assert code == 1 and "is no folder" in err
    code, _, err = dittod("connect", "zed", "--write", "--folder", str(home.root))
    assert code == 1 and "says nothing here" in err
    chats = home.root.parent / "chats"
    chats.mkdir()
    (chats / ".env").write_text("PORT=3080\n")
    assert dittod("connect", "librechat", "--write", "--folder", str(chats))[0] == 0
    assert (chats / ".env").read_text() == f"PORT=3080\nDITTO_TOKEN={home.token()}\n"
    assert yaml.safe_load((chats / "librechat.yaml").read_text())["endpoints"]["custom"][0]["name"] == "dittod"


def test_a_mistyped_name_is_told_the_nearest(home: Home, dittod: Command) -> None:
    assert dittod("connect", "oobsidian")[2].splitlines()[-1] == "hint: did you mean obsidian?"
    assert "one of: env, openai" in dittod("connect", "x9")[2]


def test_a_model_that_there_is_not_is_told_before_anything_is_written(
    home: Home, backend: FakeBackend, dittod: Command
) -> None:
    code, _, err = dittod("connect", "zed", "--write", "--model", "ditto/nobody")
    assert code == 1 and "nobody" in err
    assert not (home.root.parent / ".config" / "zed").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user for whom permissions count")
def test_a_file_that_may_not_be_read_is_an_error_with_a_hint(home: Home, backend: FakeBackend, dittod: Command) -> None:
    settings = home.root.parent / ".aider.dittod.conf.yml"
    settings.write_text("")
    settings.chmod(0)
    assert "correct its permissions" in dittod("connect", "aider", "--write")[2]
