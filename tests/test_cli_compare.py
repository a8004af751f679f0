"""`dittod compare`: the endpoint of a running daemon is asked, or an engine of the command's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from daemons import DaemonProcess
from endpoints import note_endpoint, standing_in

from dittod.cli import blind
from dittod.cli.terminal import out
from dittod.errors import EngineUnavailable
from dittod.machine.lock import held
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Adapter, Verdict
from dittod_service.server import Terms

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
    """Whom the endpoint asks."""
    backend = FakeBackend()
    with standing_in(home, backend, terms, host=host):
        yield backend


@pytest.fixture
def backend(home: Home) -> Iterator[FakeBackend]:
    with running(home) as backend:
        yield backend


def there_are(home: Home, profile: str) -> None:
    """Files of this profile, too."""
    store = Store(home.store)
    store.record_file(FileRow(f"{profile}.eml", profile, 1, 1, "read", "", (), {}, 1.0))
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


# --- which is yours? ---


@pytest.fixture
def asked_at_a_terminal(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the user will say, to be filled by the test; and a version that answers as email@1."""
    store = Store(home.store)
    verdict = Verdict(True, (), {})
    store.add_adapter(
        Adapter(EMAIL.id, "email", 0, "candidate", "", "r", "starter", "1", "t", ("i",), 7, 1.0, None, verdict)
    )
    store.close()
    said: list[str] = []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, readline=lambda: f"{said.pop(0)}\n"))
    yield said
    assert said == [], "everything was asked for"


def in_this_order(monkeypatch: pytest.MonkeyPatch, *places: int) -> None:
    """Answers are shown so, instead of by chance."""
    monkeypatch.setattr(blind, "shuffled", lambda answers, count: [answers[place] for place in places])


def tallied(dittod) -> list[dict[str, Any]]:
    return list(json.loads(dittod("compare", "--tally", "--json")[1])["tallies"])


@pytest.mark.parametrize(("order", "say", "chosen"), [((0, 1), "2", 1), ((1, 0), "1", 1), ((1, 0), "2", 0)])
def test_the_answer_that_was_taken_for_the_users_is_kept_by_its_versions_name(
    backend: FakeBackend, asked_at_a_terminal: list[str], dittod, monkeypatch, order, say: str, chosen: int
) -> None:
    in_this_order(monkeypatch, *order)
    asked_at_a_terminal.append(say)
    code, out, _ = dittod("compare", "Tea?", "base", "ditto/email", "--blind")
    assert code == 0 and len(backend.asked) == 2
    (found,) = tallied(dittod)
    assert (found["profile"], found["one"], found["other"]) == ("email", "email@1", "base")
    assert (found["one_chosen"], found["other_chosen"]) == ((1, 0) if chosen else (0, 1))
    shown = [" ".join(line.split()) for line in out.splitlines()]
    assert f"email email@1 base {chosen}" in shown and f"email base email@1 {1 - chosen}" in shown


def test_before_the_user_has_spoken_nothing_says_who_wrote_what(
    backend: FakeBackend, asked_at_a_terminal: list[str], dittod, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_this_order(monkeypatch, 1, 0)
    seen: list[str] = []

    def answer() -> str:
        printed = capsys.readouterr()
        seen.append(printed.out + printed.err)
        return "\n"

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, readline=answer))
    _, out, _ = dittod("compare", "Tea?", "base", "ditto/email", "--blind")
    assert "base" not in seen[0] and "email" not in seen[0] and seen[0].count(SAID) == 2
    assert out.splitlines()[-2:] == ["1 is by ditto/email", "2 is by base"]


def test_neither_is_an_answer_too_and_is_not_kept(backend: FakeBackend, asked_at_a_terminal: list[str], dittod) -> None:
    asked_at_a_terminal += ["3", "the first", ""]
    code, _, err = dittod("compare", "Tea?", "base", "ditto/email", "--blind")
    assert code == 0 and err.count("say 1 or 2") == 2 and tallied(dittod) == []


def test_two_answers_of_the_same_version_are_not_compared_blind(
    backend: FakeBackend, asked_at_a_terminal: list[str], dittod
) -> None:
    code, out, err = dittod("compare", "Tea?", "base", "ditto", "--blind")
    assert (code, out) == (1, "") and "both answers are by the same version" in err


def test_without_a_terminal_nobody_can_be_asked_and_nothing_is_generated(
    backend: FakeBackend, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = dittod("compare", "Tea?", "base", "ditto/email", "--blind")
    assert code == 1 and "there is no terminal" in err and backend.asked == []


def test_a_program_cannot_be_asked_which_is_its_own(home: Home, dittod) -> None:
    code, _, err = dittod("compare", "Tea?", "--blind", "--json")
    assert code == 2 and "--json is for programs" in err


def test_where_nothing_was_chosen_the_tally_says_how_to(home: Home, dittod) -> None:
    assert dittod("compare", "--tally") == (0, 'nothing was chosen so far: dittod compare "…" --blind\n', "")


def test_an_empty_prompt_is_refused(home: Home, dittod) -> None:
    assert dittod("compare")[0] == 1
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
