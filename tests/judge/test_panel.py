"""Which texts judges know, whom a person is told from, and that the panel likes the person best."""

from __future__ import annotations

from dataclasses import replace

from fakes import demonstration, finish

from dittod.engine.protocol import Update
from dittod.judge.impostors import shipped_impostors
from dittod.judge.panel import KNOWN_TEXTS, Panel, impostor_texts, known_texts
from dittod.judge.style import StyleProfile
from dittod.judge.verifier import Verifier

POOL = tuple(
    demonstration(f"Write about {what}", f"The {what} is {how}.", written_at=float(place))
    for place, (what, how) in enumerate([("barn", "red"), ("boat", "new"), ("goat", "loud"), ("mill", "old")])
)
HELD_OUT = (demonstration("Write about a goat", "The goat eats it all.", written_at=9.0),)


def update(**changes: object) -> Update:
    made = Update("u", "run", "adapters", "clean", 3, POOL[:2], HELD_OUT, None, pool=POOL)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_judges_know_what_was_learnt_and_may_be_shown_once_each_the_newest() -> None:
    assert known_texts(update()) == [each.completion for each in POOL]
    many = tuple(demonstration("Write", f"Text {n}", written_at=float(n)) for n in range(KNOWN_TEXTS + 5))
    assert known_texts(update(pool=many))[-1] == f"Text {KNOWN_TEXTS + 4}"
    assert len(known_texts(update(pool=many))) == KNOWN_TEXTS
    assert HELD_OUT[0].completion not in known_texts(update(pool=(*POOL, *HELD_OUT)))


def test_nobody_is_told_from_themselves() -> None:
    shipped = shipped_impostors()[0]
    given = update(impostors=("Another's text", POOL[0].completion, HELD_OUT[0].completion))
    found = impostor_texts(given, ["Base's answer", "Judged too", " "], ["Judged too", shipped])
    assert {"Another's text", "Base's answer"} <= set(found)
    assert not {POOL[0].completion, HELD_OUT[0].completion, "Judged too", " ", shipped} & set(found)


def test_the_panel_has_one_number_for_each_judge_and_prompt_higher_for_the_person() -> None:
    known = [f"Ahoy {name}!\n\nThe tide is in.\n\nFair winds,\nOdile" for name in ("Tom", "Ann", "Bo", "Cy", "Di")]
    panel = Panel(Verifier(known, shipped_impostors()), StyleProfile.of(known), None, ())
    mine, theirs = [[known[0], known[1]], [known[2], known[3]]], [["Dear all, see below.", "No."], ["Regards", "ok"]]
    _, ours = finish(panel.scores(mine, theirs, known[:2]))
    _, others = finish(panel.scores(theirs, theirs, known[:2]))
    assert ours.keys() == others.keys() == {"verifier", "style"}
    for judge in ours:
        assert len(ours[judge]) == 2 and min(ours[judge]) > max(others[judge])
