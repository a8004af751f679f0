"""The dashboard over a real daemon, from signing in to forgetting: dropped files, an update that is watched, a blind
judgement, an edited answer, versions, receipts; and what may happen to a page that is left open.

Only the updates are short and the model tiny. Numbered steps share one daemon, since an update takes a while.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from daemons import mail, wait_for
from fakes import make_tiny_model, teach
from playwright.sync_api import Locator, Page, expect

from .conftest import HEADING, PHONE, Watch, flaws, is_wider_than_its_window, settled, visit
from .whole import NEXT_TO_NOTHING, WORDS, Home, home, tab_to

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

LEARNING_MILLISECONDS = 200_000  # for an update, which yields to everybody else on the machine
ANSWER_MILLISECONDS = 60_000
PROMPT = "Write to Ann: is there tea?"
EDITED = "Dear Ann, there is tea on every day but one, and that one is Friday. Bob"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
RIGHT_TO_LEFT = "\u202eהתה\u202c שלום 👩‍👩‍👧‍👦🏴‍☠️ " + "Donaudampfschifffahrt" * 40
SIGN_IN_PAGE = "Open this page from a terminal"


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that ends its answers, so that an update on it can pass the gate."""
    folder = make_tiny_model(tmp_path_factory.mktemp("taught") / "model")
    return teach(
        folder, [(f'Write an e-mail to Ann about "Note {n}".', f"Hi Ann, {n} or so. Bye. Sue") for n in range(9)]
    )


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    """A running daemon in a new home; with the taught model for tests that learn or ask."""
    model = str(request.getfixturevalue("taught")) if "taught" in request.fixturenames else "starter"
    made = home(tmp_path, model)
    made.start()
    yield made
    made.daemon.kill()


def counted(page: Page) -> Locator:
    """How many texts the one voice has, on Voices."""
    return page.get_by_role("article").locator(".figure")


def drawn_points(page: Page) -> int:
    """What stands in the first chart."""
    return int(
        page.evaluate(
            "window.Chart?.getChart(document.querySelector('.chart canvas'))?.data.datasets[0].data.length ?? 0"
        )
    )


def accessible(page: Page) -> None:
    """Nothing keeps anybody out, in the light and in the dark, and nothing is too wide for a phone."""
    size = page.viewport_size
    assert size is not None
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert flaws(page) == [], scheme
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    assert not is_wider_than_its_window(page)
    page.set_viewport_size(size)


def confirm(page: Page, words: str) -> None:
    """Agrees in a dialog, which has to be as accessible as the page."""
    asked = page.get_by_role("dialog")
    expect(asked).to_be_visible()
    assert flaws(page) == []
    asked.get_by_role("button", name=words, exact=True).click()
    expect(asked).to_have_count(0)


def test_from_a_link_to_a_receipt(page: Page, site: Home, taught: Path, watch: Watch) -> None:
    # 1. signed in by the link, which is good for nobody else; nothing is there
    expect(page.locator(".state")).to_contain_text("not learning")
    visit(page, "voices")
    expect(page.get_by_text("Nothing has been read yet")).to_be_visible()
    accessible(page)

    # 2. files are dropped, and the open page shows their texts
    site.drop_notes(last=5)
    expect(counted(page)).to_have_text("5 texts", timeout=ANSWER_MILLISECONDS)
    accessible(page)

    # 3. a prompt is changed by keyboard alone, from the first page on
    visit(page, "now")
    tab_to(page, page.get_by_role("link", name="Voices", exact=True))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="default", exact=True))
    page.keyboard.press("Enter")
    tab_to(page, page.locator(".texts a").nth(3))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="Edit the prompt"))
    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(PROMPT)
    tab_to(page, page.get_by_role("button", name="Save"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    texts = site.daemon.json("demos", "list")["demonstrations"]
    assert [each["prompt"] for each in texts].count(PROMPT) == 1
    accessible(page)

    # 4. a text is excluded, and included again
    page.get_by_role("button", name="Exclude it").click()
    page.get_by_role("button", name="Include it again").click()
    expect(page.get_by_role("button", name="Exclude it")).to_be_visible()

    # 5. with two texts more an update begins, and is watched: its progress moves, the chart grows, samples stand beside
    # the texts
    supervised, dpo = site.hold("supervised", 5), site.hold("dpo", 3)
    visit(page, "learning")
    site.drop_notes(first=5)
    progress = page.locator("main progress")
    expect(page.get_by_text("5 of 20")).to_be_visible(timeout=LEARNING_MILLISECONDS)
    expect(progress).to_have_attribute("value", "5")
    wait_for(lambda: drawn_points(page) == 5, 30)
    accessible(page)
    supervised.unlink()
    expect(page.get_by_role("img", name=re.compile("^Margin, .* steps 1 to 3: "))).to_be_visible(
        timeout=LEARNING_MILLISECONDS
    )
    wait_for(lambda: drawn_points(page) == 20, 30)
    samples = page.locator("article.card").filter(has=page.locator(".written.mine"))
    expect(samples.first).to_contain_text("Dear Ann, note")
    accessible(page)
    dpo.unlink()
    outcome = page.get_by_role("table", name="Earlier updates").get_by_role("row").nth(1)
    expect(outcome).to_contain_text("default@1 promoted", timeout=LEARNING_MILLISECONDS)
    accessible(page)

    # 6. another daemon, and the browser is still signed in; an update that learns next to nothing is held by a pause,
    # resumed, and comes to nothing better
    page.goto("about:blank")
    site.start_anew(NEXT_TO_NOTHING)
    page.goto(f"{site.url}/#learning")
    held = site.hold("supervised", 1)
    page.get_by_role("button", name="Learn now").click()
    expect(page.get_by_text("1 of 2", exact=False).first).to_be_visible(timeout=LEARNING_MILLISECONDS)
    visit(page, "now")
    page.get_by_role("button", name="Pause until I resume").click()
    expect(page.locator(".state")).to_contain_text("Learning is on hold")
    accessible(page)
    held.unlink()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause until I resume")).to_be_visible()
    visit(page, "learning")
    expect(outcome).to_contain_text("default@2 kept", timeout=LEARNING_MILLISECONDS)

    # 7. two are compared blind: no name until one is chosen, which is counted
    visit(page, "compare")
    accessible(page)
    page.get_by_label("What to write").fill(PROMPT)
    page.get_by_label("Blind").check()
    page.get_by_role("button", name="Ask both").click()
    mine = page.get_by_role("button", name="This one is mine")
    expect(mine).to_have_count(2, timeout=ANSWER_MILLISECONDS)
    answers = page.get_by_role("region", name="Answers")
    assert "ditto" not in answers.inner_html() and "base" not in answers.inner_html()
    accessible(page)
    mine.first.click()
    expect(page.get_by_text("You have judged 1 pair blind.")).to_be_visible()
    expect(answers.get_by_role("heading", name="ditto", exact=True)).to_be_visible()
    accessible(page)

    # 8. an answer is edited and kept: it is a demonstration
    answer = page.get_by_role("article").filter(has=page.get_by_role("heading", name="ditto", exact=True))
    answer.get_by_role("button", name="Edit and keep…").click()
    answer.get_by_role("textbox").fill(EDITED)
    accessible(page)
    answer.get_by_role("button", name="Keep it").click()
    expect(answer.get_by_role("status")).to_contain_text("it is a text of default now")
    visit(page, "voices")
    expect(counted(page)).to_have_text(f"{len(WORDS) + 1} texts", timeout=ANSWER_MILLISECONDS)

    # 9. what the gate kept back is promoted by hand, after what spoke against it was read; and rolled back
    visit(page, "versions/default@2")
    accessible(page)
    page.get_by_role("button", name="Promote…").click()
    expect(page.get_by_role("dialog")).to_contain_text("What spoke against it")
    confirm(page, "Serve it all the same")
    assert site.daemon.profile()["adapter"]["number"] == 2
    visit(page, "versions")
    page.get_by_role("button", name="Roll back…").click()
    confirm(page, "Roll back")
    assert site.daemon.profile()["adapter"]["number"] == 1
    accessible(page)

    # 10. learning waits, and a text is forgotten, with both versions that have seen it
    visit(page, "now")
    page.get_by_role("button", name="Pause until I resume").click()
    learnt = site.daemon.json("adapters", "list")["adapters"][0]["demonstration_ids"][0]
    visit(page, f"voices/default/{learnt}")
    page.get_by_role("link", name="forget it").click()
    settled(page)
    page.get_by_role("button", name="Show what would go").click()
    page.get_by_role("button", name="Forget 1 text…").click()
    expect(page.get_by_role("dialog")).to_contain_text("default then serves base")
    confirm(page, "Forget")
    expect(page.get_by_text("Forgotten: 1 text.").last).to_be_visible()
    receipt = page.get_by_role("table", name="Receipts").get_by_role("row").nth(1)
    expect(receipt).to_contain_text(re.compile("default@[12], default@[12] withdrawn; base served since"))
    expect(receipt).to_contain_text("all gone", timeout=ANSWER_MILLISECONDS)
    accessible(page)
    assert learnt not in {each["id"] for each in site.daemon.json("demos", "list")["demonstrations"]}
    for version in site.daemon.json("adapters", "list")["adapters"]:
        assert not Path(version["path"]).exists()

    # 11. nothing that was written or said is in a log, and who is signed out is out
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator(HEADING)).to_have_text(SIGN_IN_PAGE)
    accessible(page)
    for path in (site.daemon.output, *(site.daemon.home / "logs").iterdir()):
        for words in ("tea", "Friday", PROMPT):
            assert words not in path.read_text(), path.name


def test_a_link_signs_in_one_browser(stranger: Page, site: Home, watch: Watch) -> None:
    watch.expected = ("401",)
    link = site.link()
    assert re.fullmatch(re.escape(site.url) + "/#sign-in=[A-Za-z0-9_-]{43}", link)
    code = link.partition("sign-in=")[2]
    assert httpx.post(f"{site.url}/dashboard/session", json={"code": code}).status_code == 200
    stranger.goto(link)
    expect(stranger.get_by_role("alert")).to_contain_text("dittod open")
    stranger.goto(site.link())
    expect(stranger.locator(".state")).to_be_visible()


def test_a_page_outlives_its_daemon_and_another_token_ends_it(page: Page, site: Home, watch: Watch) -> None:
    watch.expected = ("ERR_", "Failed to load", "401")
    page.evaluate("window.isTheSame = true")
    site.daemon.kill()
    expect(page.locator("#banner")).to_contain_text("dittod does not answer; trying again")
    site.drop_notes()
    site.start()
    expect(page.locator("#banner")).to_be_empty(timeout=ANSWER_MILLISECONDS)
    page.get_by_role("link", name="Voices", exact=True).click()
    expect(counted(page)).to_have_text(f"{len(WORDS)} texts", timeout=ANSWER_MILLISECONDS)
    assert page.evaluate("window.isTheSame") is True

    site.daemon.kill()
    (site.daemon.home / "token").unlink()
    site.start()
    expect(page.locator(HEADING)).to_have_text(SIGN_IN_PAGE, timeout=ANSWER_MILLISECONDS)
    expect(page.get_by_text("note 3")).to_have_count(0)


def test_two_tabs_show_the_same(page: Page, site: Home, watch: Watch) -> None:
    site.drop_notes()
    site.read(len(WORDS))
    other = watch.over(page.context.new_page())
    other.goto(f"{site.url}/#voices/default")
    settled(other)
    visit(page, "voices/default")
    page.locator(".texts a").first.click()
    page.get_by_role("button", name="Exclude it").click()
    expect(other.locator(".texts > li").first).to_contain_text("excluded")
    other.get_by_role("button", name="Sign out").click()
    expect(page.locator(HEADING)).to_have_text(SIGN_IN_PAGE)


def test_hostile_mails_are_displayed_harmlessly(page: Page, site: Home) -> None:
    for day, words in enumerate((HOSTILE, RIGHT_TO_LEFT, f"{HOSTILE}\n" + "word " * 200_000), start=1):
        subject = {"Subject": HOSTILE if day == 1 else f"Note {day}"}
        site.drop(f"{day}<b>.eml", mail(f"Dear Ann,\n\n{words}\n\nBob", day=day, headers=subject))
    for day, words in enumerate(WORDS, start=4):
        site.drop(f"{day}.eml", mail(words, day=day))
    wait_for(lambda: site.daemon.profile()["demonstrations"] > len(WORDS), 90)
    for place in ("voices", "voices/default", "voices/default/files", "versions", "compare"):
        visit(page, place)
        harmless(page)
    hostile = [each for each in site.daemon.json("demos", "list")["demonstrations"] if "note" not in each["completion"]]
    assert len(hostile) >= 2
    for each in hostile:
        visit(page, f"voices/default/{each['id']}")
        harmless(page)
    visit(page, "voices/default")
    page.get_by_role("searchbox").fill("onerror")
    expect(page.locator(".texts > li").first).to_contain_text("<img src=x onerror=")


def harmless(page: Page) -> None:
    accessible(page)
    assert page.locator("main img, main script, main b").count() == 0
    assert "owned" not in page.title()


def test_a_thousand_texts_are_no_burden(page: Page, site: Home) -> None:
    for number in range(1000):
        words = f"Dear Ann, this is note {number} of many, and it tells of the tea of that day. Bob"
        site.drop(f"{number}.eml", mail(words, day=number % 28 + 1, headers={"Subject": f"Tea {number}"}))
    wait_for(lambda: site.daemon.profile()["demonstrations"] == 1000, 180)
    before = time.monotonic()
    visit(page, "voices/default")
    shown = time.monotonic() - before
    expect(page.locator(".texts > li")).to_have_count(300)
    expect(page.get_by_text("and 700 older ones")).to_be_visible()
    page.get_by_role("searchbox").fill("note 777")
    before = time.monotonic()
    expect(page.locator(".texts > li")).to_have_count(1)
    found = time.monotonic() - before
    assert shown < 5 and found < 5, f"shown after {shown:.1f} s, found after {found:.1f} s"  # tenths, if undisturbed
