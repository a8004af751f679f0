"""`dittod compare`: the endpoint of a running daemon is asked, or an engine of the command's own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemons import DaemonProcess

from dittod.cli.terminal import out
from dittod.errors import EngineUnavailable
from dittod.machine.lock import held
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod_service.server import Server, Terms

from .service.conftest import _certificate
from .service.fakes import EMAIL, FakeBackend

TERMS = Terms()
SAID = "Kind regards, Ærik"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    made = Home(tmp_path / "home")
    made.create()
    return made


@contextmanager
def running(home: Home, host: str = "127.0.0.1", terms: Terms = TERMS) -> Iterator[FakeBackend]:
    """An endpoint that stands for a running daemon's, and whom it asks."""
    backend = FakeBackend()
    server = Server(backend, home.token(), host=host, port=0, terms=terms)
    note_endpoint(home, server.url)
    thread = threading.Thread(target=lambda: asyncio.run(server.listen_and_serve()))
    thread.start()
    with held(home.lock):
        yield backend
    server.should_exit = True
    thread.join(15)


@pytest.fixture
def backend(home: Home) -> Iterator[FakeBackend]:
    with running(home) as backend:
        yield backend


def there_are(home: Home, profile: str) -> None:
    """Files of this profile, too."""
    store = Store(home.store)
    store.record_file(FileRow(f"{profile}.eml", profile, 1, 1, "read", "", (), {}, 1.0))
    store.close()


def note_endpoint(home: Home, url: str) -> None:
    store = Store(home.store)
    store.note("endpoint", {"url": url})
    store.close()


def test_both_are_asked_the_same_with_the_same_seed(backend: FakeBackend, dittod) -> None:
    code, out, err = dittod("compare", "What of tea?", "base", "ditto/email", "--seed", "3")
    assert code == 0 and "the same again: --seed 3" in err
    one, other = backend.asked
    assert (one.adapter, other.adapter) == (None, EMAIL)
    assert one.sampling == other.sampling and one.messages == other.messages
    assert one.sampling.seed == 3 and one.messages is not None and one.messages[0].content == "What of tea?"
    titles, said = out.splitlines()[:2]
    assert titles.split() == ["base", "ditto/email"] and said.split("  ")[0] == SAID
    assert said.index(SAID, 1) == titles.index("ditto/email"), "each under its title"


def test_answers_stand_one_under_the_other_in_a_narrow_terminal(
    backend: FakeBackend, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = dittod("compare", "Tea?", "base", "ditto/email")[1].splitlines()
    assert [line.strip(" -") for line in lines] == ["base", SAID, "ditto/email", SAID]
    assert max(map(len, lines)) <= out.width == 60


def test_versions_may_be_called_as_other_commands_call_them(backend: FakeBackend, dittod) -> None:
    value = json.loads(dittod("compare", "Tea?", "email@1", "ditto/email@1", "--json")[1])
    assert [each["model"] for each in value["answers"]] == ["email@1", "ditto/email@1"]
    assert {each["adapter"] for each in value["answers"]} == {EMAIL.id}


def test_the_document_says_what_was_asked_and_who_answered(backend: FakeBackend, dittod) -> None:
    value = json.loads(dittod("compare", "Tea?", "--seed", "5", "--json")[1])
    assert value["prompt"] == "Tea?" and value["seed"] == 5
    assert value["answers"][1] == {"model": "ditto", "adapter": "base", "text": SAID, "finish_reason": "stop"}


def test_a_seed_that_nobody_named_is_said(backend: FakeBackend, dittod) -> None:
    err = dittod("compare", "Tea?")[2]
    assert backend.asked[0].sampling.seed == backend.asked[1].sampling.seed == int(err.rsplit(" ", 1)[1])


def test_an_alias_that_serves_nothing_yet_is_marked(backend: FakeBackend, dittod) -> None:
    assert "ditto (answered by base)" in dittod("compare", "Tea?")[1]


def test_an_unknown_name_is_refused_with_those_that_there_are(backend: FakeBackend, dittod) -> None:
    code, out, err = dittod("compare", "Tea?", "base", "ditto/poems")
    assert (code, out) == (1, "")
    assert "There is no model 'ditto/poems'" in err and "ditto/email" in err


def test_without_a_default_profile_the_only_voice_is_asked(backend: FakeBackend, home: Home, dittod) -> None:
    there_are(home, "email")
    assert dittod("compare", "Tea?")[0] == 0
    assert [each.adapter for each in backend.asked] == [None, EMAIL]
    there_are(home, "blog")
    code, _, err = dittod("compare", "Tea?")
    assert code == 1 and "there are several voices" in err and "ditto/blog, ditto/email" in err
    there_are(home, "default")
    assert "ditto (answered by base)" in dittod("compare", "Tea?")[1]


def test_an_empty_prompt_is_refused(home: Home, dittod) -> None:
    code, _, err = dittod("compare", " ")
    assert code == 1 and "there is nothing to ask" in err


def test_what_the_endpoint_refuses_is_said_in_its_words(backend: FakeBackend, dittod) -> None:
    backend.error = EngineUnavailable("the engine died", "try again")
    code, out, err = dittod("compare", "Tea?")
    assert (code, out) == (1, "") and "error: the engine died\nhint: try again" in err


def test_an_endpoint_for_all_addresses_with_a_certificate_of_its_own_is_asked_here(
    home: Home, dittod, tmp_path: Path
) -> None:
    certificate, key = _certificate(tmp_path)
    home.settings.write_text(f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n')
    with running(home, "0.0.0.0", Terms(tls=(certificate, key))) as backend:
        assert SAID in dittod("compare", "Tea?")[1] and len(backend.asked) == 2
        home.settings.write_text("")
        code, _, err = dittod("compare", "Tea?")
    assert code == 1 and "the endpoint does not answer" in err, "its certificate is not one that is trusted"


def test_a_daemon_without_an_endpoint_cannot_be_asked(home: Home, dittod) -> None:
    with held(home.lock):
        code, _, err = dittod("compare", "Tea?")
    assert code == 1 and "without an endpoint" in err


def test_a_daemon_that_does_not_answer_is_no_fault_of_the_program(home: Home, dittod) -> None:
    note_endpoint(home, "http://127.0.0.1:9")
    with held(home.lock):
        code, _, err = dittod("compare", "Tea?")
    assert code == 1 and "the endpoint does not answer" in err


@pytest.mark.slow
def test_without_a_daemon_an_engine_of_the_command_answers_and_learns_nothing(tmp_path: Path) -> None:
    here = DaemonProcess(tmp_path / "home")
    one = here.json("compare", "Write to Ann.", "--seed", "4")
    assert one == here.json("compare", "Write to Ann.", "--seed", "4")
    texts = [each["text"] for each in one["answers"]]
    assert texts[0] and texts[0] == texts[1], "nothing is promoted: base answers for both"
    assert here.status()["daemon_pid"] is None
    unknown = here.cli("compare", "Write to Ann.", "ditto/poems")
    assert unknown.returncode == 1 and "choose one of: base, ditto" in unknown.stderr
