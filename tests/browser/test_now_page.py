"""Now: whether it is learning and why not, what is served, and what can be done about it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from dittod.errors import TooFewDemonstrations

from .conftest import Site, Watch, flaws, visit

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def told(monkeypatch: pytest.MonkeyPatch, site: Site, **other: Any) -> None:
    """What the page is told from now on, besides what the dashboard says."""
    before = site.dashboard.now

    def now() -> dict[str, Any]:
        return {**before(), **other}

    monkeypatch.setattr(site.dashboard, "now", now)


def without_run(site: Site) -> None:
    site.dashboard.all_runs = [run for run in site.dashboard.all_runs if run["state"] == "done"]


def size_of(page: Page, selector: str) -> float:
    return float(page.locator(selector).first.evaluate("element => parseFloat(getComputedStyle(element).fontSize)"))


def test_the_largest_words_say_whether_it_is_learning(page: Page) -> None:
    expect(page.locator(".state")).to_have_text("It is learning from “email”.")
    others = page.locator("body *:not(.state)").evaluate_all(
        "all => all.map(element => parseFloat(getComputedStyle(element).fontSize))"
    )
    assert size_of(page, ".state") > max(others)


def test_a_run_shows_its_stage_and_the_time_that_is_left(page: Page) -> None:
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "4")
    expect(page.get_by_text("Preference steps, iteration 1 · 4 of 20 · about 8 minutes left")).to_be_visible()
    expect(page.get_by_role("link", name="Watch it learn")).to_have_attribute("href", "#learning/run-4")


def test_while_all_of_the_time_left_is_not_known_that_of_the_stage_is_shown(page: Page, site: Site) -> None:
    site.dashboard.all_runs[0]["seconds_left"] = None
    visit(page, "now")
    expect(page.get_by_text("4 of 20 · about 7 minutes left of this stage")).to_be_visible()


def test_while_nothing_is_learnt_the_sentence_says_why(page: Page, site: Site) -> None:
    without_run(site)
    expect(page.locator(".state")).to_have_text("It is not learning: requests are coming in.")
    expect(page.get_by_text("Whether to learn is looked at next at 12:30.")).to_be_visible()


def test_a_changed_sentence_is_read_out(page: Page, site: Site) -> None:
    expect(page.locator("#announcer")).to_be_empty()
    without_run(site)
    expect(page.locator("#announcer")).to_have_text("It is not learning: requests are coming in.")


def test_a_run_that_is_held_up_says_why(page: Page, site: Site) -> None:
    site.dashboard.all_runs[0].update(paused="on battery")
    expect(page.locator(".state")).to_have_text("Learning is on hold: on battery.")


@pytest.mark.parametrize(("button", "least"), [("Pause for an hour", 3500.0), ("Pause until I resume", 1e8)])
def test_learning_is_paused_and_goes_on(page: Page, site: Site, button: str, least: float) -> None:
    page.get_by_role("button", name=button).press("Enter")
    resume = page.get_by_role("button", name="Resume")
    expect(resume).to_be_visible()
    until = site.dashboard.paused_until
    assert until is not None and until - time.time() > least
    expect(page.locator(".state")).to_be_focused()  # the button that was pressed is gone
    resume.click()
    expect(page.get_by_role("button", name=button)).to_be_visible()
    assert site.dashboard.paused_until is None


def test_a_voice_is_learnt_when_asked(page: Page, site: Site) -> None:
    page.get_by_role("button", name="Learn default now").click()
    expect(page.get_by_role("button", name="Learn default now")).to_have_count(0)
    assert site.dashboard.all_runs[0]["profile"] == "default"


def test_what_cannot_be_done_is_said_beside_the_buttons_in_the_same_words(
    page: Page, site: Site, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.expected = ("400", "409", "422")
    error = TooFewDemonstrations("2 demonstrations are too few", "put more texts into the folder")

    def refuse(profile: str) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(site.dashboard, "update", refuse)
    page.get_by_role("button", name="Learn default now").click()
    expect(page.get_by_role("alert")).to_contain_text("2 demonstrations are too few. Put more texts into the folder")
    expect(page.get_by_role("button", name="Learn default now")).not_to_have_attribute("aria-disabled", "true")


def test_memory_and_disk_are_measured_against_their_budgets(page: Page) -> None:
    expect(page.get_by_role("meter", name="Memory: 700 MiB of 4.0 GiB")).to_be_visible()
    expect(page.get_by_role("meter", name="Disk: 173 MiB of 5.0 GiB")).to_be_visible()


def test_memory_without_a_budget_is_a_figure(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, site, memory={"used_bytes": 2**30, "budget_bytes": None})
    visit(page, "now")
    expect(page.get_by_text("1.0 GiB", exact=True)).to_be_visible()
    expect(page.get_by_role("meter", name="Memory")).to_have_count(0)


def test_what_is_served_leads_to_its_version_and_texts(page: Page, site: Site) -> None:
    served = site.dashboard.all_versions[0]["id"]
    card = page.get_by_role("article").filter(has=page.get_by_role("heading", name="email"))
    expect(card.get_by_role("link", name="email@3")).to_have_attribute("href", f"#versions/{served}")
    expect(card).to_contain_text("DITTO, 3 examples")
    expect(card.get_by_role("link", name="texts")).to_have_attribute("href", "#voices/email")
    other = page.get_by_role("article").filter(has=page.get_by_role("heading", name="default"))
    expect(other).to_contain_text("no version is promoted yet")


def test_first_steps_are_listed_until_all_are_done(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = page.get_by_role("region", name="First steps").get_by_role("listitem")
    expect(steps).to_have_count(3)
    expect(steps.last).to_contain_text("to do: Ask it something")
    told(monkeypatch, site, setup=[{"done": True, "what": "Ask it something"}])
    visit(page, "now")
    expect(page.get_by_role("heading", name="What is served")).to_be_visible()
    expect(steps).to_have_count(0)


def test_every_trouble_has_its_notice(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = {
        **site.dashboard.now()["profiles"][0],
        "run": None,
        "rolled_back": {"at": 0, "sentence": "4 of its answers were empty", "served": "base"},
        "last_error": "the disk was full",
    }
    engine = {**site.dashboard.now()["engine"], "set_aside": ["email@2"], "trouble": "the engine keeps dying"}
    learning = {"state": "waiting", "reason": None, "profiles": {}, "unreadable": ["the battery"]}
    changes = {"watched_folder_is_mounted": False, "brake": "40 files are gone at once", "identities": []}
    told(monkeypatch, site, profiles=[profile], engine=engine, learning=learning, **changes)
    visit(page, "now")
    notices = page.locator(".notice")
    for words in (
        "cannot be read: until it can be",
        "40 files are gone at once",
        "the engine keeps dying",
        "email@2 is not used until the next start",
        "whose the mails are",
        "1 file set aside",
        "rolled back by itself: 4 of its answers were empty",
        "failed: the disk was full",
        "Not known, and so not heeded: the battery",
    ):
        expect(notices.filter(has_text=words)).to_have_count(1)
    expect(page.locator(".state")).to_have_text("It is about to learn.")
    expect(page.get_by_role("button", name="Learn now")).to_be_visible()


def test_texts_stay_texts(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, site, brake=HOSTILE, next=HOSTILE, watched_folder=HOSTILE)
    visit(page, "now")
    expect(page.locator(".notice").filter(has_text=HOSTILE)).to_have_count(1)
    assert page.locator("main img").count() == 0
    assert "owned" not in page.title()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wrong_with_the_page(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    assert flaws(page) == []
