"""Settings: file, environment, defaults; what cannot be used is named with its remedy."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from dittod.cli.home import endpoint, terms
from dittod.config import Settings, load_settings
from dittod.daemon import Daemon
from dittod.errors import SettingsError
from dittod.paths import Home
from dittod.store import Store
from dittod_service.app import Limits
from dittod_service.server import Terms


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path))
    return Home(tmp_path)


def test_without_a_file_the_defaults_hold_and_the_folder_lies_in_the_home(home: Home) -> None:
    settings = load_settings(home)
    assert (settings.port, settings.base_model, settings.watched_folder) == (3488, "starter", home.root / "watched")


def test_the_environment_wins_over_the_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.settings.write_text("port = 1\ndemonstrations = 5\nlearner = {samples = 3}\n")
    monkeypatch.setenv("DITTOD_PORT", "2")
    settings = load_settings(home)
    assert (settings.port, settings.demonstrations, settings.learner) == (2, 5, {"samples": 3.0})


@pytest.mark.parametrize(
    ("text", "title", "hint"),
    [
        ("prot = 1", "unknown setting prot", "did you mean port?"),
        ("port = 70000", "setting port cannot be 70000", "DITTOD_PORT"),
        ("port = ", "not valid TOML", "correct that line"),
        ('preset = "fast"', "setting preset cannot be 'fast': give 'clean' or 'as_released'", "dittod.toml"),
        ('quiet_hours = "22:00-07:00"', """: give a list: ["22:00-07:00"]""", "DITTOD_QUIET_HOURS"),
        ('quiet_hours = ["night"]', "cannot be 'night': give two times of the day", "DITTOD_QUIET_HOURS"),
        ("identities = 5", """give a list: ["one", "two"]""", "DITTOD_IDENTITIES"),
        ("rest_seconds = true", "setting rest_seconds cannot be true: give a number", "DITTOD_REST_SECONDS"),
        ("learner = {samples = true}", "give a number", "DITTOD_LEARNER"),
        ("port = -1", "setting port cannot be -1: give 0 or more", "DITTOD_PORT"),
        ("request_seconds = 0", "give more than 0", "DITTOD_REQUEST_SECONDS"),
        ('encrypt = "perhaps"', "give true or false", "DITTOD_ENCRYPT"),
        ("learner = 4", "give a table of names and numbers, such as { dpo_steps = 20 }", "DITTOD_LEARNER"),
        ("min_free_disk = -1", "cannot be -1: give a size above 0, such as 6GiB", "DITTOD_MIN_FREE_DISK"),
        ("disk_budget = 5", "cannot be 5 bytes: give 16MiB or more, such as 4GiB", "DITTOD_DISK_BUDGET"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(home: Home, text: str, title: str, hint: str) -> None:
    home.settings.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert title in caught.value.title and hint in caught.value.hint


def test_an_unknown_variable_names_the_nearest(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_BASEMODEL", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert "DITTOD_BASEMODEL" in caught.value.title and "DITTOD_BASE_MODEL" in caught.value.hint


def test_an_empty_variable_is_no_setting(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_WATCHED_FOLDER", "")
    assert load_settings(home).watched_folder == home.watched


def test_a_list_that_is_no_json_is_an_error_with_an_example(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_IDENTITIES", "me@x.org")
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert "identities" in caught.value.title and "JSON" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "expected"),
    [('"6GiB"', 6 * 2**30), ('"800MB"', 800_000_000), ("1500000000", 1_500_000_000), ('"1.5 GiB"', 3 * 2**29)],
)
def test_a_memory_budget_is_given_with_its_unit_or_in_bytes(home: Home, given: str, expected: int) -> None:
    home.settings.write_text(f"memory_budget = {given}\n")
    assert load_settings(home).memory_budget == expected


def test_without_one_the_memory_budget_is_left_to_the_machine(home: Home) -> None:
    settings = load_settings(home)
    assert (settings.memory_budget, settings.quantisation) == (None, "auto")


@pytest.mark.parametrize("given", ["a lot", "-3GB", "0", "6 GiBi", "1,5GiB", "6.5.5GiB", "6 GiB please", "true"])
def test_a_memory_budget_that_is_no_size_is_an_error_with_an_example(
    home: Home, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("DITTOD_MEMORY_BUDGET", given)
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert repr(given) in caught.value.title and "6GiB" in caught.value.title
    assert "DITTOD_MEMORY_BUDGET" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("IDENTITIES", value) for value in ("me@", "", "@x.org", "...")), ("SECRETS", "a"), ("SECRETS", " -- ")],
)
def test_identities_and_secrets_that_mean_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DITTOD_{name}", json.dumps([value]))
    with pytest.raises(SettingsError) as error:
        load_settings(Home(tmp_path))
    assert name.lower() in error.value.title and error.value.hint.endswith(f"DITTOD_{name}")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("allowed_hosts", ["Desk.Local", "192.168.1.5", "[FD00::7]"], ("desk.local", "192.168.1.5", "fd00::7")),
        ("allowed_origins", ["app://obsidian.md", "HTTPS://Chat.example.org/"], None),
        ("allowed_origins", ["moz-extension://*", "vscode-webview://*", "chrome-extension://abc"], None),
        ("allowed_origins", ["http://localhost:8080", "https://[fd00::7]:8443"], None),
        (
            "allowed_origins",
            ["https://a.example:443", "http://b.example:80"],
            ("https://a.example", "http://b.example"),
        ),
    ],
)
def test_hosts_and_origins_are_kept_as_browsers_write_them(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str, given: list[str], expected: tuple[str, ...] | None
) -> None:
    monkeypatch.setenv(f"DITTOD_{name.upper()}", json.dumps(given))
    usual = tuple(each.lower().rstrip("/") for each in given)
    assert getattr(load_settings(home), name) == (usual if expected is None else expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("ALLOWED_HOSTS", each)
            for each in ("*", "*.example.org", "http://desk", "desk:80", "", "a b", "me@desk", "desk.")
        ),
        *(("ALLOWED_ORIGINS", each) for each in ("*", "null", "", "https://*", "http://*", "https://*.example.org")),
        *(("ALLOWED_ORIGINS", each) for each in ("example.org", "https://a.example/path", "https://me@a.example")),
        *(
            ("ALLOWED_ORIGINS", each)
            for each in ("app://*:80", "*://x", "https://münchen.example", "https://a.example:x")
        ),
    ],
)
def test_hosts_and_origins_that_would_let_too_many_in_or_nobody_are_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DITTOD_{name}", json.dumps([value]))
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert repr(value) in caught.value.title and caught.value.hint.endswith(f"DITTOD_{name}")


@pytest.mark.parametrize(("given", "missing"), [("tls_key", "tls_certificate"), ("tls_certificate", "tls_key")])
def test_half_a_certificate_is_an_error_that_names_the_other_half(home: Home, given: str, missing: str) -> None:
    home.settings.write_text(f'{given} = "x.pem"\nsecrets = ["hidden"]\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert given in caught.value.title and missing in caught.value.title
    assert "hidden" not in caught.value.title + caught.value.hint


def test_paths_of_the_endpoint_lie_in_the_home_unless_they_say_otherwise(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    home.settings.write_text('tls_key = "~/key.pem"\ntls_certificate = "/etc/cert.pem"\nunix_socket = "endpoint"\n')
    settings = load_settings(home)
    assert settings.tls_key == Path("/home/ann/key.pem")
    assert settings.tls_certificate == Path("/etc/cert.pem")
    assert settings.unix_socket == home.root / "endpoint"


@pytest.mark.parametrize("line", ["max_waiting_answers = 0", "request_seconds = 0", 'require_token = "perhaps"'])
def test_limits_that_would_let_nobody_in_are_refused(home: Home, line: str) -> None:
    home.settings.write_text(line)
    with pytest.raises(SettingsError):
        load_settings(home)


def test_what_the_settings_say_of_the_endpoint_reaches_the_server(home: Home) -> None:
    assert terms(load_settings(home)) == Terms()
    home.settings.write_text(
        'allowed_hosts = ["desk"]\nallowed_origins = ["app://x"]\nunix_socket = "/s"\ntls_key = "/k"\n'
        'tls_certificate = "/c"\nmax_waiting_answers = 7\nrequest_seconds = 8.5\n'
    )
    assert terms(load_settings(home)) == Terms(
        allowed_hosts=("desk",),
        allowed_origins=("app://x",),
        tls=(Path("/c"), Path("/k")),
        unix_socket=Path("/s"),
        limits=Limits(answers=7, request_seconds=8.5),
    )


@pytest.mark.parametrize(("line", "status"), [("", 401), ("require_token = false", 200)])
def test_whether_a_token_is_asked_for_is_a_setting(home: Home, line: str, status: int) -> None:
    home.create()
    home.settings.write_text(f"port = 0\n{line}\n")
    store = Store(home.store)
    server = endpoint(home, Daemon(home, load_settings(home), store))

    async def asked() -> int:
        transport = httpx.ASGITransport(server.config.app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=server.url) as client:
            return (await client.get("/v1/models", headers={"authorization": "Bearer ollama"})).status_code

    try:
        assert asyncio.run(asked()) == status
    finally:
        server.socket.close()
        store.close()


@pytest.mark.parametrize("given", [0.4, 0.995, 1.0])
def test_a_confidence_that_resampling_cannot_carry_is_refused(given: float) -> None:
    assert Settings(confidence=0.99).confidence == 0.99
    with pytest.raises(ValidationError, match="confidence"):
        Settings(confidence=given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("30 12 * * mon-fri", "30 12 * * mon,tue,wed,thu,fri"),
        ("30 12 * * 1-5", "30 12 * * mon,tue,wed,thu,fri"),
        (" 0  3 * * 0 ", "0 3 * * sun"),
        ("0 3 * * 7", "0 3 * * sun"),
        ("0 3 * * 5-7", "0 3 * * sun,fri,sat"),
        ("0 3 * * sat-MON,3", "0 3 * * sun,mon,wed,sat"),
        ("*/15 * * * */2", "*/15 * * * sun,tue,thu,sat"),
        ("0 3 1,15 * *", "0 3 1,15 * *"),
    ],
)
def test_days_of_the_week_are_counted_as_cron_counts_them(given: str, kept: str) -> None:
    assert Settings(consider_at=given).consider_at == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "noon",
        "0 3 * *",
        "0 25 * * *",
        "0 3 * * 8",
        "0 3 * * mon#1",
        "0 3 1 * mon",
        "0 3 31 2 *",
        "0 3 * * 1-",
        "@daily",
    ],
)
def test_a_time_for_looks_that_cron_has_not_or_that_never_comes_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="give minute, hour"):
        Settings(consider_at=given)


@pytest.mark.parametrize("given", ['"hunter2"', '["hunter2", "-"]', "[7]"])
def test_an_error_never_quotes_a_secret(tmp_path: Path, given: str) -> None:
    home = Home(tmp_path)
    home.settings.write_text(f"secrets = {given}")
    with pytest.raises(SettingsError, match="secrets") as error:
        load_settings(home)
    assert "hunter2" not in f"{error.value.title} {error.value.hint}" and error.value.__cause__ is None
