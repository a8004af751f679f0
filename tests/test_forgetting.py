"""Forgetting: texts go, whoever has learnt from them goes with them, at once and to the last byte."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from deleting import forget_file
from fakes import FakeEngine, demonstration, equal, finish, tiny_base
from keyrings import InMemory

from dittod import adapters, forgetting, runs
from dittod.config import Settings
from dittod.engine.protocol import AdapterRef, Drawn, Forget, Stopped, StopUpdate, Update, Updated
from dittod.forgetting import Forgetting, destroy, finish_without_daemon, rehearsed
from dittod.learner import ditto
from dittod.learner.workbench import Workbench, encode, score
from dittod.machine.lock import held
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters
from dittod.paths import Home
from dittod.rows import FileRow, Receipt
from dittod.store import BY_HAND, Store
from dittod.store.interactions import Interaction
from dittod.types import Adapter, Demonstration, Message, Recipe, Verdict, Written

CANARY = "the heron keeps marzipan under the third stair"


def text(number: int) -> Demonstration:
    return demonstration(
        f"Write {number}", f"{number} {' '.join(map(str, range(number, number + 9)))}", written_at=number
    )


class Bench:
    """A home in which files were read, versions made and an engine runs that says what the test says."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.create()
        self.store = Store(self.home.store)
        self.settings = Settings(min_demonstrations=3)
        self.engine = FakeEngine()
        self.why_held: str | None = None
        self.runs = runs.Runs(self.home, self.store, self.settings, self.engine, lambda run: self.why_held)
        self.forgetting = Forgetting(self.home, self.store, self.settings, self.engine, self.runs)

    def read(self, path: str, *texts: Demonstration, profile: str = "default", at: float = 1.0) -> None:
        self.store.record_file(FileRow(path, profile, 1, 1, "read", "", (), {}, at), texts)

    def version(self, letter: str, *seen: Demonstration, **changes: object) -> Adapter:
        folder = self.home.adapters / (letter * 64)
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(CANARY.encode())
        recipe = changes.pop("recipe", Recipe())
        profile = changes.pop("profile", "default")
        values: dict[str, object] = {
            "id": folder.name, "profile": profile, "number": 0, "state": "candidate", "path": str(folder),
            "run_id": "run", "base_model": "starter", "base_revision": "revision", "template_sha256": "template",
            "demonstration_ids": tuple(each.id for each in seen), "seed": 1, "created_at": 1.0, "promoted_at": None,
            "verdict": Verdict(True, ("better",), {"n": 2.0}, (Written("ditto", "held", "a heron, I think"),)),
            "recipe": recipe,
        }  # fmt: skip
        return self.store.add_adapter(Adapter(**{**values, **changes}))  # type: ignore[arg-type]

    def served(self, profile: str = "default") -> str | None:
        found = adapters.promoted(self.store, profile)
        return found.id[0] if found else None

    def state(self, letter: str) -> str:
        return self.store.adapter(letter * 64).state

    def clear_away(self) -> None:
        """One round of each of the daemon's threads."""
        self.forgetting.tend()
        self.runs.advance()
        self.forgetting.finish()

    def receipt(self) -> Receipt:
        (found,) = self.store.receipts()
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def learnt(bench: Bench) -> Bench:
    """Six texts in a file each; @1 knows 0 to 2 and was served, @2 knows 0 to 4 and is served, @3 knows 3 to 5."""
    for number in range(6):
        bench.read(f"{number}.eml", text(number))
    for letter, numbers in (("a", range(3)), ("b", range(5)), ("c", range(3, 6))):
        adapters.promote(bench.store, bench.version(letter, *map(text, numbers)))
    bench.store.roll_back("default", "b" * 64)
    return bench


# --- what goes, at once ---


def test_a_deleted_text_takes_every_version_that_learnt_from_it_and_the_newest_clean_one_is_served(
    learnt: Bench,
) -> None:
    forget_file(learnt.store, "4.eml")
    assert [learnt.state(letter) for letter in "abc"] == ["promoted", "forgotten", "forgotten"]
    receipt = learnt.receipt()
    assert (receipt.cause, receipt.demonstrations) == ("a file was deleted", 1)
    assert (receipt.adapters, receipt.replaced_by, receipt.run_id) == (("default@2", "default@3"), "default@1", None)
    assert learnt.store.adapter("b" * 64).verdict == Verdict(True, ("better",), {"n": 2.0})


def test_where_no_clean_version_was_ever_served_base_is(learnt: Bench) -> None:
    forget_file(learnt.store, "0.eml")
    assert learnt.served() is None and learnt.receipt().replaced_by == "base"
    assert learnt.state("c") == "retired", "rolled back from: nobody wants it"


def test_a_version_that_was_pruned_or_only_tried_is_forgotten_too_and_pins_hold_nothing(learnt: Bench) -> None:
    learnt.version("d", text(5), text(4))
    learnt.store.pin("d" * 64, pinned=True)
    assert learnt.store.prune("c" * 64)
    forget_file(learnt.store, "5.eml")
    assert [learnt.state(letter) for letter in "abcd"] == ["retired", "promoted", "forgotten", "forgotten"]
    assert not learnt.store.adapter("d" * 64).pinned


def test_what_no_version_has_learnt_from_withdraws_nothing_and_still_has_a_receipt(bench: Bench) -> None:
    bench.read("0.eml", text(0))
    adapters.promote(bench.store, bench.version("a", text(1)))
    forget_file(bench.store, "0.eml")
    assert bench.served() == "a" and bench.receipt().adapters == () and bench.receipt().replaced_by == ""


@pytest.mark.parametrize("seen", ["before", "between", "now"])
def test_a_text_is_known_by_every_id_that_it_ever_had(bench: Bench, seen: str) -> None:
    first = text(0)
    bench.read("0.eml", first)
    second = bench.store.set_prompt("default", first.id, "by the model", "model")
    bench.store.rewrite("default", first.id, "0 0 1 2 3 4")
    (third,) = bench.store.demonstrations("default")
    id = {"before": first.id, "between": second, "now": third.id}[seen]
    adapters.promote(bench.store, bench.version("a", replace(first, id=id)))
    forget_file(bench.store, "0.eml")
    assert bench.state("a") == "forgotten"


def test_a_text_of_which_cleaning_has_left_nothing_is_forgotten_with_its_file_and_not_before(bench: Bench) -> None:
    bench.read("0.eml", text(0))
    adapters.promote(bench.store, bench.version("a", text(0)))
    bench.store.rewrite("default", text(0).id, "")
    bench.read("0.eml", at=2.0)
    assert bench.store.demonstrations("default") == [] and bench.served() == "a" and bench.store.receipts() == []
    forget_file(bench.store, "0.eml")
    assert bench.state("a") == "forgotten"


def test_what_another_file_still_holds_is_not_forgotten(bench: Bench) -> None:
    bench.read("0.eml", text(0))
    bench.read("copy.eml", text(0))
    adapters.promote(bench.store, bench.version("a", text(0)))
    forget_file(bench.store, "0.eml")
    assert bench.served() == "a" and bench.store.receipts() == []
    forget_file(bench.store, "copy.eml")
    assert bench.state("a") == "forgotten"


def test_a_text_that_moved_to_another_profile_is_forgotten_by_the_first_when_it_goes_there(bench: Bench) -> None:
    bench.read("0.eml", text(0))
    edited = bench.store.set_prompt("default", text(0).id, "mine", "user")
    adapters.promote(bench.store, bench.version("a", replace(text(0), id=edited)))
    bench.read("blog/0.eml", text(0), profile="blog")
    forget_file(bench.store, "0.eml")
    assert bench.served() == "a" and bench.store.receipts() == []
    forget_file(bench.store, "blog/0.eml")
    assert bench.state("a") == "forgotten"
    assert {each.profile: each.adapters for each in bench.store.receipts()} == {"blog": (), "default": ("default@1",)}


def test_a_profile_that_has_the_text_itself_keeps_its_versions_when_another_forgets_it_by_hand(bench: Bench) -> None:
    bench.read("0.eml", text(0))
    bench.read("blog/0.eml", text(0), profile="blog")
    adapters.promote(bench.store, bench.version("a", text(0)))
    adapters.promote(bench.store, bench.version("b", text(0), profile="blog"))
    bench.store.forget_texts("blog", [text(0).id], BY_HAND, 5.0)
    assert (bench.served(), bench.served("blog")) == ("a", None)


def test_an_excluded_text_is_left_aside_and_forgotten_only_with_its_file(learnt: Bench) -> None:
    learnt.store.exclude("default", text(0).id, excluded=True)
    assert learnt.served() == "b" and learnt.store.receipts() == []
    forget_file(learnt.store, "0.eml")
    assert learnt.state("b") == "forgotten"


# --- what versions that stay have written ---


def test_a_version_without_weights_has_learnt_nothing_and_loses_what_may_quote_the_text(bench: Bench) -> None:
    bench.read("0.eml", text(0))
    wrote = (Written("few_shot", "x", CANARY), Written("base", "x", "plain"), Written("served", "x", "unknown"))
    shown = bench.version("a", text(0), recipe=Recipe("base", examples=3), verdict=Verdict(True, (), {}, wrote))
    adapters.promote(bench.store, shown)
    bench.store.add_interaction(Interaction("i", "default", 1.0, shown.id, (Message("user", "?"),), CANARY))
    forget_file(bench.store, "0.eml")
    assert bench.served() == "a"
    assert bench.store.adapter(shown.id).verdict.outputs == (Written("base", "x", "plain"),)
    assert bench.store.interactions(None, 9) == []


def test_answers_to_the_prompt_of_a_forgotten_text_go_from_other_verdicts(bench: Bench) -> None:
    """It was held out there: nothing was learnt from it."""
    bench.read("0.eml", text(0))
    bench.read("1.eml", text(1))
    wrote = (Written("ditto", text(0).id, "on the first"), Written("ditto", text(1).id, "on the second"))
    adapters.promote(bench.store, bench.version("a", text(1), verdict=Verdict(True, (), {}, wrote)))
    forget_file(bench.store, "0.eml")
    assert bench.served() == "a" and bench.store.adapter("a" * 64).verdict.outputs == wrote[1:]


def test_kept_answers_of_a_withdrawn_version_go_with_it(learnt: Bench) -> None:
    for letter in "ab":
        said = (Message("user", "?"),)
        learnt.store.add_interaction(Interaction(letter, "default", 1.0, letter * 64, said, CANARY))
    forget_file(learnt.store, "4.eml")
    assert [each.id for each in learnt.store.interactions(None, 9)] == ["a"]


def test_an_answer_that_ends_after_its_version_was_withdrawn_is_not_kept(learnt: Bench) -> None:
    forget_file(learnt.store, "4.eml")
    learnt.clear_away()
    assert learnt.receipt().finished
    for letter in "ab":
        learnt.store.add_interaction(Interaction(letter, "default", 1.0, letter * 64, (), CANARY))
    assert [each.id for each in learnt.store.interactions(None, 9)] == ["a"]


def test_while_not_all_of_a_profile_is_gone_none_of_its_answers_is_kept(bench: Bench) -> None:
    """The text may stand before a prompt that base answers still."""
    bench.read("0.eml", text(0))
    bench.store.forget_profile("default", 5.0)
    for profile in ("default", "blog"):
        bench.store.add_interaction(Interaction(profile, profile, 1.0, None, (), CANARY))
    assert [each.id for each in bench.store.interactions(None, 9)] == ["blog"]
    bench.clear_away()
    bench.store.add_interaction(Interaction("later", "default", 6.0, None, (), "plain"))
    assert [each.id for each in bench.store.interactions(None, 9)] == ["later", "blog"]


# --- by hand ---


def test_a_text_forgotten_by_hand_does_not_come_back_until_its_document_changes(bench: Bench) -> None:
    bench.read("0.eml", text(0))
    bench.store.forget_texts("default", [text(0).id], BY_HAND, 5.0)
    bench.read("0.eml", text(0), at=2.0)
    cut_otherwise = replace(text(7), source=text(0).source)
    bench.read("copy.eml", cut_otherwise, at=2.0)
    assert bench.store.demonstrations("default") == []
    assert bench.store.files()["0.eml"].reason.startswith("forgotten by you")
    changed = replace(text(0), id=text(8).id, completion=text(8).completion, source="1" * 64)
    bench.read("0.eml", changed, at=3.0)
    assert bench.store.demonstrations("default") == [changed]


def test_a_text_forgotten_by_hand_does_not_come_back_when_its_folder_is_renamed(bench: Bench) -> None:
    """Whose name is the profile's."""
    bench.read("email/0.eml", text(0), profile="email")
    bench.store.forget_texts("email", [text(0).id], BY_HAND, 5.0)
    bench.read("mail/0.eml", text(0), profile="mail", at=6.0)
    forget_file(bench.store, "email/0.eml")
    bench.read("mail/0.eml", text(0), profile="mail", at=7.0)
    assert bench.store.demonstrations("mail") == []
    assert bench.store.files()["mail/0.eml"].reason.startswith("forgotten by you")


def test_a_profile_that_had_the_text_when_another_forgot_it_by_hand_reads_it_again(bench: Bench) -> None:
    bench.read("email/0.eml", text(0), profile="email")
    bench.read("blog/0.eml", text(0), profile="blog")
    bench.store.forget_texts("blog", [text(0).id], BY_HAND, 5.0)
    cut_otherwise = replace(text(7), source=text(0).source)
    bench.read("email/0.eml", cut_otherwise, profile="email", at=6.0)
    assert bench.store.demonstrations("email") == [cut_otherwise]
    bench.read("blog/0.eml", text(0), profile="blog", at=6.0)
    assert bench.store.demonstrations("blog") == []


def test_a_file_that_was_deleted_and_comes_back_is_learnt_from_again(bench: Bench) -> None:
    bench.read("0.eml", text(0))
    forget_file(bench.store, "0.eml")
    bench.read("0.eml", text(0), at=2.0)
    assert bench.store.demonstrations("default") == [text(0)]


def test_a_profile_is_forgotten_with_all_its_versions_and_what_was_said_to_it(learnt: Bench) -> None:
    learnt.version("d", recipe=Recipe("base", examples=3))
    learnt.version("e", text(0), profile="blog")
    for profile in ("default", "blog"):
        learnt.store.add_interaction(Interaction(profile, profile, 1.0, None, (), CANARY))
    receipts = learnt.store.forget_profile("default", 5.0)
    assert learnt.store.demonstrations("default") == [] and {learnt.state(each) for each in "abcd"} == {"forgotten"}
    assert sorted(name for each in receipts for name in each.adapters if each.profile == "default") == [
        f"default@{number}" for number in (1, 2, 3, 4)
    ]
    assert [each.id for each in learnt.store.interactions(None, 9)] == ["blog"]
    learnt.read("0.eml", text(0), at=2.0)
    assert learnt.store.demonstrations("default") == []


def test_a_rehearsal_tells_what_would_go_and_changes_nothing(learnt: Bench) -> None:
    before = (learnt.store.adapters(), learnt.store.demonstrations("default"))
    with rehearsed(learnt.store):
        planned = learnt.store.forget_texts("default", [text(4).id], BY_HAND, 5.0)
    assert [each.adapters for each in planned] == [("default@2", "default@3")]
    assert (learnt.store.adapters(), learnt.store.demonstrations("default")) == before
    assert learnt.store.receipts() == []


def test_a_sealed_store_forgets_like_any_other(learnt: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    learnt.store.seal(True)
    learnt.read("copy.eml", replace(text(4), id=text(9).id, prompt="Write"))
    forget_file(learnt.store, "4.eml")
    assert learnt.served() == "b", "the same document is there under another name"
    learnt.store.forget_texts("default", [text(9).id], BY_HAND, 5.0)
    assert learnt.state("b") == "forgotten" and learnt.store.adapter("b" * 64).verdict.outputs == ()
    assert learnt.store.adapter("a" * 64).verdict.outputs == (Written("ditto", "held", "a heron, I think"),)


# --- what follows ---


def test_the_daemon_destroys_the_weights_tells_the_engine_and_asks_for_an_update_without_the_text(
    learnt: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    learnt.why_held = "the machine is in use"
    forget_file(learnt.store, "4.eml")
    learnt.clear_away()
    assert sorted(path.name[0] for path in learnt.home.adapters.iterdir()) == ["a"]
    assert learnt.engine.told == [Forget(("b" * 64, "c" * 64))]
    receipt = learnt.receipt()
    (run,) = learnt.store.runs("requested")
    assert receipt.finished and receipt.run_id == run.id and not run.by_hand
    assert text(4).id not in (*run.demonstration_ids, *run.held_out_ids)
    assert "1 texts forgotten (a file was deleted), default@2, default@3 withdrawn, default@1 served" in caplog.text
    learnt.clear_away()
    assert len(learnt.engine.told) == 1


def test_with_too_few_texts_left_no_update_is_asked_for(learnt: Bench) -> None:
    learnt.store.forget_files([f"{number}.eml" for number in range(4)], 5.0)
    learnt.clear_away()
    assert learnt.receipt().finished and learnt.receipt().run_id is None and learnt.store.runs() == []


def test_a_run_that_learns_from_the_text_is_left_its_samples_go_and_it_begins_anew_without(learnt: Bench) -> None:
    run_id = runs.request(learnt.store, learnt.settings, "default").id
    learnt.runs.advance()
    held = learnt.home.runs / run_id
    (held / "checkpoint-1").mkdir()
    (held / "checkpoint-1" / "samples.json").write_text(CANARY)
    gone = learnt.engine.updates[0].demonstrations[0]
    forget_file(learnt.store, f"{gone.prompt.split()[1]}.eml")
    learnt.clear_away()
    assert StopUpdate() in learnt.engine.told and not learnt.receipt().finished, "the engine writes still"
    learnt.why_held = "the machine is in use"
    learnt.engine.say(Stopped(run_id))
    learnt.clear_away()
    assert list(learnt.home.runs.iterdir()) == [] and learnt.receipt().finished
    learnt.why_held = None
    learnt.runs.advance()
    learnt.runs.advance()
    again = learnt.engine.updates[-1]
    assert again.id == run_id and gone not in (*again.demonstrations, *again.held_out)


def test_what_a_policy_wrote_that_learns_from_the_text_is_shown_to_nobody_any_more(learnt: Bench) -> None:
    run_id = runs.request(learnt.store, learnt.settings, "default").id
    learnt.runs.advance()
    gone = learnt.engine.updates[0].demonstrations[0]
    learnt.engine.say(Drawn(run_id, 0, gone.id, CANARY, 1.0))
    assert [each.text for each in learnt.runs.samples] == [CANARY]
    forget_file(learnt.store, f"{gone.prompt.split()[1]}.eml")
    assert learnt.runs.samples == (), "from the same moment on that versions are withdrawn"
    learnt.clear_away()
    learnt.engine.say(Drawn(run_id, 0, gone.id, CANARY, 2.0))
    learnt.engine.say(Stopped(run_id))
    for _ in range(3):
        learnt.clear_away()
    assert learnt.receipt().finished and len(learnt.engine.updates) == 2
    assert learnt.runs.samples == (), "nothing of it was kept meanwhile either"


def test_a_run_that_does_not_know_the_text_goes_on_from_its_checkpoint_with_other_prompts(bench: Bench) -> None:
    for number in range(30):
        bench.read(f"{number}.eml", text(number))
    run_id = runs.request(bench.store, bench.settings, "default").id
    bench.runs.advance()
    (bench.home.runs / run_id / "checkpoint-1").mkdir()
    update = bench.engine.updates[0]
    spare = next(each for each in update.pool if each not in update.demonstrations)
    forget_file(bench.store, f"{spare.prompt.split()[1]}.eml")
    bench.clear_away()
    bench.engine.say(Stopped(run_id))
    bench.clear_away()
    assert bench.receipt().finished and (bench.home.runs / run_id / "checkpoint-1").is_dir()
    assert bench.engine.updates[-1].demonstrations == update.demonstrations
    assert spare not in bench.engine.updates[-1].pool


def test_without_a_daemon_it_is_done_here_and_beside_one_it_is_left_to_it(learnt: Bench) -> None:
    forget_file(learnt.store, "4.eml")
    with held(learnt.home.lock):
        finish_without_daemon(learnt.home, learnt.store, learnt.settings)
        assert (learnt.home.adapters / ("b" * 64)).exists()
    finish_without_daemon(learnt.home, learnt.store, learnt.settings)
    assert not (learnt.home.adapters / ("b" * 64)).exists() and learnt.receipt().finished


def test_a_kill_between_two_steps_is_made_up_for(learnt: Bench) -> None:
    """Committed, one folder hidden and half overwritten: another daemon finishes."""
    forget_file(learnt.store, "4.eml")
    folder = learnt.home.adapters / ("b" * 64)
    hidden = folder.rename(folder.with_name(f".{folder.name}"))
    Forgetting(learnt.home, learnt.store, learnt.settings, learnt.engine, learnt.runs).tend()
    assert not hidden.exists() and not (learnt.home.adapters / ("c" * 64)).exists()


def test_a_version_whose_text_is_forgotten_while_it_waits_to_be_entered_is_never_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process, that commits just before the transaction begins."""
    for number in range(6):
        bench.read(f"{number}.eml", text(number))
    run_id = runs.request(bench.store, bench.settings, "default").id
    bench.runs.advance()
    gone = bench.engine.updates[0].demonstrations[0]
    folder = bench.home.adapters / ("f" * 64)
    folder.mkdir()
    other, together = Store(bench.home.store), bench.store.together

    def too_late() -> AbstractContextManager[None]:
        monkeypatch.undo()
        other.forget_texts("default", [gone.id], BY_HAND, 5.0)
        return together()

    monkeypatch.setattr(bench.store, "together", too_late)
    bench.engine.say(Updated(run_id, AdapterRef(folder.name, str(folder)), Verdict(True, ("better",), {})))
    other.close()
    assert bench.store.adapters() == [] and not folder.exists()
    run = bench.store.run(run_id)
    assert run.state == "running" and gone.id not in (*run.demonstration_ids, *run.held_out_ids)


def test_of_a_forgotten_profile_the_samples_of_its_update_go_before_the_receipt_says_so(bench: Bench) -> None:
    for number in range(6):
        bench.read(f"{number}.eml", text(number))
    run_id = runs.request(bench.store, bench.settings, "default").id
    held_by_it = bench.home.runs / run_id
    held_by_it.mkdir()
    (held_by_it / "samples.json").write_text(CANARY)
    bench.store.stop_run("default", 4.0)
    bench.store.forget_profile("default", 5.0)
    finish_without_daemon(bench.home, bench.store, bench.settings)
    assert bench.receipt().finished and not held_by_it.exists()


def test_weights_that_cannot_be_removed_are_zeros_and_tried_again_until_they_are_gone(
    learnt: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where somebody has a file of theirs open."""
    now = 1000.0
    monkeypatch.setattr(forgetting, "clock", lambda: now)
    folder = learnt.home.adapters / ("b" * 64)
    forget_file(learnt.store, "4.eml")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", _refused)
        patched.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
        learnt.clear_away()
        assert set((folder / "adapter_model.safetensors").read_bytes()) == {0}
        assert not learnt.receipt().finished
        finish_without_daemon(learnt.home, learnt.store, learnt.settings)
        assert not learnt.receipt().finished and learnt.store.runs() == []
    learnt.clear_away()
    assert folder.exists(), "it is not tried all the time"
    now += forgetting.AGAIN_SECONDS
    learnt.clear_away()
    assert not folder.exists() and learnt.receipt().finished
    assert len(learnt.engine.told) == 1


def _refused(path: Path, target: Path) -> Path:
    raise PermissionError


def test_a_receipt_is_finished_when_the_log_of_writes_is_empty_whoever_has_written(bench: Bench) -> None:
    canary = demonstration("Where?", CANARY)
    bench.read("canary.eml", canary)
    by_command, reader = Store(bench.home.store), Store(bench.home.store)
    with reader._snapshot():
        reader.profiles()
        by_command.forget_texts("default", [canary.id], BY_HAND, 5.0)
        by_command.close()
        bench.clear_away()
        assert not bench.receipt().finished
    bench.clear_away()
    reader.close()
    assert bench.receipt().finished
    assert all(CANARY.encode() not in path.read_bytes() for path in bench.home.root.glob("dittod.sqlite*"))


def test_a_file_is_overwritten_before_it_goes(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "w").write_bytes(CANARY.encode() * 100_000)
    with (folder / "w").open("rb") as still_open:
        destroy(folder)
        assert not folder.exists() and set(still_open.read()) == {0}
    destroy(folder)


def test_nothing_of_a_text_is_in_a_receipt(learnt: Bench) -> None:
    forget_file(learnt.store, "4.eml")
    told = str(learnt.receipt())
    assert "4.eml" not in told and text(4).id not in told and text(4).prompt not in told


# --- the proof ---


class Learner:
    """Updates of the tiny model, each by a workbench of its own; and how likely they find the canary."""

    def __init__(self, folder: Path, canary: Demonstration) -> None:
        self._folder = folder
        self._canary = canary

    def learn(self, texts: Sequence[Demonstration], seed: int) -> tuple[dict[str, torch.Tensor], float]:
        """The policy's weights, and nats per token of the canary under it."""
        base = tiny_base(self._folder / "model")
        loaded = LoraAdapters(base)
        bench = Workbench(base, loaded, Decoder(base, loaded, max_rows=16))
        run = self._folder / f"{seed}-{len(texts)}-{secrets.token_hex(4)}"
        run.mkdir()
        command = Update("r", str(run), str(run), "clean", seed, tuple(texts), (), None, overrides=MEMORISING)
        _, outcome = finish(ditto.run(bench, command))
        sequence = encode(base, self._canary)
        _, (logp,) = finish(score(bench, [sequence], outcome.policy))
        weights = {name: value.clone() for name, value in loaded.state(outcome.policy).items()}
        return weights, -logp / len(sequence.completion_ids)


MEMORISING = {"supervised_steps": 40, "supervised_learning_rate": 0.003, "supervised_stop_loss": 0, "dpo_steps": 2}
MEMORISING |= {"resample_every": 2, "samples_per_demonstration": 2}


def test_after_forgetting_an_update_is_the_one_that_has_never_seen_the_text(bench: Bench, tmp_path: Path) -> None:
    """The membership test: with the same seed the weights are the same, bit for bit; with others the canary is as
    unlikely as to who never saw it, and far from what the first version makes of it."""
    canary = demonstration("Where is it kept?", CANARY, written_at=0.5)
    learner = Learner(tmp_path, canary)
    for number in range(4):
        bench.read(f"{number}.eml", text(number))
    never_seen = runs.next_selection(bench.store, bench.settings, "default").learn
    bench.read("canary.eml", canary)
    seen = runs.next_selection(bench.store, bench.settings, "default").learn
    assert canary in seen
    _, remembered = learner.learn(seen, 1)
    forget_file(bench.store, "canary.eml")
    after = runs.next_selection(bench.store, bench.settings, "default").learn
    weights, forgotten = learner.learn(after, 1)
    others, nats = zip(*(learner.learn(never_seen, seed) for seed in (1, 2)), strict=True)
    assert equal(weights, others[0]) and not equal(weights, others[1]) and forgotten == nats[0]
    _, with_other_seed = learner.learn(after, 3)
    assert all(abs(with_other_seed - each) < 0.3 for each in nats), (with_other_seed, nats)
    assert remembered < min(nats) - 1.0, (remembered, nats)
