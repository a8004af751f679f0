"""How pages are drawn: what stays the same element when it is drawn again, and how moments and sizes are said."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from .conftest import Site

pytestmark = pytest.mark.browser


@pytest.fixture
def blank(stranger: Page, site: Site) -> Page:
    """A page with nothing but a box, and every name of dom.js."""
    stranger.goto(site.url)
    stranger.wait_for_selector("main h1")
    stranger.evaluate(
        "async () => { Object.assign(window, await import('/static/dom.js'));"
        " window.box = document.createElement('div'); document.body.replaceChildren(box); }"
    )
    return stranger


def run(page: Page, code: str) -> Any:
    return page.evaluate(f"() => {{ {code} }}")


def test_what_is_alike_stays_the_same_element(blank: Page) -> None:
    code = """
        render(box, h('p', {class: 'old', title: 't'}, 'one'), 'two');
        const before = box.firstChild;
        render(box, h('p', {class: 'new'}, 'three'), 'four');
        return [before === box.firstChild, box.innerHTML];
    """
    assert run(blank, code) == [True, '<p class="new">three</p>four']


def test_an_element_with_a_key_is_found_wherever_it_goes(blank: Page) -> None:
    code = """
        const list = (...names) => render(box, names.map((name) => h('p', {key: name}, name)));
        list('a', 'b', 'c');
        const [a, b, c] = box.children;
        list('c', 'x', 'a');
        return [box.textContent, box.children[0] === c, box.children[2] === a, b.isConnected];
    """
    assert run(blank, code) == ["cxa", True, True, False]


def test_another_kind_of_element_is_another_one(blank: Page) -> None:
    code = """
        render(box, h('p', {}, 'a'), h('b', {key: 'k'}, 'b'));
        render(box, h('ul', {}, h('li', {}, 'c')), h('i', {key: 'k'}, 'd'));
        return box.innerHTML;
    """
    assert run(blank, code) == "<ul><li>c</li></ul><i>d</i>"


def test_an_element_that_is_given_again_is_left_alone(blank: Page) -> None:
    code = """
        const canvas = h('canvas', {width: 7});
        const draw = (words) => render(box, words && h('div', {}, words), h('div', {}, canvas), h('div', {}, 'end'));
        draw(null);
        canvas.setAttribute('width', '9');
        draw('more');
        draw(null);
        return [box.innerHTML, box.querySelector('canvas') === canvas];
    """
    assert run(blank, code) == ['<div><canvas width="9"></canvas></div><div>end</div>', True]


def test_the_latest_handler_counts_alone(blank: Page) -> None:
    code = """
        window.said = [];
        render(box, h('button', {onclick: () => said.push('old'), onfocus: () => said.push('focus')}, 'a'));
        const button = box.firstChild;
        render(box, h('button', {onclick: () => said.push('new')}, 'a'));
        button.click();
        button.focus();
        return said;
    """
    assert run(blank, code) == ["new"]


def test_what_a_person_did_to_an_element_stays(blank: Page) -> None:
    code = """
        const draw = (words) => render(box, h('details', {}, h('summary', {}, words)), h('input', {value: 'first'}));
        draw('one');
        box.firstChild.open = true;
        box.lastChild.value = 'typed';
        box.lastChild.focus();
        draw('two');
        return [box.firstChild.open, box.firstChild.textContent, box.lastChild.value,
                document.activeElement === box.lastChild];
    """
    assert run(blank, code) == [True, "two", "typed", True]


def test_markup_in_texts_and_attributes_is_no_markup(blank: Page) -> None:
    code = """
        const evil = '"><img src=x onerror=alert(1)>';
        render(box, h('p', {title: evil}, evil));
        return [box.querySelectorAll('img').length, box.textContent === evil, box.firstChild.title === evil];
    """
    assert run(blank, code) == [0, True, True]


def test_what_is_not_there_is_not_drawn(blank: Page) -> None:
    assert run(blank, "render(box, null, false, undefined, '', 0, [h('i'), [null, 'x']]); return box.innerHTML;") == (
        "0<i></i>x"
    )


def test_moments_are_said_as_people_do(blank: Page) -> None:
    ages = {
        5: "just now",
        300: "5 minutes ago",
        7200: "2 hours ago",
        100_000: "1 day ago",
        400_000: "5 days ago",
        -3600 * 48: None,  # a date
    }
    said = run(blank, f"return {[*ages]}.map((age) => time(Date.now() / 1000 - age).textContent);")
    assert said[:-1] == [*ages.values()][:-1]
    assert "ago" not in said[-1]


def test_a_moment_long_ago_is_a_date_and_none_is_a_dash(blank: Page) -> None:
    assert run(blank, "return [time(1700000000).textContent, time(null).textContent];") == ["14 Nov 2023", "–"]


def test_durations_are_rounded_to_what_matters(blank: Page) -> None:
    lengths = {0.2: "1 second", 59: "59 seconds", 600: "10 minutes", 12_000: "3 h 20 min", 7200: "2 h", 2e5: "2 days"}
    assert run(blank, f"return {[*lengths]}.map(duration);") == [*lengths.values()]


def test_sizes_are_said_in_their_unit(blank: Page) -> None:
    sizes = {0: "0 MiB", 500: "1 KiB", 2**20 * 812: "812 MiB", 2**30 * 3.25: "3.3 GiB"}
    assert run(blank, f"return {[*sizes]}.map(bytes);") == [*sizes.values()]


def test_a_dialog_does_it_or_says_why_not_and_stays(blank: Page) -> None:
    blank.evaluate(
        "() => { window.tries = 0;"
        " window.asked = dialog({title: 'Sure?', body: ['words'], confirm: 'Do it', danger: true,"
        " action: async () => { if (++tries < 2) throw new Error('It is busy.'); }}); }"
    )
    assert blank.evaluate("document.activeElement.textContent") == "Cancel"  # what harms is not the first choice
    blank.get_by_role("button", name="Do it").click()
    assert blank.get_by_role("dialog", name="Sure?").get_by_role("alert").inner_text() == "It is busy."
    blank.get_by_role("button", name="Do it").click()
    assert blank.evaluate("asked") is True
    assert blank.get_by_role("dialog").count() == 0


def test_a_dialog_that_is_left_does_nothing(blank: Page) -> None:
    blank.evaluate(
        "() => { window.done = false;"
        " window.asked = dialog({title: 'Sure?', confirm: 'Do it', action: async () => { done = true; }}); }"
    )
    blank.keyboard.press("Escape")
    assert blank.evaluate("asked") is False
    assert blank.evaluate("done") is False


def test_a_button_that_waits_is_not_pressed_twice(blank: Page) -> None:
    code = """
        const box_ = h('div'), button = h('button', {}, 'a');
        let calls = 0, end;
        const first = act(button, box_, () => { calls++; return new Promise((resolve) => { end = resolve; }); });
        const second = act(button, box_, () => { calls++; });
        end();
        return Promise.all([first, second]).then((done) => [calls, ...done, button.hasAttribute('aria-disabled')]);
    """
    assert run(blank, code) == [1, True, False, False]
