"""What an update is made of: the texts of its run as they are now, and what may stand beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import demonstration

from dittod import material
from dittod.config import Settings
from dittod.material import TextsChanged, impostors_of, learnt_by, pool_of, update_of
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Adapter, Demonstration, Recipe, Rejected, Run, Verdict

Q, P = "Write again", "Write"
LONG = "please find the weekly figures attached and tell me by noon whether anything in them looks wrong to you"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    opened = Store(home.store)
    yield opened
    opened.close()


def text(place: int, says: str = "") -> Demonstration:
    says = says or " ".join(f"word{place}x{each}" for each in range(9))
    return demonstration(f"Write {place}", says, written_at=float(place))


def write(store: Store, *texts: Demonstration, profile: str = "default") -> None:
    store.record_file(FileRow(f"{profile}/f", profile, 1, 1, "read", "", (), {}, 1000.0), texts)


def a_run(learnt: Demonstration, held_out: Demonstration) -> Run:
    return Run("r", "default", "requested", 7, "clean", 1.0, (learnt.id,), (held_out.id,))


def test_an_update_is_told_all_that_the_settings_say_of_judging(home: Home, store: Store) -> None:
    texts = [text(place) for place in range(4)]
    write(store, *texts)
    settings = Settings(secrets=("Wexcombe",), examples=5, confidence=0.8, max_ability_loss=0.5)
    made = Adapter(
        "a", "default", 0, "candidate", "", "r", "m", "1", "t", (), 1, 1.0, None, Verdict(True, (), {}), False,
        Recipe("base", examples=2),
    )  # fmt: skip
    served = store.add_adapter(made)
    update = update_of(home, store, settings, a_run(texts[0], texts[3]), served)
    assert (update.secrets, update.examples, update.confidence) == (("Wexcombe",), 5, 0.8)
    assert update.max_ability_loss == 0.5 and update.seed == 7
    assert update.served is not None and (update.served.weights, update.served.examples) == (False, 2)
    assert (update.demonstrations, update.held_out) == ((texts[0],), (texts[3],))
    assert update.pool == tuple(texts[:3]), "all that is not held out, the newest last"


def test_nothing_in_the_pool_gives_away_a_held_out_text(store: Store) -> None:
    held_out = text(5, LONG)
    copy, other, excluded = text(1, LONG + " thanks"), text(2), text(3)
    write(store, copy, other, excluded, held_out)
    store.exclude("default", excluded.id, excluded=True)
    assert pool_of(store, "default", [held_out]) == (other,)


def test_a_text_that_is_there_twice_is_in_the_pool_once(store: Store) -> None:
    """What several texts say counts as the person's formula, and a copy of it as no copy."""
    first, again, other = text(1, LONG), text(3, LONG + " thanks"), text(2)
    write(store, first, again, other)
    assert pool_of(store, "default", []) == (other, again)


def test_what_quotes_a_held_out_text_is_not_in_the_pool(store: Store) -> None:
    held_out, other = text(5, LONG), text(2)
    write(store, held_out, other, demonstration(f"Write a reply to this: {LONG}", "Fine by me", written_at=6.0))
    assert pool_of(store, "default", [held_out]) == (other,)


def test_the_pool_holds_the_newest_as_far_as_there_is_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text(place) for place in range(6)]
    write(store, *texts)
    monkeypatch.setattr(material, "MOST_IN_POOL", 4)
    assert pool_of(store, "default", [texts[5]]) == tuple(texts[1:5])
    monkeypatch.setattr(material, "MOST_CHARACTERS", 3 * (len(texts[0].prompt) + len(texts[0].completion)))
    assert pool_of(store, "default", [texts[5]]) == tuple(texts[2:5])


def test_impostors_are_the_newest_of_the_other_profiles_in_turns_and_nobody_elses_copies(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = text(0)
    write(store, own)
    write(store, *(text(place) for place in range(10, 19)), profile="blog")
    write(store, text(20), own, profile="mail")
    monkeypatch.setattr(material, "MOST_IMPOSTORS", 4)
    expected = [text(18), text(20), text(17), text(16)]
    assert impostors_of(store, "default", [own]) == tuple(each.completion for each in expected)
    assert impostors_of(store, "nobody's", []) != ()


def test_without_other_profiles_there_are_no_impostors(store: Store) -> None:
    write(store, text(0))
    assert impostors_of(store, "default", []) == ()


@pytest.mark.parametrize("lost", ["learnt", "held out"])
def test_a_run_of_which_a_text_was_excluded_is_no_more_what_it_was(home: Home, store: Store, lost: str) -> None:
    texts = [text(0), text(1)]
    write(store, *texts)
    run = a_run(*texts)
    assert learnt_by(home, store, run).demonstrations == (texts[0],)
    store.exclude("default", texts[lost == "held out"].id, excluded=True)
    with pytest.raises(TextsChanged):
        learnt_by(home, store, run)


def test_a_run_keeps_the_rejected_answers_that_it_began_with(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said meanwhile must not cost it its checkpoint; what is taken back must not be learnt from."""
    texts = [text(0), text(1)]
    write(store, *texts)
    said = [Rejected(P, "No."), Rejected(P, "Never.", texts[0].id)]
    monkeypatch.setattr(store, "rejected", lambda profile: list(said))
    run = a_run(*texts)
    first = learnt_by(home, store, run).rejected
    assert first == tuple(said)
    noted = home.runs / run.id / "rejected.json"
    assert noted.stat().st_mode & 0o777 == 0o600 and "Never" not in noted.read_text()
    said.append(Rejected(Q, "Not so."))
    assert learnt_by(home, store, run).rejected == first
    del said[0]
    with pytest.raises(TextsChanged):
        learnt_by(home, store, run)
