"""Versions: what is served, one version with its verdict, serving another one, forgetting, and receipts."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from dittod.errors import NotFound

from .conftest import PHONE, Site, Watch, flaws, is_wider_than_its_window, visit

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="document.title=1">'


def served(site: Site) -> str | None:
    return next((each["name"] for each in site.dashboard.all_versions if each["served"]), None)


def card(page: Page, profile: str) -> Locator:
    return page.get_by_role("article").filter(has=page.get_by_role("heading", name=profile, exact=True))


def rehearse(page: Page, kind: str, target: str = "", *, profile: str = "email") -> None:
    page.get_by_label(kind).check()
    page.get_by_label("Voice", exact=True).select_option(profile)
    if target:
        page.locator("#forget-target").fill(target)
    page.get_by_role("button", name="Show what would go").click()


def planned(page: Page) -> list[str]:
    """The one row that is shown."""
    row = page.get_by_role("region", name="What would go").get_by_role("row").nth(1)
    return row.inner_text().split("\t")


def test_it_is_shown_what_each_voice_serves(page: Page) -> None:
    visit(page, "versions")
    expect(card(page, "email")).to_contain_text("email@3: DITTO, 3 examples")
    expect(card(page, "default")).to_contain_text("base: the model as it came")
    expect(card(page, "default").get_by_role("button")).to_have_count(0)  # there is nothing to roll back from


def test_every_version_is_listed_with_its_verdict(page: Page) -> None:
    visit(page, "versions")
    row = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="email@2"))
    expect(row).to_contain_text("kept back by the gate")
    expect(row).to_contain_text("not clearly better than email@1")
    expect(row).to_contain_text("+0.12")


def test_a_version_opens_with_judges_guards_and_what_it_wrote(page: Page) -> None:
    visit(page, "versions")
    page.get_by_role("link", name="email@2").click()
    page.wait_for_url("**/#versions/email%402")
    judges = page.get_by_role("region", name="Judges").get_by_role("row")
    assert judges.nth(0).inner_text().split("\t") == ["candidate", "panel", "nats/token", "authorship", "style"]
    assert judges.nth(2).inner_text().split("\t") == ["DITTO ★", "0.340", "2.754", "0.588", "1.312"]
    expect(page.get_by_text("nats/token and style: less is better")).to_be_visible()
    expect(page.get_by_role("region", name="Guards")).to_contain_text("none")
    expect(page.get_by_text("Two lines: we met, we agreed. Cake: Pim.")).to_have_count(2)
    expect(page.get_by_role("heading", name="The prompt is not known any more")).to_be_visible()
    page.get_by_role("heading", name="How learning went").click()
    expect(page.get_by_role("region", name="How learning went")).to_contain_text("margin")
    expect(page.get_by_role("link", name="how it was learnt")).to_have_attribute("href", "#learning/run-2")


@pytest.mark.parametrize("profile", ["a%2Fb", "100%", "why?", "half&half #1"])
def test_a_version_is_found_whatever_its_voice_is_called(page: Page, site: Site, profile: str) -> None:
    for each in site.dashboard.all_versions:
        each["name"] = each["name"].replace("email", profile)
    for run in site.dashboard.all_runs:
        run["version"] = run["version"] and run["version"].replace("email", profile)
    for place in ("versions", "learning"):
        visit(page, place)
        page.get_by_role("link", name=f"{profile}@3", exact=True).first.click()
        expect(page.get_by_role("heading", name=f"{profile}@3", exact=True, level=2)).to_be_visible()


def test_promoting_says_what_spoke_against_it_and_asks(page: Page, site: Site) -> None:
    visit(page, "versions/email@2")
    page.get_by_role("button", name="Promote…").click()
    expect(page.get_by_role("dialog")).to_contain_text("its verdict: not clearly better than email@1")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    assert served(site) == "email@3"
    page.get_by_role("button", name="Promote…").click()
    page.get_by_role("button", name="Serve it all the same").click()
    expect(page.get_by_role("button", name="Roll back…")).to_be_visible()
    assert served(site) == "email@2"


def test_nothing_is_said_against_a_version_that_passed(page: Page, site: Site) -> None:
    visit(page, "versions/email@1")
    page.get_by_role("button", name="Promote…").click()
    expect(page.get_by_role("dialog")).not_to_contain_text("against")
    page.get_by_role("button", name="Serve it", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert served(site) == "email@1"


def test_rolling_back_asks_and_then_serves_what_was_before(page: Page, site: Site) -> None:
    site.dashboard.promote("email@1")
    visit(page, "versions")
    card(page, "email").get_by_role("button", name="Roll back… email").click()
    expect(page.get_by_role("dialog")).to_contain_text("it serves what it served before email@1")
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(card(page, "email")).to_contain_text("email@3")
    assert served(site) == "email@3"


def test_what_cannot_be_served_is_said_in_the_dialog(page: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("404",)

    def refuses(wanted: str) -> dict[str, Any]:
        raise NotFound("version email@2 has no weights any more", "they made room")

    site.dashboard.promote = refuses  # type: ignore[method-assign]
    visit(page, "versions/email@2")
    page.get_by_role("button", name="Promote…").click()
    page.get_by_role("button", name="Serve it all the same").click()
    expect(page.get_by_role("dialog").get_by_role("alert").last).to_contain_text("has no weights any more")


def test_a_version_can_be_pinned_and_unpinned(page: Page, site: Site) -> None:
    visit(page, "versions/email@2")
    for does, pinned in (("Pin", True), ("Unpin", False)):
        page.get_by_role("button", name=f"{does}…", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name=does, exact=True).click()
        expect(page.get_by_text("pinned", exact=True)).to_have_count(int(pinned))
        assert site.dashboard.all_versions[1]["pinned"] is pinned


def test_a_version_that_is_gone_can_only_be_read(page: Page, site: Site) -> None:
    site.dashboard.all_versions[1].update(gone=True, state_in_words="forgotten 2023-11-14")
    visit(page, "versions/email@2")
    expect(page.get_by_text("Its weights are gone")).to_be_visible()
    expect(page.locator("main button")).to_have_count(0)


def test_what_is_served_elsewhere_shows_at_once(page: Page, site: Site) -> None:
    visit(page, "versions")
    expect(card(page, "email")).to_contain_text("email@3")
    site.dashboard.promote("email@1")
    expect(card(page, "email")).to_contain_text("email@1")


def test_a_text_is_forgotten_after_it_was_shown_what_would_go(page: Page, site: Site) -> None:
    text = site.dashboard.demonstrations[0]
    visit(page, "versions")
    rehearse(page, "one text", text["id"][:12])
    expect(page.get_by_role("region", name="What would go")).to_be_visible()
    assert planned(page) == ["email", "1", "email@3, email@2, email@1", "base"]
    assert text in site.dashboard.demonstrations
    page.get_by_role("button", name="Forget 1 text…").click()
    expect(page.get_by_role("dialog")).to_contain_text("The weights of email@3, email@2, email@1 are destroyed.")
    page.get_by_role("button", name="Forget", exact=True).click()
    expect(page.get_by_text("Forgotten: 1 text. All of it is gone.").last).to_be_visible()
    expect(page.get_by_role("region", name="Receipts").get_by_role("row")).to_have_count(3)
    expect(card(page, "email")).to_contain_text("base")
    assert text not in site.dashboard.demonstrations


def test_what_waits_for_a_word_is_forgotten_when_that_is_chosen(page: Page, site: Site) -> None:
    site.dashboard.held_up = 2
    visit(page, "versions")
    page.get_by_label("waits for your word").check()
    page.get_by_role("button", name="Show what would go").click()
    page.get_by_role("button", name="Forget 2 texts…").click()
    page.get_by_role("button", name="Forget", exact=True).click()
    expect(page.get_by_text("Forgotten: 2 texts. All of it is gone.").last).to_be_visible()
    assert len(site.dashboard.demonstrations) == 10


def test_whoever_cancels_forgets_nothing(page: Page, site: Site) -> None:
    count = len(site.dashboard.demonstrations)
    visit(page, "versions")
    rehearse(page, "a whole voice", profile="default")
    page.get_by_role("button", name="Forget 1 text…").click()
    expect(page.get_by_role("dialog")).to_contain_text("No version has learnt from it")
    page.get_by_role("button", name="Cancel").click()
    assert len(site.dashboard.demonstrations) == count


def test_a_rehearsal_of_something_else_cannot_be_carried_out(page: Page, site: Site) -> None:
    visit(page, "versions")
    rehearse(page, "one text", site.dashboard.demonstrations[0]["id"])
    expect(page.get_by_role("button", name="Forget 1 text…")).to_be_visible()
    page.locator("#forget-target").fill(site.dashboard.demonstrations[1]["id"])
    expect(page.get_by_role("button", name="Forget 1 text…")).to_have_count(0)


def test_files_and_texts_of_the_voice_are_offered(page: Page, site: Site) -> None:
    visit(page, "versions")
    page.get_by_label("Voice", exact=True).select_option("email")
    expect(page.locator("#forget-known option").first).to_have_text("Write an e-mail about the broken window.")
    page.get_by_label("all of a file").check()
    expect(page.locator("#forget-known option").first).to_have_attribute("value", "email/sent-00.eml")


def test_what_nobody_learnt_from_is_said(page: Page, watch: Watch) -> None:
    watch.expected = ("404",)
    visit(page, "versions")
    rehearse(page, "all of a file", "email/nothing.eml")
    expect(page.get_by_role("alert")).to_contain_text("othing was learnt from that")


def test_a_link_may_say_what_to_forget(page: Page, site: Site) -> None:
    visit(page, f"versions?profile=email&forget={site.dashboard.demonstrations[3]['id']}")
    expect(page.get_by_label("Voice", exact=True)).to_have_value("email")
    expect(page.locator("#forget-target")).to_have_value(site.dashboard.demonstrations[3]["id"])
    expect(page.locator("#forget-target")).to_be_focused()


def test_texts_stay_texts(page: Page, site: Site) -> None:
    for each in site.dashboard.all_versions:
        each.update(first_reason=HOSTILE, against=[HOSTILE], recipe_in_words=HOSTILE)
        each["verdict"]["reasons"] = [HOSTILE]
    site.dashboard.demonstrations[6]["prompt"] = HOSTILE
    visit(page, "versions")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    visit(page, "versions/email@2")
    page.get_by_role("button", name="Promote…").click()
    expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_text(HOSTILE)
    assert page.locator("main img, dialog img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["versions", "versions/email@2"])
def test_nothing_keeps_anybody_out(page: Page, site: Site, place: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    visit(page, place)
    if place == "versions":
        rehearse(page, "one text", site.dashboard.demonstrations[0]["id"])
        expect(page.get_by_role("region", name="What would go")).to_be_visible()
    assert flaws(page) == []
    assert not is_wider_than_its_window(page)
