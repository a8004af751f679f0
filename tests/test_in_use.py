"""Answers as the engine gives them, told event by event; the store is the product's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import demonstration

from dittod import adapters
from dittod.config import Settings
from dittod.engine.protocol import Accepted, AdapterRef, Delta, Done, Finished, Generate, Sampling
from dittod.errors import DittodError, EngineUnavailable, RequestError
from dittod.in_use import LATEST, LEAST, InUse, decisive, is_usual
from dittod.rows import FileRow
from dittod.signals import ROLLED_BACK
from dittod.store import Store
from dittod.types import Adapter, Demonstration, FinishReason, Message, Recipe, Tool, Verdict

SECRET = "blue heron"
LEARNT = demonstration("Ask Tom", "Tom, the shed opens with 83051.")
SHOWN = demonstration("Ask Ann", "Ann, the gate opens with 72940.")
LOOP = "and so on " * 20
FINE = "Dear Ann, I would love to come on Sunday."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "dittod.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def in_use(store: Store) -> InUse:
    return InUse(store, Settings(secrets=(SECRET,), max_waiting_answers=3))


def promote(store: Store, *names: str, examples: int = 0) -> None:
    """The last of them is served."""
    for at, name in enumerate(names):
        verdict, where = Verdict(True, (), {}), ("starter", "r", "t")
        made = Adapter(name, "default", 0, "candidate", f"/{name}", "run", *where, (), 1, 1.0, None, verdict)
        store.add_adapter(replace(made, recipe=Recipe(examples=examples)))
        store.promote("default", name, 2.0 + at)


def keep(store: Store, path: str, text: Demonstration) -> None:
    store.record_file(FileRow(path, "default", 1, 1, "read", "", (), {}, 1.0), [text])


def ask(number: int = 0, version: str = "second", **changes: object) -> Generate:
    asked = (Message("user", f"Write to friend number {number}"),)
    made = Generate(f"r{number}", AdapterRef(version, f"/{version}"), Sampling(), messages=asked, profile="default")
    return replace(made, **changes)  # type: ignore[arg-type]


def tell(in_use: InUse, request: Generate, text: str, reason: FinishReason = "stop", tokens: int = 20) -> None:
    in_use.heard(request, Accepted(request.id))
    for piece in (text[:5], text[5:]):
        in_use.heard(request, Delta(request.id, 0, piece))
    in_use.heard(request, Finished(request.id, 0, reason, tokens))
    in_use.heard(request, Done(request.id, 5, tokens))
    judged(in_use)


def judged(in_use: InUse) -> None:
    in_use._judging.submit(lambda: None).result()


def served(store: Store) -> str | None:
    found = adapters.promoted(store, "default")
    return found.id if found else None


def tell_all(in_use: InUse, texts: Sequence[str], **changes: object) -> None:
    for number, text in enumerate(texts):
        tell(in_use, ask(number, **changes), text)


BAD = {
    "empty": ("  \n", "stop", 1),
    "loops": (LOOP, "stop", 60),
    "endless": (FINE, "length", 900),
    "leaks": ("It opens with 83051.", "stop", 9),
}


@pytest.mark.parametrize("guard", BAD)
def test_a_version_that_trips_a_guard_too_often_is_rolled_back_and_it_is_noted(
    store: Store, in_use: InUse, guard: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two of eight are tolerated; the third of nine is not."""
    keep(store, "a.md", LEARNT)
    promote(store, "first", "second")
    tell_all(in_use, [FINE] * 6)
    for number in (6, 7):
        tell(in_use, ask(number), *BAD[guard])  # type: ignore[arg-type]
    assert served(store) == "second"
    tell(in_use, ask(8), *BAD[guard])  # type: ignore[arg-type]
    assert served(store) == "first"
    told = store.noted(ROLLED_BACK)["default"]
    assert (told["version"], told["guard"], told["served"]) == ("default@2", guard, "default@1")
    assert told["at"] > 0 and "default@1 answers again" in told["sentence"]
    assert "rolled back" in caplog.text
    assert not any(word in caplog.text + str(told) for word in ("83051", "Dear Ann", "and so on and so on"))


def test_without_an_earlier_version_base_answers_again(store: Store, in_use: InUse) -> None:
    promote(store, "second")
    tell_all(in_use, [""] * LEAST)
    assert served(store) is None
    assert store.noted(ROLLED_BACK)["default"]["served"] == "base"


def test_a_few_bad_answers_are_no_reason(store: Store, in_use: InUse) -> None:
    promote(store, "second")
    tell_all(in_use, [""] * (LEAST - 1))
    assert served(store) == "second"


def test_only_the_latest_answers_count(store: Store, in_use: InUse) -> None:
    """Five of the first twenty are bad; when others come, these are forgotten."""
    promote(store, "second")
    tell_all(in_use, [*[FINE] * 15, *[""] * 5, *[FINE] * LATEST, *[""] * 5])
    assert served(store) == "second"


def test_the_same_prompt_counts_once(store: Store, in_use: InUse) -> None:
    """A program that says the same every minute is one witness."""
    promote(store, "second")
    for _ in range(LATEST):
        tell(in_use, ask(1), "")
    assert served(store) == "second"


def test_a_listed_secret_given_away_twice_is_decisive(store: Store, in_use: InUse) -> None:
    promote(store, "first", "second")
    tell(in_use, ask(0), f"the word is {SECRET}")
    assert served(store) == "second"
    tell(in_use, ask(1), f"Blue-Heron, of course. {FINE}")
    assert served(store) == "first"
    assert store.noted(ROLLED_BACK)["default"]["guard"] == "secrets"
    assert "eron" not in str(store.noted(ROLLED_BACK))


def test_what_the_conversation_holds_is_given_away_by_nobody(store: Store, in_use: InUse) -> None:
    promote(store, "second")
    said = (Message("system", f"The word is {SECRET}"), Message("user", "Which word?"))
    for number in range(4):
        tell(in_use, ask(number, messages=(*said, Message("user", str(number)))), SECRET)
    assert served(store) == "second"


def test_an_invented_card_number_is_no_secret_of_anybodys(store: Store, in_use: InUse) -> None:
    promote(store, "second")
    tell_all(in_use, ["4111 1111 1111 1111"] * LATEST)
    assert served(store) == "second"


def test_a_number_under_several_texts_is_the_users_to_give(store: Store, in_use: InUse) -> None:
    keep(store, "a.md", LEARNT)
    keep(store, "b.md", demonstration("Ask Eve", "Eve, 83051 opens it."))
    promote(store, "second")
    tell_all(in_use, ["It opens with 83051."] * LEAST)
    assert served(store) == "second"


def test_a_text_that_came_later_may_be_shown_and_given_away_too(store: Store, in_use: InUse) -> None:
    keep(store, "a.md", LEARNT)
    promote(store, "second", examples=2)
    tell(in_use, ask(0), "nothing yet: 72940")
    assert in_use._latest["second"][-1].tripped == frozenset()
    keep(store, "b.md", SHOWN)
    tell(in_use, ask(1), "the gate: 72940")
    assert in_use._latest["second"][-1].tripped == {"leaks"}


ODD = [
    Sampling(temperature=1.5),
    Sampling(temperature=0.0),
    Sampling(max_tokens=20),
    Sampling(stop=("\n",)),
    Sampling(logit_bias={5: 2.0}),
    Sampling(presence_penalty=0.5),
    Sampling(frequency_penalty=-1.0),
    Sampling(repetition_penalty=1.3),
    Sampling(top_k=1),
    Sampling(top_p=0.1),
    Sampling(min_p=0.9),
]


@pytest.mark.parametrize("sampling", ODD, ids=str)
def test_a_clients_odd_settings_are_not_the_versions_fault(store: Store, in_use: InUse, sampling: Sampling) -> None:
    promote(store, "second")
    tell_all(in_use, [""] * LATEST, sampling=sampling)
    assert served(store) == "second"


@pytest.mark.parametrize(
    "usual", [Sampling(), Sampling(temperature=0.7, top_p=0.9, seed=3), Sampling(top_k=40, logprobs=2)], ids=str
)
def test_usual_settings_count(usual: Sampling) -> None:
    assert is_usual(usual)


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": None, "prompt": "Once"},
        {"tools": (Tool("look"),)},
        {"json_schema": {"type": "object"}},
        {"adapter": None, "profile": ""},
    ],
    ids=lambda each: ", ".join(each),
)
def test_only_plain_conversations_with_a_version_count(store: Store, in_use: InUse, changes: dict[str, object]) -> None:
    promote(store, "second")
    tell_all(in_use, [""] * LATEST, **changes)
    assert served(store) == "second"
    assert not in_use._latest


def test_an_answer_cut_by_a_full_context_says_nothing(store: Store, in_use: InUse) -> None:
    promote(store, "second")
    for number in range(LATEST):
        tell(in_use, ask(number), FINE, "length", 30)
    assert served(store) == "second"
    assert not in_use._latest


def test_a_version_that_no_alias_serves_is_left_where_it_is(store: Store, in_use: InUse) -> None:
    promote(store, "first", "second")
    tell_all(in_use, [""] * LATEST, version="first")
    assert served(store) == "second"
    assert not store.noted(ROLLED_BACK)


def test_a_version_that_was_promoted_again_by_hand_stays(store: Store, in_use: InUse) -> None:
    promote(store, "first", "second")
    tell_all(in_use, [""] * LEAST)
    assert served(store) == "first"
    store.promote("default", "second", 9.0)
    tell_all(in_use, [""] * LATEST)
    assert served(store) == "second"


def test_a_version_that_was_promoted_again_by_hand_stays_also_when_another_was_rolled_back_since(
    store: Store, in_use: InUse
) -> None:
    promote(store, "first", "second")
    tell_all(in_use, [""] * LEAST)
    tell_all(in_use, [""] * LEAST, version="first")
    assert served(store) is None and store.noted(ROLLED_BACK)["default"]["version"] == "default@1"
    for at, name in enumerate(("second", "first")):
        store.promote("default", name, 9.0 + at)
        tell_all(in_use, [""] * LATEST, version=name)
        assert served(store) == name


def test_of_several_answers_the_first_counts_and_reasoning_is_no_answer(store: Store, in_use: InUse) -> None:
    promote(store, "second")
    request = ask(0, n=2)
    in_use.heard(request, Accepted("r0"))
    in_use.heard(request, Delta("r0", 1, LOOP))
    in_use.heard(request, Delta("r0", 0, LOOP, channel="reasoning"))
    in_use.heard(request, Delta("r0", 0, FINE))
    in_use.heard(request, Finished("r0", 1, "stop", 60))
    in_use.heard(request, Finished("r0", 0, "stop", 60))
    judged(in_use)
    assert [each.tripped for each in in_use._latest["second"]] == [frozenset()]


def test_nothing_of_a_text_is_kept_when_its_answer_has_ended_or_was_left(store: Store, in_use: InUse) -> None:
    promote(store, "second")
    tell(in_use, ask(0), FINE)
    in_use.heard(ask(1), Accepted("r1"))
    in_use.heard(ask(1), Delta("r1", 0, FINE))
    in_use.left(ask(1))
    assert in_use._open == {}
    assert FINE not in str(in_use._latest) and "Write to friend" not in str(in_use._latest)


def test_answers_that_nobody_said_were_left_make_room(in_use: InUse) -> None:
    for number in range(5):
        in_use.heard(ask(number), Accepted(f"r{number}"))
    assert list(in_use._open) == ["r2", "r3", "r4"]


def test_failures_that_are_the_versions_count(store: Store, in_use: InUse) -> None:
    promote(store, "second")
    for number in range(LEAST):
        in_use.failed(ask(number), EngineUnavailable("the engine is starting"), ())
        in_use.failed(ask(number), RequestError("too long"), ())
    judged(in_use)
    assert served(store) == "second"
    for number in range(LEAST):
        in_use.failed(ask(number), DittodError("the adapter cannot be read"), ())
    judged(in_use)
    assert served(store) is None
    assert store.noted(ROLLED_BACK)["default"]["guard"] == "failures"


def test_a_version_that_the_engine_keeps_dying_of_is_rolled_back_at_once(store: Store, in_use: InUse) -> None:
    promote(store, "first", "second")
    in_use.failed(ask(0), EngineUnavailable("the engine died"), {"second"})
    judged(in_use)
    assert served(store) == "first"


def test_a_store_that_cannot_be_written_costs_one_answer_and_the_next_tries_again(
    store: Store, in_use: InUse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    promote(store, "second")
    with monkeypatch.context() as patched:
        patched.setattr(store, "note", lambda *_: (_ for _ in ()).throw(DittodError(f"full of {FINE}")))
        tell_all(in_use, [""] * LEAST)
    assert served(store) == "second", "the rollback and its note are one transaction"
    assert "could not be judged" in caplog.text and FINE not in caplog.text
    tell(in_use, ask(99), "")
    assert served(store) is None


def test_the_guard_that_trips_most_is_named() -> None:
    latest = [frozenset({"empty", "loops"})] * 3 + [frozenset({"loops"})] + [frozenset[str]()] * 4
    assert decisive(latest) == "loops"
    assert decisive(latest[2:]) is None
