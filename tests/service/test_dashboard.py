"""The dashboard's JSON paths: each asks the dashboard for one thing, and says what went wrong as every path does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from dittod.errors import AlreadyRunning, DittodError, RequestError, TooFewDemonstrations
from dittod_service.app import create_app
from dittod_service.openapi import document

from .browsers import Browser, asked, signed_in
from .conftest import BEARER, TOKEN
from .dashboards import FakeDashboard
from .fakes import EMAIL, FakeBackend
from .wire import error_of

CHAT = {"model": "base", "messages": [{"role": "user", "content": "Write to Ann"}]}
OF_PAGE = ("/dashboard/", "/static/")


@pytest.fixture
def app(backend: FakeBackend, dashboard: FakeDashboard) -> Starlette:
    return create_app(backend, TOKEN, dashboard=dashboard)


@pytest.fixture
def browser(app: Starlette) -> Browser:
    return signed_in(app)


def got(browser: Browser, path: str) -> Any:
    response = browser.ask("GET", f"/dashboard/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def posted(browser: Browser, path: str, body: object) -> Any:
    response = browser.ask("POST", f"/dashboard/{path}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_every_document_comes_as_the_dashboard_made_it(browser: Browser, dashboard: FakeDashboard) -> None:
    id = dashboard.demonstrations[0]["id"]
    assert got(browser, "voices") == dashboard.voices()
    assert got(browser, "voices/email?search=cat%20inside") == dashboard.voice("email", "cat inside")
    assert got(browser, f"demonstrations/{id[:12]}?profile=email") == dashboard.demonstration("email", id)
    assert got(browser, "runs") == dashboard.runs()
    assert got(browser, "runs/run-4?after=9") == dashboard.run("run-4", 9)
    assert got(browser, "versions") == dashboard.versions()
    assert got(browser, "versions/email@2") == dashboard.version("email@2")
    assert got(browser, "receipts") == dashboard.receipts()
    assert got(browser, "judgements") == dashboard.judgements()


def test_the_dashboard_waits_for_the_disk_in_threads_of_its_own(browser: Browser, dashboard: FakeDashboard) -> None:
    for path in ("now", "voices", "runs", "versions", "receipts", "judgements", "connect"):
        got(browser, path)
    assert dashboard.threads and "MainThread" not in dashboard.threads


def test_now_says_what_clients_asked_for_and_leaves_the_page_itself_out(browser: Browser) -> None:
    for _ in range(3):
        got(browser, "now")
    browser.ask("GET", "/", headers={"accept": "text/html"})
    browser.ask("GET", "/static/chart.js")
    browser.ask("GET", "/v1/models")
    asked(browser.app, "GET", "/dashboard/now")
    assert got(browser, "now")["requests"] == {
        "total": 0,
        "failed": 0,
        "running": 0,
        "waiting": 0,
        "tokens_read": 0,
        "tokens_written": 0,
        "recent": [],
    }
    asked(browser.app, "POST", "/v1/chat/completions", headers=BEARER, json=CHAT)
    asked(browser.app, "POST", "/v1/chat/completions", headers=BEARER, json=CHAT)
    asked(browser.app, "GET", "/v1/models/gpt-5", headers=BEARER)
    requests = got(browser, "now")["requests"]
    assert (requests["total"], requests["failed"]) == (3, 1)
    assert (requests["tokens_read"], requests["tokens_written"]) == (6, 8)
    assert requests["recent"] == [
        {"route": "/v1/chat/completions", "status": "2xx", "count": 2},
        {"route": "/v1/models/{id:path}", "status": "4xx", "count": 1},
    ]


def test_looking_on_asks_nothing_of_the_engine(browser: Browser, backend: FakeBackend) -> None:
    for path in ("now", "voices", "runs", "versions", "connect"):
        got(browser, path)
    assert backend.asked == [] and backend.embedded == []


def test_its_requests_are_counted_under_one_name_of_their_own(browser: Browser) -> None:
    got(browser, "now")
    got(browser, "voices/email")
    page = asked(browser.app, "GET", "/metrics", headers=BEARER).text
    assert 'dittod_requests_total{route="dashboard",status="2xx"}' in page
    assert "/dashboard" not in page


def test_a_prompt_is_changed_and_changed_back(browser: Browser, dashboard: FakeDashboard) -> None:
    one = dashboard.demonstrations[0]
    before = one["id"]
    path = f"demonstrations/{before}"
    changed = posted(browser, path, {"profile": "email", "prompt": "Tell Ann of the glazier."})
    assert (changed["prompt"], changed["prompt_by"]) == ("Tell Ann of the glazier.", "user")
    back = posted(browser, f"demonstrations/{changed['id']}", {"profile": "email", "template": True})
    assert (back["id"], back["prompt_by"]) == (before, "template")
    assert posted(browser, path, {"profile": "email", "excluded": True})["use"] == "excluded"
    assert posted(browser, path, {"profile": "email", "excluded": False})["use"] == "learn"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"profile": "email"}, "prompt"),
        ({"profile": "email", "prompt": "x", "excluded": True}, "prompt"),
        ({"profile": "email", "template": False}, "template"),
        ({"profile": "email", "prompt": ""}, "prompt"),
        ({"profile": "email", "prompt": " "}, "prompt"),
        ({"profile": "email", "prompt": "x" * 100_001}, "prompt"),
        ({"prompt": "x"}, "profile"),
        ({"profile": 7, "prompt": "x"}, "profile"),
    ],
)
def test_a_change_without_sense_is_refused_by_its_name(
    browser: Browser, dashboard: FakeDashboard, change: object, param: str
) -> None:
    id = dashboard.demonstrations[0]["id"]
    response = browser.ask("POST", f"/dashboard/demonstrations/{id}", json=change)
    assert (response.status_code, error_of(response)["param"]) == (400, param)
    assert dashboard.demonstrations[0]["prompt_by"] == "template"


def test_learning_is_asked_for_stopped_paused_and_resumed(browser: Browser, dashboard: FakeDashboard) -> None:
    posted(browser, "learning", {"do": "update", "profile": "default"})
    assert dashboard.all_runs[0]["state"] == "requested"
    posted(browser, "learning", {"do": "stop", "profile": "default"})
    assert dashboard.all_runs[0]["state"] == "stopped"
    assert posted(browser, "learning", {"do": "pause", "seconds": 3600})["learning"]["state"] == "paused"
    assert posted(browser, "learning", {"do": "resume"})["requests"]["total"] == 0, "it answers as now does"
    posted(browser, "learning", {"do": "pause", "seconds": None})
    assert dashboard.paused_until is not None


def test_versions_are_promoted_pinned_and_rolled_back(browser: Browser) -> None:
    def served(body: object) -> str:
        return str(posted(browser, "versions", body)["served"]["email"])

    assert served({"do": "promote", "version": "email@1"}) == "email@1"
    assert served({"do": "rollback", "profile": "email", "version": "email@1"}) == "email@3"
    for do, pinned in (("pin", True), ("unpin", False)):
        told = posted(browser, "versions", {"do": do, "version": "email@2"})
        assert next(each["pinned"] for each in told["versions"] if each["number"] == 2) is pinned


def test_forgetting_is_rehearsed_before_it_is_done(browser: Browser, dashboard: FakeDashboard) -> None:
    id = dashboard.demonstrations[0]["id"]
    planned = posted(browser, "forget", {"targets": [id], "rehearse": True})
    assert planned["receipts"][0]["adapters"] == ["email@3", "email@2", "email@1"]
    assert len(dashboard.demonstrations) == 12
    done = posted(browser, "forget", {"targets": [id], "texts": 1, "rehearse": False})
    assert done["finished"] and len(dashboard.demonstrations) == 11
    assert got(browser, "receipts")["receipts"][-1]["demonstrations"] == 1
    posted(browser, "forget", {"profile": "default", "texts": 1, "rehearse": False})
    assert {each["profile"] for each in dashboard.demonstrations} == {"email"}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("versions", {"do": "rollback", "profile": "email", "version": "email@2"}, "By now email@3 is served"),
        ("forget", {"profile": "email", "texts": 10, "rehearse": False}, "By now it would be 11 texts"),
    ],
)
def test_what_is_not_as_it_was_shown_when_it_was_confirmed_is_not_done(
    browser: Browser, dashboard: FakeDashboard, path: str, body: object, said: str
) -> None:
    response = browser.ask("POST", f"/dashboard/{path}", json=body)
    assert response.status_code == 409 and error_of(response)["message"].startswith(said)
    assert len(dashboard.demonstrations) == 12 and dashboard.versions()["served"]["email"] == "email@3"


def test_nothing_is_forgotten_by_a_slip(browser: Browser, dashboard: FakeDashboard) -> None:
    id = dashboard.demonstrations[0]["id"]
    for body, param in [
        ({"targets": [id]}, "rehearse"),
        ({"targets": [id], "rehearse": None}, "rehearse"),
        ({"targets": [id], "rehearse": "false"}, "rehearse"),
        ({"targets": [id], "rehearse": False}, "texts"),
        ({"targets": [id], "texts": -1, "rehearse": False}, "texts"),
        ({"rehearse": False}, "targets"),
        ({"targets": [id], "profile": "email", "rehearse": False}, "targets"),
        ({"targets": [], "rehearse": False}, "targets"),
        ({"targets": [], "waiting": True, "rehearse": False}, "targets"),
        ({"profile": "email", "waiting": True, "rehearse": False}, "targets"),
        ({"waiting": False, "rehearse": False}, "waiting"),
        ({"targets": [""], "rehearse": False}, "targets[0]"),
        ({"targets": id, "rehearse": False}, "targets"),
    ]:
        response = browser.ask("POST", "/dashboard/forget", json=body)
        assert (response.status_code, error_of(response)["param"]) == (400, param)
    assert len(dashboard.demonstrations) == 12


def test_what_waits_for_a_word_is_forgotten_by_its_own_name_only(browser: Browser, dashboard: FakeDashboard) -> None:
    response = browser.ask("POST", "/dashboard/forget", json={"waiting": True, "rehearse": True})
    assert error_of(response)["message"].startswith("Nothing waits for a word from you.")
    dashboard.held_up = 2
    assert posted(browser, "forget", {"waiting": True, "rehearse": True})["receipts"][0]["demonstrations"] == 2
    assert posted(browser, "forget", {"waiting": True, "texts": 2, "rehearse": False})["finished"]
    assert len(dashboard.demonstrations) == 10 and dashboard.held_up == 0


def test_judgements_are_tallied(browser: Browser) -> None:
    told = posted(browser, "judgements", {"chosen": EMAIL.id, "other": "base"})
    assert told == got(browser, "judgements")
    assert told["tallies"] == [
        {"profile": "email", "one": "base", "other": "email@3", "one_chosen": 0, "other_chosen": 1}
    ]


def test_clients_are_told_the_address_under_which_the_page_was_reached(app: Starlette) -> None:
    """Through a tunnel the port is another one."""
    for url in ("http://127.0.0.1:3488", "http://localhost:9999", "https://[::1]:3488"):
        told = got(signed_in(app, url), "connect")
        assert told["url"] == f"{url}/v1" and TOKEN not in json.dumps(told)


def test_the_token_is_shown_to_who_asks_for_it(browser: Browser) -> None:
    assert got(browser, "token") == {"token": TOKEN}


@pytest.mark.parametrize(
    "path",
    [
        "voices/nobody",
        "runs/nope",
        "versions/email@9",
        "demonstrations/feed?profile=email",
        "demonstrations/a?profile=x",
    ],
)
def test_what_there_is_not_is_a_404_in_the_words_of_the_error(browser: Browser, path: str) -> None:
    response = browser.ask("GET", f"/dashboard/{path}")
    error = error_of(response)
    assert (response.status_code, error["code"], error["param"]) == (404, "not_found", None)
    assert error["message"].startswith("There is no ") and ". " in error["message"]


@pytest.mark.parametrize("path", ["nothing", "voices/a/b", "runs/", "", "link", "learning", "events/x"])
def test_a_path_that_is_none_is_no_fault_of_the_server(browser: Browser, path: str) -> None:
    assert browser.ask("GET", f"/dashboard/{path}").status_code in (401, 404, 405)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("runs/run-4?after=-1", "after"),
        ("runs/run-4?after=x", "after"),
        ("runs/run-4?after=9999999999999", "after"),
        ("runs/run-4?after=%D9%A3", "after"),
        ("voices/email?search=" + "x" * 1001, "search"),
        ("demonstrations/0123", "profile"),
    ],
)
def test_a_question_without_sense_is_refused_by_its_name(browser: Browser, path: str, param: str) -> None:
    response = browser.ask("GET", f"/dashboard/{path}")
    assert (response.status_code, error_of(response)["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"do": "update"}, "profile"),
        ({"do": "stop"}, "profile"),
        ({"do": "dance"}, "do"),
        ({}, "do"),
        ({"do": "pause", "seconds": -1}, "seconds"),
        ({"do": "pause", "seconds": 1e9}, "seconds"),
        ({"do": "pause", "seconds": "1"}, "seconds"),
    ],
)
def test_an_order_without_sense_is_refused_by_its_name(browser: Browser, body: object, param: str) -> None:
    response = browser.ask("POST", "/dashboard/learning", json=body)
    assert (response.status_code, error_of(response)["param"]) == (400, param)


def test_an_order_about_a_version_names_it(browser: Browser) -> None:
    for body, param in (
        ({"do": "pin"}, "version"),
        ({"do": "rollback", "version": "email@1"}, "profile"),
        ({"do": "rollback", "profile": "email"}, "version"),
    ):
        response = browser.ask("POST", "/dashboard/versions", json=body)
        assert (response.status_code, error_of(response)["param"]) == (400, param)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RequestError("it cannot be so", "do it otherwise", param="x", code="y"), 400, "y"),
        (TooFewDemonstrations("there is too little to learn from", "do it otherwise"), 409, "not_now"),
        (AlreadyRunning("another one is at it", "do it otherwise"), 409, "not_now"),
        (DittodError("the disk is full", "do it otherwise"), 500, None),
    ],
)
def test_errors_come_with_what_to_do(
    browser: Browser, dashboard: FakeDashboard, error: DittodError, status: int, code: str | None
) -> None:
    dashboard.error = error
    response = browser.ask("POST", "/dashboard/learning", json={"do": "update", "profile": "email"})
    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert error_of(response)["message"].lower() == f"{error.title}. do it otherwise"


def test_a_fault_says_nothing_of_the_texts(
    browser: Browser, dashboard: FakeDashboard, caplog: pytest.LogCaptureFixture
) -> None:
    dashboard.error = ValueError("the third pot from the left")
    response = browser.ask("GET", "/dashboard/voices/email?search=blue+pot")
    assert response.status_code == 500
    logged = [each.getMessage() for each in caplog.records if each.name.startswith("dittod")]
    assert len(logged) == 1 and "ValueError" in logged[0]
    assert "pot" not in response.text and "pot" not in logged[0]


def test_a_service_without_a_dashboard_has_no_paths_for_one(backend: FakeBackend) -> None:
    app = create_app(backend, TOKEN)
    for path in ("/dashboard/now", "/static/chart.js"):
        assert asked(app, "GET", path, headers=BEARER).status_code == 404
    assert asked(app, "GET", "/", headers={"accept": "text/html"}).text.startswith("dittod is running")


def test_the_description_for_programs_leaves_out_what_is_for_the_page(app: Starlette) -> None:
    """The page's paths change with it; every other route is described, as test_openapi says."""
    there = {route.path.replace(":path}", "}") for route in app.routes if isinstance(route, Route)}
    assert there - set(document()["paths"]) == {each for each in there if each.startswith(OF_PAGE)}
