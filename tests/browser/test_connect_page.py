"""Connect: settings for each client, with the key hidden until it is asked for."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from ..service.conftest import TOKEN
from .conftest import PHONE, Site, flaws, is_wider_than_its_window, visit

pytestmark = pytest.mark.browser


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


@pytest.fixture(autouse=True)
def may_read_the_clipboard(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])


def test_every_client_is_listed_and_leads_to_its_settings(page: Page) -> None:
    visit(page, "connect")
    page.get_by_role("link", name="Zed").click()
    expect(page.get_by_role("heading", name="Zed")).to_be_visible()
    for words in ("dittod connect zed --write", "~/.config/zed/settings.json", "Choose the model ditto", "not tried"):
        expect(page.get_by_role("main")).to_contain_text(words)


def test_the_address_is_the_one_of_this_page(page: Page, site: Site) -> None:
    visit(page, "connect")
    page.get_by_role("button", name="Copy the address").click()
    expect(page.get_by_text("copied", exact=True)).to_be_visible()
    assert clipboard(page) == f"{site.url}/v1"


def test_the_key_is_nowhere_until_it_is_asked_for(page: Page) -> None:
    visit(page, "connect/env")
    expect(page.get_by_text("OPENAI_API_KEY=••••••••")).to_be_visible()
    assert TOKEN not in page.content()
    assert "«TOKEN»" not in page.content()


def test_a_key_that_is_shown_stands_in_the_settings_and_is_hidden_again(page: Page) -> None:
    visit(page, "connect/env")
    show = page.get_by_role("button", name="Show the key")
    show.click()
    expect(page.get_by_text(f"OPENAI_API_KEY={TOKEN}")).to_be_visible()
    expect(show).to_have_attribute("aria-pressed", "true")
    show.click()
    expect(page.get_by_text("OPENAI_API_KEY=••••••••")).to_be_visible()
    assert TOKEN not in page.content()


def test_a_shown_key_is_hidden_on_the_next_page(page: Page) -> None:
    visit(page, "connect/env")
    page.get_by_role("button", name="Show the key").click()
    expect(page.get_by_text(f"OPENAI_API_KEY={TOKEN}")).to_be_visible()
    visit(page, "connect/zed")
    assert TOKEN not in page.content()


def test_copied_settings_have_the_key_in_them_though_it_is_not_shown(page: Page) -> None:
    visit(page, "connect/env")
    block = page.locator(".block").filter(has_text="OPENAI_API_KEY")
    block.get_by_role("button", name="Copy").click()
    expect(block.get_by_text("copied, with your key in it")).to_be_visible()
    assert f"OPENAI_API_KEY={TOKEN}" in clipboard(page)
    assert TOKEN not in page.content()


def test_a_client_that_there_is_not_is_said(page: Page) -> None:
    visit(page, "connect/<img src=x>")
    expect(page.get_by_role("alert")).to_contain_text("<img src=x>")
    expect(page.get_by_role("link", name="All clients")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wrong_with_the_pages(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    for place in ("connect", "connect/zed", "connect/env"):
        visit(page, place)
        assert flaws(page) == []
        assert not is_wider_than_its_window(page)
