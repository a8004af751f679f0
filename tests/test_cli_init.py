"""`dittod init`: by questions, by flags, again, interrupted; what stays in dittod.toml; the download."""

from __future__ import annotations

import io
import os
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub import FakeHub, serving, use
from huggingface_hub.utils import close_session

from dittod import download
from dittod.background import ServiceState
from dittod.catalogue import MODELS, KnownModel, starter
from dittod.cli import base_model
from dittod.cli.making import with_setting
from dittod.config import Settings, load_settings, watched_folder
from dittod.errors import DittodError, SettingsError
from dittod.learner.memory import Device
from dittod.paths import Home

MACHINE = Device("cpu", 4, 16 * 10**9, True)
TINY = KnownModel("org/tiny", 134_515_008, "Apache-2.0", False, MODELS[0].shape)
Guided = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A place where nothing is yet; no service can be set up by mistake."""
    for name in [name for name in os.environ if name.startswith("DITTOD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    state = ServiceState(False, False, False, None, None)
    monkeypatch.setattr("dittod.background.manager", lambda platform: SimpleNamespace(state=lambda: state))
    monkeypatch.setattr("dittod.cli.questions.which", lambda program: program)
    return Home(tmp_path / "home")


@pytest.fixture
def hub(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": bytes(100_000)}
    monkeypatch.setattr("dittod.download.PAUSES", (0.0,))
    with serving(FakeHub(files)) as hub:
        use(hub, tmp_path / "cache", monkeypatch)
        yield hub
        close_session()


@pytest.fixture
def guided(home: Home, dittod, monkeypatch: pytest.MonkeyPatch) -> Guided:
    """Runs `dittod init` on a terminal where these lines are typed; after them, the terminal is closed."""
    monkeypatch.setattr("dittod.cli.questions.ask_engine", lambda model: (MACHINE, starter().shape))
    monkeypatch.setattr("dittod.cli.base_model.MODELS", (TINY,))

    def run(*lines: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in lines)))
        return dittod("init")

    return run


class Terminal(io.StringIO):
    """One that somebody sits at."""

    def isatty(self) -> bool:
        return True


def mail(folder: Path, name: str, sender: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "I would rather walk there on Friday, if it does not rain."
    (folder / name).write_text(f"From: {sender}\nTo: tom@example.org\nSubject: Friday\n\n{text}\n")


# --- without questions ---


def test_without_a_terminal_nothing_is_asked_and_nothing_decided(home: Home, dittod) -> None:
    for arguments in ((), ("--yes",)):
        code, said, _ = dittod("init", *arguments)
        assert code == 0 and "then: dittod run" in said
    assert tomllib.loads(home.settings.read_text()) == {}
    assert (home.watched / ".dittod").is_file() and home.token_file.is_file()


def test_each_flag_is_a_setting(home: Home, tmp_path: Path, dittod) -> None:
    texts = tmp_path / "my texts"
    code, said, _ = dittod(
        *("init", "--folder", str(texts), "--profile", "email", "--budget", "6GiB", "--no-service"),
        *("--identity", "ann@example.org", "--identity", "Ann Lee"),
    )
    assert code == 0 and str(texts) in said
    settings = load_settings(home)
    assert watched_folder(settings) == texts and (texts / "email").is_dir() and (texts / ".dittod").is_file()
    assert settings.identities == ("ann@example.org", "Ann Lee") and settings.memory_budget == 6 * 2**30
    assert not home.watched.exists()


def test_another_folder_is_said_to_mean_that_texts_are_gone(home: Home, tmp_path: Path, dittod) -> None:
    said = f"What only {home.watched} holds counts as gone then; dittod asks before it forgets.".split()
    assert said[-1] not in dittod("init", "--folder", str(home.watched))[1]
    assert dittod("init", "--yes", "--folder", str(tmp_path / "new"))[1].split()[: len(said)] == said


def test_the_users_own_lines_and_comments_stay(home: Home, dittod) -> None:
    dittod("init")
    home.settings.write_text("# mine\nport = 1234  # not 3488\n\n[learner]\n# slow\ndpo_steps = 20\n")
    assert dittod("init", "--budget", "6GiB", "--identity", "ann@example.org")[0] == 0
    text = home.settings.read_text()
    assert all(line in text for line in ("# mine", "port = 1234  # not 3488", "[learner]\n# slow\ndpo_steps = 20\n"))
    settings = load_settings(home)
    assert (settings.port, settings.learner, settings.memory_budget) == (1234, {"dpo_steps": 20.0}, 6 * 2**30)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--budget", "much"), "give a size"),
        (("--budget", "1.5"), "1 bytes: give a size such as 6GiB"),
        (("--identity", "nobody@"), "neither an address nor a name"),
        (("--identity", 'a"\n[learner]'), "neither an address nor a name"),
        (("--profile", "../elsewhere"), "cannot be a profile"),
        (("--profile", ""), "cannot be a profile"),
        (("--model", "../../etc"), "neither a folder with a model nor a model's id"),
        (("--model", ""), "neither a folder with a model nor a model's id"),
        (("--folder", "~"), "far more than your texts"),
        (("--folder", "/"), "far more than your texts"),
        (("--folder", __file__), "is a file"),
        (("--folder", str(Path(__file__).parent.parent)), "a folder of programs"),
        (("--folder", "bad\udcff"), "no text"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    home: Home, dittod, arguments: tuple[str, ...], error: str
) -> None:
    code, _, said = dittod("init", *arguments)
    assert code == 1 and error in said and "hint: " in said
    assert not home.root.exists()


def test_a_variable_that_comes_before_the_file_is_named(home: Home, dittod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_MEMORY_BUDGET", "3GiB")
    code, _, said = dittod("init", "--budget", "6GiB")
    assert code == 1 and "DITTOD_MEMORY_BUDGET is set" in said


def test_a_model_in_a_folder_is_named_by_where_it_lies(
    home: Home, tmp_path: Path, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a model").mkdir()
    (tmp_path / "a model" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert dittod("init", "--model", "a model")[0] == 0
    assert load_settings(home).base_model == str(tmp_path / "a model")


# --- the download ---


def test_a_model_is_brought_and_then_named_in_the_settings(home: Home, hub: FakeHub, dittod) -> None:
    code, said, told = dittod("init", "--model", "org/tiny")
    assert code == 0 and "licence apache-2.0: 100,004 bytes to download" in said
    assert "offline from now on" in told and load_settings(home).base_model == "org/tiny"
    hub.asked.clear()
    assert dittod("init", "--model", "org/tiny")[0] == 0 and hub.asked == []  # it is here: nobody is asked


def test_what_the_hub_says_of_a_licence_cannot_steer_the_terminal(
    home: Home, hub: FakeHub, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = replace(download.look_up("org/tiny"), licence="mit\x1b]0;pwned\x07\x1b[2J\nmade up")
    monkeypatch.setattr("dittod.download.look_up", lambda model: listing)
    said = dittod("init", "--model", "org/tiny")[1]
    assert "licence mit\ufffd]0;pwned\ufffd\ufffd[2J made up: 100,004 bytes" in said and "\x1b" not in said


def test_a_download_that_fails_leaves_a_home_that_works(home: Home, hub: FakeHub, dittod) -> None:
    hub.breaks_after = [1000, 0, 0]
    code, _, told = dittod("init", "--model", "org/tiny", "--budget", "6GiB")
    assert code == 1 and "hint: what came is kept; to go on: dittod init --model org/tiny" in told
    settings = load_settings(home)
    assert settings.base_model == "starter" and settings.memory_budget == 6 * 2**30
    assert (home.watched / ".dittod").is_file() and home.token_file.is_file()


def test_ctrl_c_in_the_download_says_how_to_go_on(
    home: Home, hub: FakeHub, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dittod.download.fetch", interrupt)
    code, _, told = dittod("init", "--model", "org/tiny")
    assert code == 130 and "dittod init --model org/tiny" in told
    assert load_settings(home).base_model == "starter"


def test_a_disk_without_room_is_an_error_before_the_first_byte(
    home: Home, hub: FakeHub, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dittod.download.free_bytes", lambda model: 2**30 + 5)
    code, _, told = dittod("init", "--model", "org/tiny")
    assert code == 1 and "min_free_disk" in told and "HF_HUB_CACHE" in told
    assert hub.ranges("config.json") == [] and not download.cache_folder("org/tiny").exists()


# --- questions ---


def test_enter_all_through_makes_a_home_with_the_recommended_model(home: Home, hub: FakeHub, guided: Guided) -> None:
    code, said, _ = guided(*[""] * 6, "n")
    assert code == 0 and "recommended" in said
    assert tomllib.loads(home.settings.read_text()) == {"base_model": "org/tiny"}
    assert download.is_downloaded("org/tiny") and (home.watched / ".dittod").is_file()


def test_answers_become_settings(home: Home, hub: FakeHub, tmp_path: Path, guided: Guided) -> None:
    texts = tmp_path / "texts"
    code, said, _ = guided(str(texts), "ann@example.org, Ann Lee", "email", "1", "4GiB", "n")
    assert code == 0, said
    settings = load_settings(home)
    assert (watched_folder(settings), settings.base_model) == (texts, "starter")
    assert settings.identities == ("ann@example.org", "Ann Lee") and settings.memory_budget == 4 * 2**30
    assert (texts / "email").is_dir() and hub.asked == []


def test_called_again_the_present_values_are_the_defaults(home: Home, hub: FakeHub, guided: Guided, tmp_path) -> None:
    guided(str(tmp_path / "texts"), "ann@example.org", "", "org/tiny", "y", "4GiB", "n")
    before = home.settings.read_text() + "# mine\n"
    home.settings.write_text(before)
    code, said, _ = guided("", "", "", "", "", "n")
    assert code == 0 and home.settings.read_text() == before
    for shown in (f"[{tmp_path / 'texts'}]", "[ann@example.org]", "[org/tiny]", "[4.29 GB]"):
        assert shown in said


def test_a_model_that_is_set_and_not_here_is_brought(home: Home, hub: FakeHub, guided: Guided) -> None:
    home.create()
    home.settings.write_text('base_model = "org/tiny"\n')
    assert guided(*[""] * 6, "n")[0] == 0
    assert download.is_downloaded("org/tiny") and home.settings.read_text() == 'base_model = "org/tiny"\n'


@pytest.mark.parametrize("answered", range(6))
def test_a_terminal_that_is_left_at_any_question_changes_nothing(
    home: Home, hub: FakeHub, guided: Guided, answered: int
) -> None:
    code, _, told = guided(*[""] * answered)
    assert code == 130 and "nothing was changed" in told
    assert not home.root.exists() and not download.cache_folder("org/tiny").exists()


def test_what_will_not_do_is_asked_again(home: Home, hub: FakeHub, guided: Guided, tmp_path: Path) -> None:
    code, said, _ = guided(
        *("/", str(tmp_path / "texts"), "nobody@", "ann@example.org", "a/b", "email"),
        *("../../x", "org/other", "1", "much", "4", "4GiB", "n"),
    )
    assert code == 0 and load_settings(home).memory_budget == 4 * 2**30
    for fault in ("far more than your texts", "neither an address", "plain name", "nor a model's id"):
        assert fault in said
    assert "the hub has no org/other" in said and "give a size" in said and "4 bytes" in said


def test_without_the_network_enter_leads_to_the_starter(
    home: Home, hub: FakeHub, guided: Guided, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code, said, _ = guided("", "", "", "", "", "", "n")
    assert code == 0 and "does not answer" in said and load_settings(home).base_model == "starter"


def test_who_wrote_the_mails_is_offered(home: Home, guided: Guided) -> None:
    for number in range(3):
        mail(home.watched, f"{number}.eml", "Ann Lee <ann@example.org>")
    mail(home.watched, "other.eml", "Bob <bob@example.org>")
    code, said, _ = guided("", "", "", "1", "", "n")
    assert code == 0 and "4 files there already" in said and "3 mails of 4 looked at: from ann@example.org" in said
    assert load_settings(home).identities == ("ann@example.org",)


def test_an_address_that_is_offered_can_be_left_to_be_learnt(home: Home, guided: Guided) -> None:
    mail(home.watched, "1.eml", "Ann Lee <ann@example.org>")
    assert guided("", "-", "", "1", "", "n")[0] == 0
    assert load_settings(home).identities == ()


def test_an_empty_folder_is_told_where_mails_may_be(home: Home, guided: Guided, tmp_path: Path) -> None:
    sent = tmp_path / ".thunderbird" / "abc.default" / "ImapMail" / "mail.example.org" / "Sent"
    sent.parent.mkdir(parents=True)
    sent.write_text("")
    said = guided("")[1]
    assert "docs/ingest.md" in said and "abc.default" in "".join(said.split())


@pytest.mark.parametrize("error", [OSError(12, "no memory for a child"), RuntimeError("a driver that is broken")])
def test_a_machine_that_cannot_be_looked_at_ends_the_questions(
    home: Home, guided: Guided, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """They would wait for ever for what does not come."""

    def fail(model: str) -> None:
        raise error

    monkeypatch.setattr("dittod.cli.questions.ask_engine", fail)
    with pytest.raises(type(error), match=str(error.args[-1])):
        guided("", "", "")
    assert not home.root.exists()


def test_what_a_variable_decides_is_not_asked(home: Home, guided: Guided, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_BASE_MODEL", "starter")
    monkeypatch.setenv("DITTOD_IDENTITIES", '["ann@example.org"]')
    code, said, _ = guided("", "", "", "n")
    assert code == 0 and "DITTOD_BASE_MODEL is set" in said and "4. Model" not in said


def test_a_service_that_cannot_be_is_a_warning(home: Home, guided: Guided, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DittodError("no systemd answers", "start it yourself")

    monkeypatch.setattr("dittod.cli.init.install_service", fail)
    code, said, told = guided("", "", "", "1", "", "y")
    assert code == 0 and "no systemd answers" in told and "then: dittod run" in said


def test_a_service_that_was_wanted_is_set_up(home: Home, dittod, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[bool] = []
    monkeypatch.setattr("dittod.cli.init.install_service", lambda: installed.append(True))
    code, said, _ = dittod("init", "--service")
    assert code == 0 and installed == [True] and "then: dittod run" not in said


# --- what is recommended ---


@pytest.mark.parametrize(
    ("device", "free", "name"),
    [
        (Device("cpu", 4, 16 * 10**9, True), 10**12, "Qwen/Qwen2.5-1.5B-Instruct"),
        (Device("cpu", 4, 16 * 10**9, True), 2 * 10**9, "Qwen/Qwen2.5-0.5B-Instruct"),
        (Device("cpu", 4, 16 * 10**9, True), 10**8, "starter"),
        (Device("cpu", 4, 10**9, True), 10**12, "starter"),
        (Device("cuda", 2, 24 * 10**9, True), 10**12, "mistralai/Mistral-7B-Instruct-v0.3"),
    ],
)
def test_the_largest_that_fits_machine_and_disk_is_recommended(
    home: Home, device: Device, free: int, name: str
) -> None:
    assert base_model.recommended(base_model.choices(Settings(), device), device, free) == name


def test_what_is_here_already_is_recommended_first(home: Home) -> None:
    found = base_model.choices(Settings(), MACHINE)
    here = [replace(each, is_here=True) if "Llama-3.2-1B" in each.model.name else each for each in found]
    assert base_model.recommended(here, MACHINE, 10**12) == "meta-llama/Llama-3.2-1B-Instruct"


def test_a_licence_to_accept_is_never_recommended_unseen(home: Home) -> None:
    device = Device("cuda", 2, 80 * 10**9, True)
    found = base_model.choices(Settings(), device)
    assert not next(
        each for each in found if each.model.name == base_model.recommended(found, device, 10**12)
    ).model.accept


# --- lines of dittod.toml ---


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "port = 5\n"),
        ("port = 1\n", "port = 5\n"),
        ("port = 1 # mine\n", "port = 5 # mine\n"),
        ("  port=1\n", "port = 5\n"),
        ("# port = 3488   # the usual\nhost = 'a'\n", "# port = 3488   # the usual\nport = 5\nhost = 'a'\n"),
        ("# port = 77 # worked well in May\n", "# port = 77 # worked well in May\nport = 5\n"),
        ("host = 'a'\r\nport = 1 # mine\r\n", "host = 'a'\r\nport = 5 # mine\r\n"),
        ("\ufeffport = 1\n", "\ufeffport = 5\n"),
        ("# about\n\nhost = 'a'\n", "# about\nport = 5\n\nhost = 'a'\n"),
        ("[learner]\nport = 1.0\n", "port = 5\n[learner]\nport = 1.0\n"),
        ("identities = [\n  'a',\n  # port = 1\n]\n", "port = 5\nidentities = [\n  'a',\n  # port = 1\n]\n"),
        ("[learner]\n# port = 3488\nx = 1\n", "port = 5\n[learner]\n# port = 3488\nx = 1\n"),
    ],
)
def test_a_setting_is_changed_where_it_stands(before: str, after: str) -> None:
    assert with_setting(before, "port", 5) == after


@pytest.mark.parametrize(
    "before",
    [
        "identities = ['a',\n  'b',\n]\nport = 1 # one\n",
        "identities = ['''a\nidentities = 3''']\n",
        'identities = ["#not a comment"] # a comment\n',
    ],
)
@pytest.mark.parametrize("value", [[], ['Ann "Lee" #1', "b\\c", "tab\there", "\x7f", "ä"]])
def test_values_of_any_form_are_replaced_whole(before: str, value: list[str]) -> None:
    made = with_setting(before, "identities", value)
    assert tomllib.loads(made) == tomllib.loads(before) | {"identities": value}
    assert ("# a comment" in before) == ("# a comment" in made)


def test_a_line_that_cannot_be_told_apart_is_left_to_the_user() -> None:
    with pytest.raises(SettingsError, match="without you") as caught:
        with_setting('"port" = 1\n', "port", 5)
    assert "port = 5" in caught.value.hint


@pytest.mark.parametrize("comment", ["[ # both\n'a']", "[\n'a', # work\n'b', # do not remove\n]", "[\n'a'] # end"])
def test_comments_within_a_list_are_not_lost(comment: str) -> None:
    with pytest.raises(SettingsError, match="without you"):
        with_setting(f"identities = {comment}\n", "identities", ["c"])


def test_a_linked_settings_file_stays_a_link_with_its_line_ends_and_its_mark(
    home: Home, tmp_path: Path, dittod
) -> None:
    home.create()
    kept = tmp_path / "dotfiles.toml"
    kept.write_bytes(b"\xef\xbb\xbf# mine\r\nport = 1234\r\n")
    home.settings.symlink_to(kept)
    assert dittod("init", "--budget", "6GiB")[0] == 0
    assert home.settings.is_symlink()
    assert kept.read_bytes() == b'\xef\xbb\xbf# mine\r\nmemory_budget = "6GiB"\r\nport = 1234\r\n'
    assert load_settings(home).port == 1234


def test_a_link_to_nothing_gets_its_settings_file(home: Home, tmp_path: Path, dittod) -> None:
    home.create()
    home.settings.symlink_to(tmp_path / "dotfiles.toml")
    assert dittod("init", "--budget", "6GiB")[0] == 0
    assert home.settings.is_symlink() and "6GiB" in (tmp_path / "dotfiles.toml").read_text()
