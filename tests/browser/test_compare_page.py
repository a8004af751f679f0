"""Before and after: two models side by side, blind or not, the tally, and an answer that is edited and kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from dittod.errors import EngineUnavailable, RequestError
from dittod.serving import Feedback, Outcome, Remark

from ..service.fakes import FakeDesk
from .conftest import PHONE, Site, Watch, flaws, is_wider_than_its_window, visit

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="document.title=1">'
NAMES = ("base", "ditto/email")


class LearningDesk(FakeDesk):
    """What is edited becomes `outcome`."""

    outcome: Outcome = "demonstration"

    def take(self, remark: Remark) -> Feedback:
        return replace(super().take(remark), outcome=self.outcome)


def ask(page: Page, one: str = "base", other: str = "ditto/email", *, blind: bool = False) -> None:
    page.get_by_label("What to write").fill("Ask Bo for tea.")
    page.get_by_label("One", exact=True).select_option(one)
    page.get_by_label("The other").select_option(other)
    page.get_by_label("Blind").set_checked(blind)
    page.get_by_role("button", name="Ask both").click()


def answers(page: Page) -> Locator:
    return page.get_by_role("region", name="Answers")


def answer(page: Page, heading: str) -> Locator:
    return answers(page).get_by_role("article").filter(has=page.get_by_role("heading", name=heading, exact=True))


def choose(page: Page, place: int) -> None:
    answers(page).get_by_role("article").nth(place).get_by_role("button", name="This one is mine").click()


def chance(page: Page, value: int) -> None:
    """What the page draws from now on."""
    page.evaluate("value => { Crypto.prototype.getRandomValues = (numbers) => numbers.fill(value); }", value)


def edit(page: Page, heading: str, text: str) -> None:
    panel = answer(page, heading)
    panel.get_by_role("button", name="Edit and keep").click()
    expect(panel.get_by_role("textbox")).to_have_value("Kind regards, Ærik")
    panel.get_by_role("textbox").fill(text)
    panel.get_by_role("button", name="Keep it").click()


def test_where_answers_are_kept_that_is_said_before_anything_is_asked(page: Page, site: Site) -> None:
    site.dashboard.kept_days = {"default": 30.0}
    visit(page, "compare")
    expect(page.get_by_role("button", name="Write an e-mail").first).to_be_visible()  # all is known by now
    kept = page.get_by_text("are kept for")
    page.get_by_label("The other").select_option("ditto/email")
    expect(kept).to_have_count(0)
    page.get_by_label("The other").select_option("ditto")
    expect(kept).to_have_text("What you ask default, and its answers, are kept for 30 days: keep_interactions says so.")


def test_both_answer_the_same_with_the_same_seed(page: Page, site: Site) -> None:
    visit(page, "compare")
    page.get_by_label("Seed").fill("7")
    ask(page)
    for name in NAMES:
        expect(answer(page, name)).to_contain_text("Kind regards, Ærik")
    assert [each.adapter is None for each in site.backend.asked].count(True) == 1
    assert {(each.sampling.seed, each.sampling.temperature) for each in site.backend.asked} == {(7, 0.7)}
    assert {each.messages and each.messages[0].content for each in site.backend.asked} == {"Ask Bo for tea."}


def test_prompts_of_held_out_texts_are_suggested(page: Page) -> None:
    visit(page, "compare")
    page.get_by_role("button", name="Write an e-mail about the minutes.").click()
    expect(page.get_by_label("What to write")).to_have_value("Write an e-mail about the minutes.")
    expect(page.get_by_role("button", name="Write an e-mail about tea.")).to_have_count(0)  # it was learnt from


def test_a_link_may_say_whom_to_compare(page: Page) -> None:
    visit(page, "compare?one=ditto%2Femail&other=ditto%2Femail%401&prompt=Tea%3F")
    expect(page.get_by_label("One", exact=True)).to_have_value("ditto/email")
    expect(page.get_by_label("The other")).to_have_value("ditto/email@1")
    expect(page.get_by_label("What to write")).to_have_value("Tea?")


def test_one_and_the_same_is_no_comparison(page: Page, site: Site) -> None:
    visit(page, "compare")
    ask(page, "ditto/email", "ditto/email")
    expect(page.get_by_role("alert")).to_have_text("Both are the same. Choose two.")
    assert site.backend.asked == []


@pytest.mark.parametrize("drawn", [0, 1], ids=["as chosen", "the other way round"])
def test_blind_no_name_is_shown_until_the_choice_is_made(page: Page, site: Site, drawn: int) -> None:
    visit(page, "compare")
    chance(page, drawn)
    ask(page, blind=True)
    expect(answers(page).get_by_role("button", name="This one is mine")).to_have_count(2)
    shown = answers(page).inner_html()
    assert not any(name in shown for name in ("base", "ditto", "email"))
    expect(answers(page).get_by_role("button", name="Edit and keep")).to_have_count(0)  # it would name a voice
    choose(page, 0)
    order = NAMES if drawn == 0 else NAMES[::-1]
    expect(answers(page).get_by_role("heading", level=3)).to_have_text(list(order))
    expect(answers(page).get_by_text(f"You took {order[0]} for yours, not {order[1]}.")).to_be_focused()
    assert site.dashboard.judged == [("email", *("email@3" if name == "ditto/email" else name for name in order))]


def test_a_judgement_is_of_who_answered_whatever_is_served_by_then(page: Page, site: Site) -> None:
    visit(page, "compare")
    chance(page, 0)
    ask(page, blind=True)
    expect(answers(page).get_by_role("button", name="This one is mine")).to_have_count(2)
    site.dashboard.promote("email@1")
    choose(page, 1)
    expect(answers(page)).to_contain_text("You took ditto/email for yours, not base.")
    assert site.dashboard.judged == [("email", "email@3", "base")]


def test_blind_the_first_answer_is_asked_for_first(page: Page, site: Site) -> None:
    """So the order of requests says no more than the order on the page."""
    visit(page, "compare")
    chance(page, 1)
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.post_data_json["model"] if "/v1/chat" in request.url else "")
    )
    ask(page, blind=True)
    expect(answers(page).get_by_role("button", name="This one is mine")).to_have_count(2)
    assert list(filter(None, asked)) == ["ditto/email", "base"]


def test_choices_are_counted(page: Page, site: Site) -> None:
    site.dashboard.judged += [("email", "email@3", "base")] * 2 + [("email", "base", "email@3")]
    visit(page, "compare")
    expect(page.get_by_text("You have judged 3 pairs blind.")).to_be_visible()
    row = page.get_by_role("region", name="Which is yours, so far").get_by_role("row").nth(1)
    assert row.inner_text().split("\t") == ["email", "email@3", "2", "base", "1"]
    ask(page, "base", "ditto/email", blind=True)
    choose(page, 1)
    expect(page.get_by_text("You have judged 4 pairs blind.")).to_be_visible()


def test_neither_is_not_counted(page: Page, site: Site) -> None:
    visit(page, "compare")
    ask(page, blind=True)
    page.get_by_role("button", name="Neither is mine").click()
    for name in NAMES:
        expect(answer(page, name)).to_be_visible()
    assert site.dashboard.judged == []


@pytest.mark.parametrize(
    "names", [("base", "ditto"), ("ditto/email", "ditto/email@1")], ids=["base for a voice", "two names of one"]
)
def test_blind_there_is_no_choice_between_two_answers_of_one(page: Page, site: Site, names: tuple[str, str]) -> None:
    visit(page, "compare")
    ask(page, *names, blind=True)
    expect(answers(page)).to_contain_text("Both answers are by the same version, so there is nothing to choose.")
    expect(answers(page).get_by_role("button", name="This one is mine")).to_have_count(0)
    for name in names:
        expect(answer(page, name)).to_be_visible()
    expect(answers(page).get_by_text("answered by base")).to_have_count(1 if "ditto" in names else 0)


def test_a_choice_that_is_refused_is_said_and_may_be_made_again(page: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("400",)

    def refuses(chosen: str, other: str) -> dict[str, Any]:
        raise RequestError("the disk is full", "make room")

    site.dashboard.judge = refuses  # type: ignore[method-assign]
    visit(page, "compare")
    ask(page, blind=True)
    choose(page, 0)
    expect(answers(page).get_by_role("alert")).to_contain_text("he disk is full")
    expect(answers(page).get_by_role("button", name="This one is mine")).to_have_count(2)


def test_both_can_be_stopped(page: Page, site: Site) -> None:
    site.backend.words, site.backend.word_seconds = ("on ",) * 1000, 0.05
    visit(page, "compare")
    ask(page)
    for name in NAMES:
        expect(answer(page, name)).to_contain_text("on on")
    page.get_by_role("button", name="Stop", exact=True).click()
    for name in NAMES:
        expect(answer(page, name)).to_contain_text("It was stopped.")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    assert_closed(page, site, 2)


def test_leaving_the_page_stops_both(page: Page, site: Site) -> None:
    site.backend.words, site.backend.word_seconds = ("on ",) * 1000, 0.05
    visit(page, "compare")
    ask(page)
    expect(answer(page, "base")).to_contain_text("on on")
    visit(page, "connect")
    assert_closed(page, site, 2)


def assert_closed(page: Page, site: Site, count: int) -> None:
    """The engine works on none of them any more."""
    for _ in range(100):
        if len(site.backend.closed) == count:
            return
        page.wait_for_timeout(50)
    assert len(site.backend.closed) == count


def test_blind_an_answer_that_does_not_come_is_not_judged(page: Page, site: Site) -> None:
    site.backend.error, site.backend.error_after = EngineUnavailable("the engine has died", "try again"), 2
    visit(page, "compare")
    ask(page, blind=True)
    expect(answers(page)).to_contain_text("Not both have answered, so nothing is counted")
    for name in NAMES:
        expect(answer(page, name).get_by_role("alert")).to_contain_text("he engine has died")
    expect(answers(page).get_by_role("button", name="This one is mine")).to_have_count(0)


def test_an_edited_answer_becomes_a_text_of_the_voice(page: Page, site: Site) -> None:
    site.backend.feedback = LearningDesk()
    visit(page, "compare")
    ask(page)
    edit(page, "ditto/email", "Bo! Tea at four, by the weir?")
    expect(answer(page, "ditto/email").get_by_role("status")).to_have_text(
        "Kept: it is a text of email now, and the next update learns from it."
    )
    (taken,) = site.backend.feedback.taken
    assert (taken.profile, taken.answer, taken.edited) == (
        "email",
        "Kind regards, Ærik",
        "Bo! Tea at four, by the weir?",
    )
    assert taken.messages[0].content == "Ask Bo for tea."


def test_what_base_wrote_is_kept_for_the_voice_beside_it(page: Page, site: Site) -> None:
    site.backend.feedback = LearningDesk()
    visit(page, "compare")
    ask(page)
    edit(page, "base", "Tea, Bo?")
    expect(answer(page, "base").get_by_role("status")).to_contain_text("a text of email")
    assert site.backend.feedback.taken[0].profile == "email"


@pytest.mark.parametrize(("outcome", "says"), [("rejected", "It is too short"), ("noted", "You have changed nothing")])
def test_it_is_said_what_else_became_of_an_edited_answer(page: Page, site: Site, outcome: Outcome, says: str) -> None:
    site.backend.feedback = LearningDesk()
    site.backend.feedback.outcome = outcome
    visit(page, "compare")
    ask(page)
    edit(page, "ditto/email", "Tea?")
    expect(answer(page, "ditto/email").get_by_role("status")).to_contain_text(says)


def test_an_edited_answer_that_is_refused_is_not_lost(page: Page, site: Site, watch: Watch) -> None:
    watch.expected = ("400",)
    site.backend.feedback.error = RequestError("the watched folder is not there", "mount its disk")
    visit(page, "compare")
    ask(page)
    edit(page, "ditto/email", "Bo! Tea at four, by the weir?")
    expect(answer(page, "ditto/email").get_by_role("alert")).to_contain_text("he watched folder is not there")
    expect(answer(page, "ditto/email").get_by_role("textbox")).to_have_value("Bo! Tea at four, by the weir?")


def test_browsers_are_told_not_to_keep_what_is_typed(page: Page) -> None:
    """Some write it to the disk, to restore a tab with."""
    visit(page, "compare")
    ask(page)
    answer(page, "ditto/email").get_by_role("button", name="Edit and keep").click()
    expect(page.get_by_role("textbox")).to_have_count(2)
    assert [each.get_attribute("autocomplete") for each in page.get_by_role("textbox").all()] == ["off", "off"]


def test_answers_and_prompts_stay_texts(page: Page, site: Site) -> None:
    site.backend.words = (HOSTILE,)
    for each in site.dashboard.demonstrations:
        each["prompt"] = HOSTILE
    visit(page, "compare")
    ask(page)
    for name in NAMES:
        expect(answer(page, name).get_by_text(HOSTILE)).to_be_visible()
    expect(page.get_by_role("button", name=HOSTILE)).to_be_visible()
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(page: Page, site: Site, scheme: Any) -> None:
    site.dashboard.judged.append(("email", "email@3", "base"))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    visit(page, "compare")
    ask(page, blind=True)
    choose(page, 0)
    answer(page, "base").get_by_role("button", name="Edit and keep").click()
    assert flaws(page) == []
    assert not is_wider_than_its_window(page)
