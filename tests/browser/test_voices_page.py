"""Voices: the texts of each profile, what becomes of them, and what can be changed about that."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from .conftest import PHONE, Site, Watch, flaws, is_wider_than_its_window, visit

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
EDITED = "Say when the glazier comes."


def first(site: Site) -> dict[str, Any]:
    return site.dashboard.demonstrations[0]


def open_first(page: Page, site: Site) -> None:
    visit(page, f"voices/email/{first(site)['id']}")


def test_each_voice_has_its_counts(page: Page) -> None:
    visit(page, "voices")
    card = page.get_by_role("article").filter(has=page.get_by_role("link", name="email"))
    for words in ("texts", "ditto/email", "learnt from", "held out to judge by", "excluded by you", "files set aside"):
        expect(card).to_contain_text(words)
    card.get_by_role("link", name="email").click()
    expect(page.get_by_role("heading", name="email", exact=True)).to_be_visible()


def test_a_voice_without_texts_says_where_they_go(page: Page, site: Site) -> None:
    site.dashboard.demonstrations.clear()
    site.dashboard.files.clear()
    visit(page, "voices")
    expect(page.get_by_text("Nothing has been read yet")).to_contain_text("/home/odile/dittod")


def test_a_text_is_listed_with_its_use_as_a_word_and_the_reason(page: Page) -> None:
    visit(page, "voices/email")
    held = page.get_by_role("listitem").filter(has_text="held out")
    expect(held).to_have_count(2)
    expect(held.first).to_contain_text("among the latest")
    expect(page.locator(".texts > li").first).to_contain_text("Write an e-mail about the broken window.")


def test_a_search_waits_for_the_last_key_and_is_there_when_one_comes_back(page: Page) -> None:
    visit(page, "voices/email")
    asked: list[str] = []

    def note(request: Request) -> None:
        if "search=" in request.url:
            asked.append(request.url)

    page.on("request", note)
    page.get_by_role("searchbox", name="Search").press_sequentially("ladder", delay=5)
    expect(page.locator(".texts > li")).to_have_count(1)
    expect(page.locator("#announcer")).to_have_text("1 text found")
    assert {each.partition("search=")[2] for each in asked} <= {"", "ladder"}
    assert "ladder" not in page.url  # browsers keep addresses, and some share them
    page.locator(".texts a").click()
    page.get_by_role("link", name="All of email").click()
    expect(page.locator(".texts > li")).to_have_count(1)
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("ladder")


def test_a_search_keeps_focus_and_finds_nothing_in_words(page: Page) -> None:
    visit(page, "voices/email")
    page.get_by_role("searchbox", name="Search").fill("zeppelin")
    expect(page.get_by_text("No text of this voice is like that.")).to_be_visible()
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()


def test_held_out_ones_can_be_looked_at_alone(page: Page) -> None:
    visit(page, "voices/email")
    page.get_by_label("Show").select_option("Held out")
    expect(page.locator(".texts > li")).to_have_count(2)
    assert "use=hold+out" in page.url


def test_both_halves_are_shown_whole(page: Page, site: Site) -> None:
    first(site)["completion"] = "\n".join(f"line {number}  of many" for number in range(60))
    visit(page, "voices/email")
    page.locator(".texts a").first.click()
    wrote = page.get_by_role("region", name="What you wrote").locator(".text")
    expect(wrote).to_contain_text("line 59  of many")
    assert wrote.evaluate("element => element.textContent") == first(site)["completion"]
    expect(page.get_by_role("region", name="What becomes of it")).to_contain_text("email/sent-00.eml")


def test_a_prompt_is_edited_in_place_and_found_under_its_new_id(page: Page, site: Site) -> None:
    open_first(page, site)
    before = first(site)["id"]
    page.get_by_role("button", name="Edit the prompt").press("Enter")
    editor = page.get_by_role("textbox", name="The prompt")
    expect(editor).to_be_focused()
    editor.fill(EDITED)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    assert first(site)["prompt"] == EDITED
    assert first(site)["id"] != before
    assert page.url.endswith(first(site)["id"])
    page.reload()
    expect(page.get_by_role("region", name="What was asked")).to_contain_text("This prompt is by you.")


def test_an_edited_prompt_goes_back_to_the_templates(page: Page, site: Site) -> None:
    site.dashboard.set_prompt("email", first(site)["id"], EDITED)
    open_first(page, site)
    page.get_by_role("button", name="Back to the template’s").click()
    expect(page.get_by_role("status").filter(has_text="template’s prompt again")).to_be_visible()
    assert first(site)["prompt"] == first(site)["template"]
    expect(page.get_by_role("button", name="Back to the template’s")).to_have_count(0)


def test_a_refused_prompt_is_said_where_it_was_written_and_not_lost(page: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("400",)
    open_first(page, site)
    page.get_by_role("button", name="Edit the prompt").click()
    page.get_by_role("textbox", name="The prompt").fill("   ")
    page.get_by_role("button", name="Save").click()
    asked = page.get_by_role("region", name="What was asked")
    expect(asked.get_by_role("alert")).to_contain_text("The prompt is empty. Nothing was changed")
    expect(page.get_by_role("textbox", name="The prompt")).to_have_value("   ")


def test_what_is_being_typed_survives_a_change_of_the_home(page: Page, site: Site) -> None:
    open_first(page, site)
    page.get_by_role("button", name="Edit the prompt").click()
    page.get_by_role("textbox", name="The prompt").fill("half a sen")
    with page.expect_response("**/dashboard/demonstrations/**"):
        first(site)["reason"] = "learnt from: still"
    expect(page.get_by_role("definition").filter(has_text="still")).to_be_visible()
    expect(page.get_by_role("textbox", name="The prompt")).to_have_value("half a sen")
    expect(page.get_by_role("textbox", name="The prompt")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Edit the prompt")).to_be_focused()
    assert first(site)["prompt"] != "half a sen"


def test_a_text_is_excluded_and_included_again(page: Page, site: Site) -> None:
    open_first(page, site)
    page.get_by_role("button", name="Exclude it").click()
    expect(page.get_by_role("status").filter(has_text="What is served now has learnt from it")).to_be_visible()
    assert first(site)["excluded"]
    page.get_by_role("button", name="Include it again").click()
    expect(page.get_by_role("button", name="Exclude it")).to_be_visible()
    assert not first(site)["excluded"]


def test_a_text_leads_to_its_forgetting(page: Page, site: Site) -> None:
    open_first(page, site)
    link = page.get_by_role("link", name="forget it")
    expect(link).to_have_attribute("href", f"#versions?forget={first(site)['id']}&profile=email")


def test_files_say_what_was_cut_and_masked_and_why_they_are_set_aside(page: Page) -> None:
    visit(page, "voices/email")
    page.get_by_role("link", name="Files (12)").click()
    aside = page.get_by_role("table", name="Files that are set aside")
    expect(aside).to_contain_text("no text of yours is in it: all of it is quoted")
    row = page.get_by_role("row").filter(has_text="sent-00.eml")
    for words in ("signature: 1 line", "quotation: 2 lines", "e-mail address: 1"):
        expect(row).to_contain_text(words)


def test_a_text_that_is_forgotten_meanwhile_is_not_shown_any_longer(page: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("404",)
    open_first(page, site)
    text = site.dashboard.demonstrations.pop(0)["completion"]
    expect(page.get_by_role("alert")).to_contain_text("There is no")
    expect(page.get_by_text(text)).to_have_count(0)


def test_a_voice_that_there_is_not_is_said(page: Page, watch: Watch) -> None:
    watch.expected = ("404",)
    visit(page, "voices/nobody")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_hostile_texts_stay_texts(page: Page, site: Site) -> None:
    first(site).update(prompt=HOSTILE, completion=HOSTILE, template="another", reason=f"learnt from: {HOSTILE}")
    site.dashboard.files[0].update(path=HOSTILE, reasons={HOSTILE: 1}, removed={HOSTILE: 2})
    for place in ("voices/email", f"voices/email/{first(site)['id']}", "voices/email/files"):
        visit(page, place)
        expect(page.get_by_text(HOSTILE).first).to_be_visible()
        assert page.locator("main img, main script").count() == 0
        assert "owned" not in page.title()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wrong_with_the_pages(page: Page, site: Site, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    for place in ("voices", "voices/email", f"voices/email/{first(site)['id']}", "voices/email/files"):
        visit(page, place)
        assert flaws(page) == []
        assert not is_wider_than_its_window(page)
    open_first(page, site)
    page.get_by_role("button", name="Edit the prompt").click()
    assert flaws(page) == []
