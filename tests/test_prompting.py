"""Which prompts are sent to the engine, when, and what becomes of the results. The test speaks for the engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deleting import forget_file
from fakes import FakeEngine, demonstration

from dittod import prompting, runs
from dittod.config import Settings
from dittod.engine.protocol import Done, Failed, Improve, Improved, Stopped
from dittod.errors import EngineUnavailable, ModelError
from dittod.paths import Home
from dittod.prompting import Prompting
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Demonstration


class Bench:
    def __init__(self, tmp_path: Path, **settings: object) -> None:
        home = Home(tmp_path / "home")
        home.create()
        self.store = Store(home.store)
        self.settings = Settings(**settings)
        self.engine = FakeEngine()
        self.held: str | None = None
        self.prompting = Prompting(self.store, self.settings, self.engine, lambda: self.held)

    def write(self, count: int, *, profile: str = "default", start: int = 0) -> None:
        for n in range(start, start + count):
            row = FileRow(f"{profile}/{n}", profile, 1, 1, "read", "", (), {}, read_at=1000.0 + n)
            text = demonstration(f"Write {n} of {profile}", f"{n} {' '.join(map(str, range(n, n + 9)))}", written_at=n)
            self.store.record_file(row, [text])

    def look(self) -> None:
        """As after the pause between two looks."""
        self.prompting._next_look = 0.0
        self.prompting.advance()

    @property
    def sent(self) -> Improve:
        return self.engine.updates[-1]

    def say(self, which: Demonstration, prompt: str | None) -> None:
        reason = "likelier by 0.31 nats per token" if prompt else "no likelier"
        self.engine.say(Improved(self.sent.id, which.id, prompt, reason))

    def prompts(self) -> dict[str, str]:
        """By completion, with who wrote them."""
        return {each.completion: f"{each.prompt_by}: {each.prompt}" for each in self.store.demonstrations("default")}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def test_what_the_next_update_would_use_is_sent_and_results_are_kept_at_once(bench: Bench) -> None:
    bench.write(9)
    bench.look()
    assert {each.written_at for each in bench.sent.demonstrations} == set(range(9)) and bench.sent.others == ()
    better, same, *_ = bench.sent.demonstrations
    bench.say(better, "Write 0 of default\n\nPoints to make: numbers")
    bench.say(same, None)
    assert bench.prompts()[better.completion] == "model: Write 0 of default\n\nPoints to make: numbers"
    assert bench.prompts()[same.completion] == f"template: {same.prompt}"
    assert len(bench.store.untried_prompts("default", bench.settings.base_model)) == 7


def test_only_so_many_are_tried_as_an_update_uses(tmp_path: Path) -> None:
    bench = Bench(tmp_path, demonstrations=2)
    bench.write(12)
    bench.look()
    assert len(bench.sent.demonstrations) == 2 + 4
    for each in bench.sent.demonstrations:
        bench.say(each, None)
    bench.engine.say(Done(bench.sent.id, 0, 0))
    bench.look()
    bench.look()
    assert len(bench.engine.updates) == 1, "the rest would not be used"
    bench.write(1, start=12)
    bench.look()
    assert [each.written_at for each in bench.sent.demonstrations] == [12]
    assert len(bench.sent.others) == prompting.RIVALS
    bench.store.close()


def test_an_edited_prompt_is_never_sent_and_never_overwritten(bench: Bench) -> None:
    bench.write(9)
    first, second, *_ = bench.store.demonstrations("default")
    bench.store.set_prompt("default", first.id, "My own words", "user")
    bench.look()
    assert first.completion not in {each.completion for each in bench.sent.demonstrations}
    bench.store.set_prompt("default", second.id, "Mine too", "user")  # after it was sent
    bench.say(second, "Write 1 of default\n\nPoints to make: numbers")
    assert bench.prompts()[first.completion] == "user: My own words"
    assert bench.prompts()[second.completion] == "user: Mine too"


def test_nothing_is_tried_where_the_setting_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, improve_prompts=False)
    bench.write(9)
    bench.look()
    assert bench.engine.updates == []
    bench.store.close()


def test_two_texts_have_nothing_to_be_compared_with(bench: Bench) -> None:
    bench.write(2)
    bench.look()
    assert bench.engine.updates == []


def test_it_waits_for_a_minute_without_requests(bench: Bench) -> None:
    bench.write(9)
    bench.engine.last_used = time.monotonic() - prompting.IDLE_SECONDS + 5
    bench.look()
    bench.engine.last_used, bench.engine.busy = -1e9, True
    bench.look()
    assert bench.engine.updates == []
    bench.engine.busy = False
    bench.look()
    assert len(bench.engine.updates) == 1


def test_what_holds_learning_holds_and_ends_this_too(bench: Bench) -> None:
    bench.write(9)
    bench.held = "on battery"
    bench.look()
    assert bench.engine.updates == []
    bench.held = None
    bench.look()
    assert bench.prompting.at_work
    bench.held = "you are at the machine"
    bench.prompting.advance()
    assert bench.engine.cancelled == [bench.sent.id] and not bench.prompting.at_work


def test_while_the_folder_is_being_read_nothing_is_tried(bench: Bench) -> None:
    bench.write(9)
    bench.store.note("reading", {"busy": True})
    bench.look()
    assert bench.engine.updates == []


def test_a_requested_run_ends_it_and_later_results_change_no_prompt_of_that_run(bench: Bench) -> None:
    bench.write(9)
    bench.look()
    sent = bench.sent
    runs.request(bench.store, bench.settings, "default")
    bench.say(sent.demonstrations[0], "Write 0 of default\n\nPoints to make: numbers")
    bench.prompting.advance()
    assert bench.engine.cancelled == [sent.id]
    assert {each.split(":")[0] for each in bench.prompts().values()} == {"template"}
    bench.look()
    assert len(bench.engine.updates) == 1
    (run,) = bench.store.runs()
    bench.store.change_run(run.id, state="done")
    bench.look()
    assert len(bench.sent.demonstrations) == 9, "nothing was lost but time"


def test_one_that_the_engine_stopped_for_an_update_is_sent_again_later(bench: Bench) -> None:
    bench.write(9)
    bench.look()
    bench.say(bench.sent.demonstrations[0], None)
    bench.engine.say(Stopped(bench.sent.id))
    bench.look()
    assert len(bench.sent.demonstrations) == 8 and len(bench.sent.others) == 1


@pytest.mark.parametrize(
    "failure", [EngineUnavailable("the engine died"), Failed("x", "ValueError in the engine", "", 500)]
)
def test_a_prompt_that_the_engine_fails_over_twice_is_left_alone(bench: Bench, failure: object) -> None:
    bench.write(9)
    for _ in range(prompting.MOST_FAILURES):
        bench.look()
        assert len(bench.sent.demonstrations) == 9
        bench.engine.say(failure)
    culprit = bench.sent.demonstrations[0]
    bench.look()
    assert culprit.id not in {each.id for each in bench.sent.demonstrations}
    assert len(bench.sent.demonstrations) == 8


def test_an_engine_that_backs_off_is_asked_again_and_a_model_that_is_not_there_is_not(bench: Bench) -> None:
    bench.write(9)
    bench.engine.refusal = EngineUnavailable("the engine is not running")
    bench.look()
    bench.engine.refusal = None
    bench.look()
    assert len(bench.engine.updates) == 1
    bench.engine.say(Stopped(bench.sent.id))
    bench.engine.refusal = ModelError("no such model", "choose another")
    bench.look()
    bench.engine.refusal = None
    bench.prompting.advance()
    assert len(bench.engine.updates) == 1


def test_a_deleted_text_stays_deleted(bench: Bench) -> None:
    bench.write(9)
    bench.look()
    forget_file(bench.store, "default/0")
    bench.say(bench.sent.demonstrations[0], "Write 0 of default\n\nPoints to make: numbers")
    assert len(bench.prompts()) == 8


def test_the_log_says_how_many_were_tried_and_no_word_of_them(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bench.write(9)
    bench.look()
    bench.say(bench.sent.demonstrations[0], "Write 0 of default\n\nPoints to make: marzipan")
    bench.engine.say(Done(bench.sent.id, 0, 0))
    assert "1 of 9 were tried" in caplog.text
    assert "marzipan" not in caplog.text and "Write" not in caplog.text
