"""`dittod open`: a link to the dashboard of the daemon that runs here, for the browser or for the eye."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from endpoints import standing_in

from dittod.cli import open as opening
from dittod.cli.endpoint import reachable
from dittod.machine.lock import held
from dittod.paths import Home
from dittod_service.server import Terms

from .service.conftest import _certificate
from .service.dashboards import FakeDashboard
from .service.fakes import FakeBackend

TERMS = Terms()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    for name in ("SSH_CONNECTION", *opening.SCREENS):
        monkeypatch.delenv(name, raising=False)
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a browser is opened with. It opens everything."""
    links: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda link: links.append(link) or True)
    return links


@contextmanager
def running(home: Home, host: str = "127.0.0.1", terms: Terms = TERMS) -> Iterator[str]:
    """Where the endpoint is reached."""
    with standing_in(home, FakeBackend(), terms, host=host, dashboard=FakeDashboard()) as server:
        yield reachable(server.url)


def sign_in(link: str, **client: object) -> int:
    """The status of what a browser does with a link."""
    code = urlsplit(link).fragment.removeprefix("sign-in=")
    url = link.partition("/#")[0]
    with httpx.Client(trust_env=False, **client) as browser:
        return browser.post(f"{url}/dashboard/session", json={"code": code}).status_code


def test_the_browser_is_opened_with_a_link_that_works_once(
    home: Home, shown: list[str], dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    with running(home) as url:
        code, out, err = dittod("open")
        assert (code, out) == (0, "") and "dittod open --print" in err
        (link,) = shown
        assert link.startswith(f"{url}/#sign-in=") and urlsplit(link).query == ""
        assert [sign_in(link), sign_in(link)] == [200, 401]


def test_a_link_that_is_printed_is_all_that_is_on_stdout(home: Home, shown: list[str], dittod) -> None:
    with running(home):
        code, out, err = dittod("open", "--print")
        assert code == 0 and out.count("\n") == 1 and "2 minutes" in err
        assert sign_in(out.strip()) == 200
    assert shown == []


def test_without_a_screen_the_link_is_printed(home: Home, shown: list[str], dittod) -> None:
    with running(home):
        assert "/#sign-in=" in dittod("open")[1]
    assert shown == []


def test_over_ssh_it_says_how_to_come_here(
    home: Home, shown: list[str], dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22")
    monkeypatch.setenv("DISPLAY", ":10")
    with running(home) as url:
        _, out, err = dittod("open")
    port = urlsplit(url).port
    assert out.startswith(url) and f"ssh -L {port}:127.0.0.1:{port} " in err and shown == []


def test_a_browser_that_does_not_start_leaves_the_link(home: Home, dittod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda link: False)
    with running(home):
        assert "/#sign-in=" in dittod("open")[1]


def test_an_endpoint_for_all_addresses_with_a_certificate_is_opened_here(home: Home, dittod, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    home.settings.write_text(f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n')
    with running(home, "0.0.0.0", Terms(tls=(certificate, key))):
        link = dittod("open", "--print")[1].strip()
        assert link.startswith("https://127.0.0.1:")
        assert sign_in(link, verify=False) == 200


def test_where_clients_need_no_token_the_dashboard_is_opened_all_the_same(home: Home, dittod) -> None:
    home.settings.write_text("require_token = false\n")
    with running(home, terms=Terms(require_token=False)):
        assert sign_in(dittod("open", "--print")[1].strip()) == 200


def test_without_a_daemon_it_says_how_to_start_one(home: Home, dittod) -> None:
    code, out, err = dittod("open")
    assert (code, out) == (1, "") and "dittod is not running" in err and "dittod run" in err


def test_a_daemon_without_an_endpoint_has_no_dashboard(home: Home, dittod) -> None:
    with held(home.lock):
        code, _, err = dittod("open")
    assert code == 1 and "without an endpoint" in err


def test_a_screen_is_known_by_its_variables() -> None:
    assert opening.has_screen({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    assert opening.has_screen({}, "darwin") and opening.has_screen({}, "win32")
    assert not opening.has_screen({}, "linux") and not opening.has_screen({"DISPLAY": ""}, "linux")
    assert not opening.has_screen({"SSH_CONNECTION": "x"}, "darwin")
