"""Learning: the update under way as it goes, its charts, what the policy writes, and the updates before."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from dittod.errors import TooFewDemonstrations

from .conftest import PHONE, Site, Watch, flaws, is_wider_than_its_window, visit

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="document.title=1">'
TITLES = ("Supervised loss", "Log-probabilities", "Margin")


def chart(page: Page, title: str) -> Locator:
    return page.get_by_role("figure").filter(has=page.get_by_role("heading", name=title))


def drawing(page: Page, title: str) -> Locator:
    """With its course in words."""
    return chart(page, title).get_by_role("img")


def picture(page: Page, title: str) -> str:
    """The pixels, as they are now."""
    page.wait_for_function("() => window.Chart && Object.keys(Chart.instances).length > 0")
    return str(drawing(page, title).evaluate("canvas => canvas.toDataURL()"))


def test_the_update_under_way_says_how_far_it_is(page: Page) -> None:
    visit(page, "learning")
    expect(page.get_by_role("heading", name="It is learning email")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_accessible_name(
        "Preference steps, iteration 1 · 4 of 20 · about 8 minutes left"
    )
    expect(page.get_by_role("list", name="Stages").locator("[aria-current=step]")).to_contain_text(
        "preference steps, iteration 1: now"
    )


def test_a_chart_tells_its_course_in_words(page: Page) -> None:
    visit(page, "learning")
    expect(drawing(page, "Log-probabilities")).to_have_accessible_name(
        "Log-probabilities, in nats per sequence, steps 1 to 4: "
        "chosen from −41.7 to −40.8; rejected from −41.2 to −44.8"
    )
    expect(drawing(page, "Margin")).to_have_accessible_name("Margin, in nats, steps 1 to 4: from 0.075 to 0.300")
    expect(drawing(page, "Supervised loss")).to_have_accessible_name(re.compile("in nats per token, steps 1 to 8"))


def test_a_chart_has_its_numbers_as_a_table(page: Page) -> None:
    visit(page, "learning")
    chart(page, "Margin").get_by_text("As numbers").click()
    rows = chart(page, "Margin").get_by_role("row")
    expect(rows).to_have_count(5)
    assert rows.all_inner_texts() == ["step\tmargin", "1\t0.075", "2\t0.150", "3\t0.225", "4\t0.300"]


def test_steps_are_added_as_they_are_taken(page: Page, site: Site) -> None:
    visit(page, "learning")
    chart(page, "Margin").get_by_text("As numbers").click()
    before = picture(page, "Margin")
    with page.expect_request("**/dashboard/runs/run-4?after=13"):  # what is there already is not sent again
        site.dashboard.advance()
    expect(drawing(page, "Margin")).to_have_accessible_name("Margin, in nats, steps 1 to 5: from 0.075 to 0.375")
    expect(chart(page, "Margin").get_by_role("row")).to_have_count(6)  # and it is still unfolded
    assert picture(page, "Margin") != before


def test_steps_that_are_taken_anew_are_not_drawn_twice(page: Page, site: Site) -> None:
    """A run that was led back to a checkpoint tells all of its steps again."""
    visit(page, "learning")
    expect(drawing(page, "Margin")).to_have_accessible_name(re.compile("steps 1 to 4"))
    told = site.dashboard.run

    def led_back(id: str, after: int) -> dict[str, Any]:
        return {**told(id, 0), "after": 0, "steps": told(id, 0)["steps"][:11]}

    site.dashboard.run = led_back  # type: ignore[method-assign]
    site.dashboard.all_runs[0]["done"] = 2
    expect(drawing(page, "Margin")).to_have_accessible_name("Margin, in nats, steps 1 to 2: from 0.075 to 0.150")


def test_where_a_round_of_samples_began_a_line_is_drawn(page: Page, site: Site) -> None:
    pictures = []
    for iteration in (0, 1):
        site.dashboard.steps["run-3"][-1]["iteration"] = iteration
        visit(page, "learning")
        visit(page, "learning/run-3")
        page.wait_for_function("() => Object.values(window.Chart?.instances ?? {}).length === 3")
        pictures.append(picture(page, "Margin"))
    assert pictures[0] != pictures[1]


def test_figures_that_come_when_the_page_was_left_are_dropped(page: Page, site: Site) -> None:
    visit(page, "learning")
    picture(page, "Margin")
    page.evaluate(
        "() => {"
        "const whole = window.fetch;"
        "const gate = new Promise((open) => { window.open_gate = open; });"
        "window.fetch = async (path, ...given) => {"
        "  if (!path.startsWith('/dashboard/runs/')) return whole(path, ...given);"
        "  window.is_waiting = true;"
        "  await gate;"
        "  return whole(path, ...given);"
        "};"
        "}"
    )
    site.dashboard.advance()
    page.wait_for_function("() => window.is_waiting")
    visit(page, "connect")
    with page.expect_response("**/dashboard/runs/run-4?after=*") as answered:
        page.evaluate("window.open_gate()")
    answered.value.finished()
    page.evaluate("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 50)))")
    assert page.evaluate("Object.keys(Chart.instances).length") == 0


def test_charts_are_drawn_anew_when_the_colours_of_the_machine_change(page: Page) -> None:
    visit(page, "learning")
    before = picture(page, "Log-probabilities")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "before => document.querySelectorAll('canvas')[1].toDataURL() !== before", arg=before
    )  # the second of them


def test_without_the_library_there_are_the_numbers(page: Page, watch: Watch) -> None:
    watch.expected = ("ERR_FAILED",)
    page.route("**/static/chart.js", lambda route: route.abort())
    visit(page, "learning")
    expect(chart(page, "Margin")).to_contain_text("The chart cannot be drawn.")
    chart(page, "Margin").get_by_text("As numbers").click()
    expect(chart(page, "Margin").get_by_role("row")).to_have_count(5)


def test_what_the_policy_writes_stands_beside_what_the_person_wrote(page: Page) -> None:
    visit(page, "learning")
    sample = page.get_by_role("article").filter(has_text="Write an e-mail about the choir's chairs.")
    expect(sample).to_contain_text("Nine, at the mill. Rain too.")
    expect(sample).to_contain_text("I'll glue what can be glued.")


def test_texts_stay_texts(page: Page, site: Site) -> None:
    for sample in site.dashboard.samples:
        sample.update(text=HOSTILE, prompt=HOSTILE)
    site.dashboard.all_runs[0].update(notes=[HOSTILE], paused=HOSTILE)
    visit(page, "learning")
    expect(page.get_by_text(HOSTILE)).to_have_count(2 + 2 * len(site.dashboard.samples))
    assert page.locator("main img").count() == 0


def test_a_sample_whose_text_is_gone_stands_alone(page: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("404",)
    site.dashboard.samples[2].update(demonstration_id="f" * 64, prompt=None)
    visit(page, "learning")
    sample = page.get_by_role("article").filter(has_text="Nine, at the mill.")
    expect(sample).to_contain_text("A prompt that is not known any more")
    expect(sample.get_by_role("heading", name="you")).to_have_count(0)


def test_an_update_that_is_held_says_why(page: Page, site: Site) -> None:
    site.dashboard.all_runs[0].update(paused="the lid is closed", seconds_left=None)
    visit(page, "learning")
    expect(page.get_by_role("heading", name="Learning email has paused")).to_be_visible()
    expect(page.get_by_text("the lid is closed", exact=True)).to_be_visible()


def test_learn_now_asks_for_an_update(page: Page, site: Site) -> None:
    visit(page, "learning")
    page.get_by_role("button", name="Learn now for default").click()
    expect(page.get_by_role("button", name="Learn now")).to_have_count(0)  # both voices have one that is open
    assert (site.dashboard.all_runs[0]["profile"], site.dashboard.all_runs[0]["state"]) == ("default", "requested")


def test_why_an_update_cannot_be_asked_for_is_said_beside_the_button(page: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("409",)

    def refuses(profile: str) -> dict[str, Any]:
        raise TooFewDemonstrations(f"profile {profile!r} has no demonstration to learn from", "add some")

    site.dashboard.update = refuses  # type: ignore[method-assign]
    visit(page, "learning")
    page.get_by_role("button", name="Learn now for default").click()
    row = page.get_by_role("listitem").filter(has_text="default")
    expect(row.get_by_role("alert")).to_contain_text("Profile 'default' has no demonstration to learn from.")
    site.dashboard.advance()
    expect(drawing(page, "Margin")).to_have_accessible_name(re.compile("steps 1 to 5"))
    expect(row.get_by_role("alert")).to_be_visible()  # also when the page was drawn again


def test_stopping_asks_first(page: Page, site: Site) -> None:
    visit(page, "learning")
    page.get_by_role("button", name="Stop…").click()
    expect(page.get_by_role("dialog")).to_contain_text("what it has learnt is lost")
    page.get_by_role("button", name="Cancel").click()
    assert site.dashboard.all_runs[0]["state"] == "running"
    page.get_by_role("button", name="Stop…").click()
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_role("row").filter(has_text="stopped")).to_have_count(1)
    assert site.dashboard.all_runs[0]["state"] == "stopped"


def test_when_an_update_ends_it_joins_those_before(page: Page, site: Site) -> None:
    visit(page, "learning")
    expect(drawing(page, "Margin")).to_be_visible()
    site.dashboard.all_runs[0]["done"] = 20
    site.dashboard.advance()
    expect(page.get_by_role("row")).to_have_count(5)
    expect(page.get_by_role("img")).to_have_count(0)
    assert page.evaluate("Object.keys(Chart.instances).length") == 0  # they leave nothing behind


def test_an_update_before_opens_with_its_charts(page: Page) -> None:
    visit(page, "learning")
    page.get_by_role("region", name="Earlier updates").get_by_role("row").nth(2).get_by_role("link").first.click()
    page.wait_for_url("**/#learning/run-2")
    expect(page.get_by_role("heading", name="Update of email: done")).to_be_visible()
    expect(page.get_by_role("link", name="email@2")).to_have_attribute("href", "#versions/email%402")
    expect(page.get_by_text("kept back", exact=True)).to_be_visible()
    for title in TITLES:
        expect(drawing(page, title)).to_be_visible()
    expect(page.get_by_role("button", name="Stop…")).to_have_count(0)


def test_an_update_that_failed_says_why(page: Page, site: Site) -> None:
    site.dashboard.all_runs[1].update(state="failed", version=None, promoted=None, error="there was no room: 3 GiB")
    visit(page, "learning")
    expect(page.get_by_role("row").filter(has_text="failed")).to_contain_text("there was no room: 3 GiB")
    visit(page, "learning/run-3")
    expect(page.get_by_role("alert")).to_have_text("there was no room: 3 GiB")


def test_an_update_that_there_is_not_is_said(page: Page, watch: Watch) -> None:
    watch.expected = ("404",)
    visit(page, "learning/nothing")
    expect(page.get_by_role("alert")).to_contain_text("There is no such update.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["learning", "learning/run-3"])
def test_nothing_keeps_anybody_out(page: Page, place: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    visit(page, place)
    chart(page, "Margin").get_by_text("As numbers").click()
    assert flaws(page) == []
    assert not is_wider_than_its_window(page)
