"""The frame of the dashboard: signing in and out, going from page to page, and a daemon that comes and goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from dittod.errors import DittodError

from ..service.conftest import BEARER
from ..service.servers import running
from .conftest import HEADING, PHONE, WAIT_MILLISECONDS, Site, Watch, flaws, is_wider_than_its_window, settled, visit

pytestmark = pytest.mark.browser

PAGES = ("now", "voices", "learning", "compare", "versions", "connect")


def kept(page: Page) -> dict[str, str]:
    """What the page has left in the browser."""
    return dict(page.evaluate("() => ({...localStorage})"))


def until(page: Page, condition: Callable[[], object]) -> None:
    """Lets the browser go on until it holds, for as long as anything else may take."""
    for _ in range(WAIT_MILLISECONDS // 10):
        if condition():
            return
        page.wait_for_timeout(10)
    raise AssertionError("it did not come")


def test_a_stranger_is_told_how_to_sign_in_and_shown_nothing(stranger: Page, site: Site) -> None:
    stranger.goto(site.url)
    expect(stranger.locator(HEADING)).to_have_text("Open this page from a terminal")
    expect(stranger.get_by_text("dittod open", exact=True)).to_be_visible()
    expect(stranger.get_by_role("link", name="Voices")).to_have_count(0)
    assert site.dashboard.threads == set()  # nobody asked it anything


def test_a_link_signs_in_and_leaves_its_code_nowhere(stranger: Page, site: Site) -> None:
    link = site.link()
    stranger.goto(link)
    stranger.wait_for_url("**/#now")
    settled(stranger)
    stranger.go_back()
    assert "sign-in" not in stranger.url
    stranger.goto("about:blank")
    stranger.go_back()
    assert "sign-in" not in stranger.url


def test_a_link_signs_in_once(stranger: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("401",)
    link = site.link()
    httpx.post(f"{site.url}/dashboard/session", json={"code": link.partition("sign-in=")[2]})
    stranger.goto(link)
    expect(stranger.get_by_role("alert")).to_contain_text("dittod open")
    expect(stranger.locator(HEADING)).to_have_text("Open this page from a terminal")


def test_a_link_leads_to_the_page_where_one_was_and_no_further(page: Page, site: Site, watch: Watch) -> None:
    """A browser that is not signed in any more keeps no name of a voice, and no hash of a text."""
    watch.expected = ("401",)
    visit(page, f"voices/email/{site.dashboard.demonstrations[0]['id']}")
    page.context.clear_cookies()
    page.reload()
    expect(page.locator(HEADING)).to_have_text("Open this page from a terminal")
    assert kept(page) == {"dittod_last_page": "#voices"}
    page.goto("about:blank")
    page.goto(site.link())
    page.wait_for_url("**/#voices")


def test_who_signs_out_leaves_nothing_in_the_browser(page: Page) -> None:
    visit(page, "voices/email")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_function("() => localStorage.length === 0")
    assert kept(page) == {}


def test_a_link_that_is_none_does_not_sign_out(page: Page, site: Site, watch: Watch) -> None:
    """Every web page can lead here with a code of its own making."""
    watch.expected = ("401",)
    visit(page, "voices")
    page.goto(f"{site.url}/#sign-in=nonsense")
    expect(page.get_by_role("alert")).to_contain_text("too old")
    expect(page.locator(HEADING)).to_have_text("Voices")
    expect(page.get_by_role("link", name="email", exact=True)).to_be_visible()
    assert page.url.endswith("#voices")
    assert flaws(page) == []


def test_while_an_answer_is_long_in_coming_it_is_not_asked_for_again(page: Page) -> None:
    """Changes may come every second, as files are read."""
    page.add_init_script(
        "window.EventSource = class {"
        "  addEventListener(_, heard) { window.change = () => heard({ data: JSON.stringify({ views: ['voices'] }) }); }"
        "  close() {}"
        "};"
    )
    page.reload()
    visit(page, "voices")
    asked: list[Route] = []
    page.route("**/dashboard/voices", lambda route: asked.append(route))
    page.evaluate("for (let each = 0; each < 5; each++) change()")
    for _ in range(2):  # for the first change, and once for the others
        until(page, lambda: asked)
        page.evaluate("new Promise((resolve) => setTimeout(resolve))")
        assert len(asked) == 1
        with page.expect_response("**/dashboard/voices"):
            asked.pop().continue_()


def test_who_signs_out_is_out_also_after_a_reload(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator(HEADING)).to_have_text("Open this page from a terminal")
    page.reload()
    expect(page.locator(HEADING)).to_have_text("Open this page from a terminal")
    assert page.context.cookies() == []


def test_a_session_that_ends_meanwhile_leads_to_the_way_back(page: Page, watch: Watch, site: Site) -> None:
    watch.expected = ("401",)
    page.context.clear_cookies()
    page.get_by_role("link", name="Voices").click()
    expect(page.locator(HEADING)).to_have_text("Open this page from a terminal")
    assert page.url.endswith("#voices")


def test_another_tab_that_signs_in_brings_this_one_back(page: Page, site: Site) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator(HEADING)).to_have_text("Open this page from a terminal")
    other = page.context.new_page()
    other.goto(site.link())
    settled(other)
    expect(page.locator(HEADING)).to_have_text("Now")


@pytest.mark.parametrize("place", PAGES)
def test_a_page_is_reached_by_keyboard_and_has_its_heading_focused(page: Page, place: str) -> None:
    link = page.locator(f"#navigation a[href='#{place}']")
    link.focus()
    page.keyboard.press("Enter")
    settled(page)
    expect(link).to_have_attribute("aria-current", "page")
    expect(page.locator("h1")).to_have_count(1)
    if place != "now":  # where one is already, nothing happens
        expect(page.locator(HEADING)).to_be_focused()
    assert page.title() == f"{page.locator(HEADING).inner_text()} · dittod"


def test_the_first_key_skips_to_the_content(page: Page) -> None:
    page.reload()
    settled(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert page.url.endswith("#now")


def test_back_leads_back(page: Page) -> None:
    page.get_by_role("link", name="Voices").click()
    settled(page)
    page.go_back()
    expect(page.locator(HEADING)).to_have_text("Now")


def test_a_place_that_there_is_not_leads_to_now(page: Page) -> None:
    page.goto(page.url.replace("#now", "#nowhere/at%all"))
    page.wait_for_url("**/#now")
    settled(page)


def test_a_daemon_that_is_gone_is_said_quietly_and_found_again(page: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("ERR_", "Failed to load")
    site.end()
    expect(page.locator("#banner")).to_contain_text("dittod does not answer; trying again")
    page.get_by_role("link", name="Voices").click()
    expect(page.get_by_role("alert")).to_contain_text("dittod run")
    with running(site.backend, dashboard=site.dashboard, port=site.server.port):
        expect(page.get_by_role("link", name="email", exact=True)).to_be_visible()
        expect(page.locator("#banner")).to_be_empty()
        page.goto("about:blank")


def test_a_change_is_shown_without_being_asked_for(page: Page, site: Site) -> None:
    visit(page, "now")
    httpx.post(f"{site.url}/dashboard/learning", headers=BEARER, json={"do": "pause", "seconds": None})
    expect(page.locator(".state")).to_have_text(re.compile("not learning|on hold"))
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_a_page_that_cannot_be_brought_up_to_date_says_so_and_recovers(
    page: Page, site: Site, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.expected = ("400", "500", "503")

    def locked() -> dict[str, Any]:
        raise DittodError("the texts are sealed", "unlock the keyring")

    with monkeypatch.context() as sealed:
        sealed.setattr(site.dashboard, "now", locked)
        site.dashboard.demonstrations.pop()
        expect(page.locator("#banner")).to_contain_text("This page is not up to date: The texts are sealed.")
    site.dashboard.demonstrations.pop()
    expect(page.locator("#banner")).to_be_empty()


def test_a_tab_that_nobody_sees_does_not_listen(page: Page) -> None:
    def see(hidden: bool) -> None:
        page.evaluate(
            "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            hidden,
        )

    with page.expect_event("requestfailed", lambda request: request.url.endswith("/dashboard/events")):
        see(True)
    with page.expect_request("**/dashboard/events"):
        see(False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wrong_with_the_sign_in_page(stranger: Page, site: Site, scheme: str) -> None:
    stranger.emulate_media(color_scheme=scheme)
    stranger.goto(site.url)
    stranger.wait_for_selector(HEADING)
    assert flaws(stranger) == []


@pytest.mark.parametrize("place", PAGES)
def test_a_page_fits_a_phone(page: Page, place: str) -> None:
    page.set_viewport_size(PHONE)
    visit(page, place)
    assert not is_wider_than_its_window(page)
    expect(page.locator(f"#navigation a[href='#{place}']")).to_be_in_viewport()
