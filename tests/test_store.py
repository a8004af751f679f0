"""The store: what goes in comes out, once, and promotion is one statement."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from deleting import forget_file

from dittod import adapters
from dittod.errors import DittodError, NotFound
from dittod.migrations import MIGRATIONS
from dittod.rows import FileRow, Judgement, StepRow
from dittod.store import PATIENCE_SECONDS, Store
from dittod.types import Adapter, Demonstration, Recipe, Run, Verdict, Written, demonstration_id


@pytest.fixture
def store(tmp_path: Path):
    opened = Store(tmp_path / "dittod.sqlite")
    yield opened
    opened.close()


def _demonstration(prompt: str, completion: str = "Words of mine.", written_at: float = 1.0) -> Demonstration:
    return Demonstration(demonstration_id(prompt, completion), prompt, completion, "source", written_at)


def _file(path: str, *, profile: str = "default", read_at: float = 1.0) -> FileRow:
    return FileRow(path, profile, 10, 20, "read", "", ("me@x.example",), {"me@x.example": 1}, read_at)


def _adapter(letter: str, **changes: object) -> Adapter:
    values: dict[str, object] = {
        "id": letter * 64, "profile": "default", "number": 0, "state": "candidate", "path": f"/nowhere/{letter}",
        "run_id": "run", "base_model": "starter", "base_revision": "1", "template_sha256": "t",
        "demonstration_ids": ("d",), "seed": 1, "created_at": 1.0, "promoted_at": None,
        "verdict": Verdict(True, ("better",), {"candidate_nats_per_token": 2.0}, (Written("ditto", "d", "text"),)),
    }  # fmt: skip
    return Adapter(**{**values, **changes})  # type: ignore[arg-type]


def test_the_file_is_readable_by_the_user_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.note("x", {})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert set(modes.values()) == {0o600}, modes


def test_the_same_pair_in_two_files_is_stored_once_and_stays_until_both_are_gone(store: Store) -> None:
    pair = _demonstration("p")
    assert store.record_file(_file("a.eml"), [pair]) == 1
    assert store.record_file(_file("b.eml"), [pair]) == 0
    assert forget_file(store, "a.eml") == 0
    assert store.demonstrations("default") == [pair]
    assert forget_file(store, "b.eml") == 1
    assert store.demonstrations("default") == []


def test_the_same_pair_in_two_profiles_belongs_to_both(store: Store) -> None:
    pair = _demonstration("p")
    store.record_file(_file("a.eml"), [pair])
    store.record_file(_file("blog/a.eml", profile="blog"), [pair])
    forget_file(store, "a.eml")
    assert (store.demonstrations("default"), store.demonstrations("blog")) == ([], [pair])


def test_what_a_changed_file_held_before_is_dropped(store: Store) -> None:
    store.record_file(_file("a.eml", read_at=1.0), [_demonstration("old")])
    store.record_file(_file("a.eml", read_at=2.0), [_demonstration("new")])
    assert [each.prompt for each in store.demonstrations("default")] == ["new"]


def test_reading_a_file_again_does_not_make_its_demonstrations_new(store: Store) -> None:
    store.record_file(_file("a.eml", read_at=10.0), [_demonstration("p")])
    store.record_file(_file("a.eml", read_at=99.0), [_demonstration("p")])
    assert store.count_demonstrations("default", since=50.0) == 0


def test_dropped_text_is_not_left_in_the_file(store: Store, tmp_path: Path) -> None:
    canary = "canary-7f3a-of-the-user"
    store.record_file(_file("a.eml"), [_demonstration("p", canary)])
    forget_file(store, "a.eml")
    store.close()
    assert canary.encode() not in (tmp_path / "dittod.sqlite").read_bytes()
    store.__init__(tmp_path / "dittod.sqlite")  # type: ignore[misc]


def test_demonstrations_are_found_by_the_beginning_of_their_id(store: Store) -> None:
    pair = _demonstration("p")
    store.record_file(_file("a.eml"), [pair, _demonstration("q")])
    row = store.demonstration(pair.id[:12])
    assert (row.profile, row.demonstration, row.template, row.files) == ("default", pair, "p", ("a.eml",))
    with pytest.raises(NotFound, match="several demonstrations begin"):
        store.demonstration("")
    with pytest.raises(NotFound, match="no demonstration begins"):
        store.demonstration("xyz")


def test_a_file_read_in_parts_counts_as_read_when_its_last_part_is_in(store: Store) -> None:
    store.record_file(_file("a.mbox", read_at=1.0), [_demonstration("gone"), _demonstration("stays")])
    store.add_demonstrations("a.mbox", "default", [_demonstration("stays"), _demonstration("new")], 2.0)
    assert {each.prompt for each in store.demonstrations("default")} == {"gone", "stays", "new"}
    store.record_file(_file("a.mbox", read_at=2.0), [_demonstration("last")])
    assert {each.prompt for each in store.demonstrations("default")} == {"stays", "new", "last"}


def test_what_a_killed_reading_left_goes_with_the_file(store: Store) -> None:
    store.add_demonstrations("a.mbox", "default", [_demonstration("half")], 2.0)
    assert store.files()["a.mbox"].size_bytes == -1, "so that whoever looks at the folder finds it changed"
    forget_file(store, "a.mbox")
    assert store.demonstrations("default") == []


def test_an_edited_prompt_survives_reading_the_file_again_and_goes_with_the_file(store: Store) -> None:
    pair = _demonstration("template")
    store.record_file(_file("a.eml", read_at=1.0), [pair])
    edited = store.set_prompt("default", pair.id, "mine", "user")
    assert edited == demonstration_id("mine", pair.completion)
    store.record_file(_file("a.eml", read_at=2.0), [pair])
    (found,) = store.demonstrations("default")
    assert (found.id, found.prompt, found.prompt_by) == (edited, "mine", "user")
    assert store.demonstration(edited).template == "template"
    store.record_file(_file("a.eml", read_at=3.0), [])
    assert store.demonstrations("default") == []


def test_what_an_adapter_saw_under_an_earlier_prompt_is_still_known_by_it(store: Store) -> None:
    pair, other = _demonstration("template", "words\nsignature"), _demonstration("other")
    store.record_file(_file("a.eml"), [pair, other])
    second = store.set_prompt("default", pair.id, "by the model", "model")
    store.rewrite("default", pair.id, "words")
    third = store.set_prompt("default", demonstration_id("by the model", "words"), "mine", "user")
    for seen in (pair.id, second):
        assert store.now_called("default", [seen]) == {seen, third}
    assert store.now_called("default", [other.id]) == {other.id}
    forget_file(store, "a.eml")
    assert store.now_called("default", [pair.id]) == {pair.id}


def test_a_prompt_that_would_make_two_demonstrations_the_same_is_refused(store: Store) -> None:
    first, second = _demonstration("one"), _demonstration("two")
    store.record_file(_file("a.eml"), [first, second])
    with pytest.raises(DittodError, match="already"):
        store.set_prompt("default", first.id, "two", "user")
    with pytest.raises(NotFound):
        store.set_prompt("default", "0" * 64, "three", "user")
    assert {each.prompt for each in store.demonstrations("default")} == {"one", "two"}


def test_only_prompts_of_the_template_that_were_not_tried_wait_for_the_model(store: Store) -> None:
    pairs = [_demonstration(name) for name in ("waits", "tried", "edited")]
    explicit = replace(_demonstration("explicit"), kind="pair", prompt_by="file")
    store.record_file(_file("a.eml"), [*pairs, explicit])
    store.note_tried("default", pairs[1].id, "small")
    store.set_prompt("default", pairs[2].id, "mine", "user")
    assert store.untried_prompts("default", "small") == {pairs[0].id}
    assert store.untried_prompts("default", "large") == {pairs[0].id, pairs[1].id}, "a better one may do better"


def test_while_an_update_is_open_the_model_changes_no_prompt(store: Store) -> None:
    pair = _demonstration("template")
    store.record_file(_file("a.eml"), [pair])
    store.request_run(Run("r1", "default", "requested", 7, "clean", 5.0))
    assert store.set_prompt("default", pair.id, "by the model", "model") == pair.id
    assert store.demonstrations("default") == [pair]
    store.change_run("r1", state="done")
    assert store.set_prompt("default", pair.id, "by the model", "model") != pair.id


def test_an_excluded_demonstration_is_neither_counted_nor_given_until_it_is_included(store: Store) -> None:
    pair = _demonstration("p")
    store.record_file(_file("a.eml"), [pair])
    store.exclude("default", pair.id, excluded=True)
    assert store.demonstrations("default") == [] and store.count_demonstrations("default") == 0
    assert store.demonstrations_of("default", [pair.id]) == {}
    assert [row.excluded for row in store.demonstration_rows("default")] == [True]
    store.exclude("default", pair.id, excluded=False)
    assert store.demonstrations_of("default", [pair.id, "other"]) == {pair.id: pair}


def test_only_the_newest_are_given_when_so_asked(store: Store) -> None:
    store.record_file(_file("a.eml"), [_demonstration(str(day), written_at=day) for day in range(5)])
    assert [each.prompt for each in store.demonstrations("default", newest=2)] == ["3", "4"]


def test_a_rewritten_completion_is_what_the_file_gives_when_it_is_read_again(store: Store) -> None:
    """Found later: the last line was a signature. The edit of the prompt stays, and both readings are one pair."""
    before, after = _demonstration("p", "words\nsignature"), _demonstration("p", "words")
    store.record_file(_file("a.eml", read_at=1.0), [before])
    store.set_prompt("default", before.id, "mine", "user")
    store.rewrite("default", before.id, "words")
    store.record_file(_file("a.eml", read_at=2.0), [after])
    (found,) = store.demonstrations("default")
    assert (found.prompt, found.completion, found.id) == ("mine", "words", demonstration_id("mine", "words"))
    assert forget_file(store, "a.eml") == 1


def test_two_texts_that_differ_in_what_was_cut_become_one_of_both_files(store: Store) -> None:
    first, second = _demonstration("p", "words\nold signature"), _demonstration("p", "words")
    store.record_file(_file("a.eml"), [first])
    store.record_file(_file("b.eml"), [second])
    store.rewrite("default", first.id, "words")
    assert store.demonstrations("default") == [second]
    assert forget_file(store, "b.eml") == 0, "a.eml still vouches for it"
    assert forget_file(store, "a.eml") == 1


def test_edits_that_make_two_pairs_the_same_lose_neither_text_nor_file(store: Store) -> None:
    """Two texts that differ in their signature alone, their prompts edited alike; then the signature is cut."""
    first, second = _demonstration("p", "words\nold"), _demonstration("q", "words\nnew")
    store.record_file(_file("a.eml"), [first])
    store.record_file(_file("b.eml"), [second])
    store.set_prompt("default", first.id, "mine", "user")
    store.set_prompt("default", second.id, "mine", "user")
    store.rewrite("default", first.id, "words")
    store.rewrite("default", second.id, "words")
    assert sorted(each.prompt for each in store.demonstrations("default")) == ["mine", "q"]
    assert (forget_file(store, "a.eml"), forget_file(store, "b.eml")) == (1, 1)


def test_a_file_with_the_pair_that_an_edit_made_vouches_for_it(store: Store) -> None:
    edited, other = _demonstration("template"), _demonstration("mine")
    store.record_file(_file("a.eml"), [edited])
    assert store.set_prompt("default", edited.id, "mine", "user") == other.id
    store.record_file(_file("b.eml"), [other])
    assert forget_file(store, "a.eml") == 0 and store.demonstrations("default")[0].id == other.id
    assert forget_file(store, "b.eml") == 1


def test_what_stands_for_an_excluded_one_too_is_excluded(store: Store) -> None:
    first, second = _demonstration("p", "words\nold"), _demonstration("p", "words")
    store.record_file(_file("a.eml"), [first, second])
    store.exclude("default", first.id, excluded=True)
    store.rewrite("default", first.id, "words")
    assert store.demonstrations("default") == []


def test_a_completion_of_which_nothing_is_left_goes(store: Store) -> None:
    first = _demonstration("p", "signature")
    store.record_file(_file("a.eml"), [first])
    store.rewrite("default", first.id, "")
    assert list(store.demonstration_rows("default")) == [] and forget_file(store, "a.eml") == 0


def test_a_demonstration_is_found_by_its_former_id_and_by_its_profile(store: Store) -> None:
    pair = _demonstration("template")
    store.record_file(_file("a.eml"), [pair])
    store.record_file(_file("blog/a.eml", profile="blog"), [pair])
    with pytest.raises(NotFound, match="several"):
        store.demonstration(pair.id)
    assert store.demonstration(f"blog/{pair.id[:8]}").profile == "blog"
    store.set_prompt("blog", pair.id, "mine", "user")
    assert store.demonstration(f"blog/{pair.id[:8]}").demonstration.prompt == "mine"


def test_a_row_that_is_noted_drops_nothing_that_the_file_gave(store: Store) -> None:
    store.record_file(_file("a.eml", read_at=1.0), [_demonstration("p")])
    store.add_demonstrations("a.eml", "default", [_demonstration("q")], 2.0)
    store.note_file(_file("a.eml", read_at=1.0))
    assert {each.prompt for each in store.demonstrations("default")} == {"p", "q"}


def test_a_full_disk_is_an_error_that_says_so(store: Store) -> None:
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DittodError, match="full") as error:
        store.record_file(_file("a.eml"), [_demonstration("p", "words " * 10_000)])
    assert "room" in error.value.hint
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert store.record_file(_file("a.eml"), [_demonstration("p")]) == 1


def test_a_store_of_the_version_before_keeps_its_demonstrations(tmp_path: Path) -> None:
    """Written with the first two migrations alone, as dittod 0.1 did."""
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as db:
        for script in MIGRATIONS[:2]:
            db.executescript(script)
        db.execute("PRAGMA user_version = 2")
        pair = _demonstration("Write a reply to this", "Yes, I will.")
        db.execute(
            "INSERT INTO demonstrations VALUES ('default', ?, ?, ?, 's', 1.0, 2.0)",
            (pair.id, pair.prompt, pair.completion),
        )
        db.execute("INSERT INTO origins VALUES ('a.eml', 'default', ?)", (pair.id,))
    db.close()
    store = Store(path)
    (found,) = store.demonstrations("default")
    assert (found.id, found.kind, found.prompt_by) == (pair.id, "reply", "template")
    assert forget_file(store, "a.eml") == 1
    store.close()


def test_runs_keep_every_field(store: Store) -> None:
    run = Run("r1", "blog", "requested", 7, "clean", 5.0, ("a", "b"), ("c",))
    assert store.request_run(run) == run == store.run("r1")
    store.change_run("r1", state="running", progress={"phase": "dpo", "done": 1, "of": 2})
    changed = store.run("r1")
    assert (changed.state, changed.progress) == ("running", {"phase": "dpo", "done": 1, "of": 2})
    assert [each.id for each in store.runs("running", profile="blog")] == ["r1"]
    assert store.runs("done") == []


def _course(store: Store, run_id: str) -> list[tuple[str, int]]:
    return [(each.phase, each.step) for each in store.steps(run_id)]


def test_a_runs_steps_come_back_in_their_order_with_their_figures(store: Store) -> None:
    taken = [
        StepRow("supervised", 1, 0, {"loss": 2.5}),
        StepRow("sampling", 1, 0, {"eos_rate": 0.75}),
        StepRow("dpo", 1, 0, {"loss": 0.693, "margin": -1 / 3}),
        StepRow("dpo", 2, 1, {"loss": 0.5, "margin": 1e-9}),
    ]
    for run_id in ("r1", "r2"):
        store.request_run(Run(run_id, run_id, "running", 7, "clean", 5.0))
        for each in taken:
            store.record_step(run_id, each)
    assert store.steps("r1") == store.steps("r2") == taken
    assert store.steps("r3") == []


def test_a_step_that_is_taken_again_takes_the_place_of_what_followed(store: Store) -> None:
    """A kill led back to the second supervised step; another run is not touched."""
    for run_id in ("r1", "r2"):
        store.request_run(Run(run_id, run_id, "running", 7, "clean", 5.0))
    for place in (("supervised", 1), ("supervised", 2), ("supervised", 3), ("dpo", 1)):
        for run_id in ("r1", "r2"):
            store.record_step(run_id, StepRow(*place, 0, {"loss": 1.0}))
    store.record_step("r1", StepRow("supervised", 2, 0, {"loss": 0.9}))
    assert _course(store, "r1") == [("supervised", 1), ("supervised", 2)]
    assert store.steps("r1")[-1].figures == {"loss": 0.9}
    store.record_step("r1", StepRow("supervised", 3, 0, {"loss": 0.8}))
    assert _course(store, "r1") == [("supervised", 1), ("supervised", 2), ("supervised", 3)]
    assert len(store.steps("r2")) == 4


def test_steps_go_with_their_run_and_none_is_kept_without_one(store: Store) -> None:
    store.request_run(Run("r1", "default", "running", 7, "clean", 5.0))
    store.record_step("r1", StepRow("dpo", 1, 0, {"loss": 1.0}))
    store._connection.execute("DELETE FROM runs WHERE id = 'r1'")
    assert store.steps("r1") == []
    with pytest.raises(sqlite3.IntegrityError):
        store.record_step("r1", StepRow("dpo", 1, 0, {"loss": 1.0}))


def test_a_file_of_an_older_dittod_keeps_what_it_has_and_gets_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr("dittod.store.file.MIGRATIONS", MIGRATIONS[:1])
        old = Store(path)
        old._connection.execute(
            "INSERT INTO runs VALUES ('r1', 'default', 'running', 7, 'clean', 5.0, NULL, '[]', '[]', NULL, NULL, '{}')"
        )
        old.close()
    store = Store(path)
    store.record_step("r1", StepRow("dpo", 1, 0, {"loss": 1.0}))
    assert (store.run("r1").seed, len(store.steps("r1"))) == (7, 1)
    store.close()


def test_adapters_are_numbered_by_profile_and_entered_once(store: Store) -> None:
    first, again = store.add_adapter(_adapter("a")), store.add_adapter(_adapter("a"))
    second = store.add_adapter(_adapter("b"))
    other = store.add_adapter(_adapter("c", profile="blog"))
    assert first == again
    assert [each.number for each in (first, second, other)] == [1, 2, 1]
    assert first.verdict.outputs == (Written("ditto", "d", "text"),) and first.recipe == Recipe()


def test_promoting_retires_what_was_promoted_and_rolling_back_goes_step_by_step_to_base(store: Store) -> None:
    for letter in "abc":
        adapters.promote(store, store.add_adapter(_adapter(letter)))
    states = {each.id[0]: each.state for each in store.adapters()}
    assert states == {"a": "retired", "b": "retired", "c": "promoted"}
    assert [getattr(adapters.roll_back(store, "default"), "number", None) for _ in range(3)] == [2, 1, None]
    assert adapters.promoted(store, "default") is None
    with pytest.raises(NotFound, match="base already"):
        adapters.roll_back(store, "default")


def test_promoting_in_one_profile_leaves_the_others_alone(store: Store) -> None:
    blog = store.add_adapter(_adapter("a", profile="blog"))
    store.promote("blog", blog.id, 1.0)
    adapters.promote(store, store.add_adapter(_adapter("b")))
    assert adapters.promoted(store, "blog") == store.adapter(blog.id)


def test_adapters_are_found_by_id_or_by_profile_and_number(store: Store) -> None:
    found = store.add_adapter(_adapter("a"))
    assert adapters.find(store, "aaa") == adapters.find(store, "default@1") == found
    for wrong in ("default@2", "zzz", "other@1"):
        with pytest.raises(NotFound):
            adapters.find(store, wrong)


def test_a_second_process_sees_a_promotion_at_once(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "dittod.sqlite")
    adapters.promote(other, other.add_adapter(_adapter("a")))
    other.close()
    assert adapters.promoted(store, "default") is not None


def test_a_file_of_a_newer_dittod_is_refused_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(DittodError, match="newer dittod"):
        Store(path)


def test_a_transaction_that_fails_changes_nothing(store: Store) -> None:
    class Boom(Exception):
        pass

    def demonstrations():
        yield _demonstration("p")
        raise Boom

    with pytest.raises(Boom):
        store.record_file(_file("a.eml"), demonstrations())
    assert store.files() == {} and store.demonstrations("default") == []


def test_a_version_that_was_rolled_back_from_is_never_rolled_back_to(store: Store) -> None:
    """v1, then v2, which is bad, so back to v1; then v3, and back once more: to v1, not to v2."""
    first, second, third = (store.add_adapter(_adapter(letter)) for letter in "abc")
    adapters.promote(store, first)
    adapters.promote(store, second)
    assert adapters.roll_back(store, "default") == store.adapter(first.id)
    adapters.promote(store, third)
    before = adapters.roll_back(store, "default")
    assert before is not None and before.number == 1
    assert adapters.roll_back(store, "default") is None


def test_dropped_text_is_not_left_in_the_write_ahead_log(store: Store, tmp_path: Path) -> None:
    canary = "canary-in-the-log-of-writes"
    store.record_file(_file("a.eml"), [_demonstration("p", canary)])
    forget_file(store, "a.eml")
    assert not [path.name for path in tmp_path.iterdir() if canary.encode() in path.read_bytes()]


def test_asking_for_a_run_twice_enters_one(store: Store) -> None:
    first = store.request_run(Run("r1", "default", "requested", 7, "clean", 5.0))
    assert store.request_run(Run("r2", "default", "requested", 8, "clean", 6.0)) == first
    assert [each.id for each in store.runs()] == ["r1"]


def test_a_file_that_is_no_database_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "dittod.sqlite").write_text("something else, long enough to be looked at as a header of a database")
    with pytest.raises(DittodError, match="cannot be used"):
        Store(tmp_path / "dittod.sqlite")


def test_adapters_lie_where_the_store_lies_and_move_with_it(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    before = Store(tmp_path / "old" / "dittod.sqlite")
    made = before.add_adapter(_adapter("a"))
    before.close()
    (tmp_path / "old").rename(tmp_path / "new")
    after = Store(tmp_path / "new" / "dittod.sqlite")
    assert made.path == str(tmp_path / "old" / "adapters" / made.id)
    assert after.adapter(made.id) == replace(made, path=str(tmp_path / "new" / "adapters" / made.id))
    after.close()


def test_an_adapter_of_the_version_before_is_found_by_its_id_alone(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    verdict = '{"promoted": true, "reasons": [], "figures": {}, "outputs": []}'
    with sqlite3.connect(path) as db:
        for script in MIGRATIONS[:3]:
            db.executescript(script)
        db.execute("PRAGMA user_version = 3")
        db.execute(
            "INSERT INTO adapters VALUES ('a1', 'default', 1, 'promoted', '/elsewhere/adapters/a1', 'r', 'starter',"
            " '1', 't', '[]', 1, 1.0, 2.0, ?)",
            (verdict,),
        )
    db.close()
    store = Store(path)
    (found,) = store.adapters()
    assert (found.path, found.state, found.promoted_at, found.pinned) == (
        str(tmp_path / "adapters" / "a1"), "promoted", 2.0, False
    )  # fmt: skip
    store.close()


def test_a_store_of_the_version_before_takes_judgements_and_keeps_its_texts(tmp_path: Path) -> None:
    """Written with the first five migrations, as dittod 0.7 did."""
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as db:
        for script in MIGRATIONS[:5]:
            db.executescript(script)
        db.execute("PRAGMA user_version = 5")
        db.execute(
            "INSERT INTO demonstrations VALUES ('default', 'k', 'k', 'p', 'c', 's', 1, 1, 'mail', 'file', 'p', '', 0)"
        )
    db.close()
    store = Store(path)
    judgement = Judgement(5.0, "default", "default@2", "base")
    store.add_judgement(judgement)
    assert store.judgements() == [judgement] and store.counts() == {"default": 1}
    store.close()


def test_steps_have_a_place_from_which_on_they_can_be_had(store: Store) -> None:
    for run_id in ("one", "other"):
        store.request_run(Run(run_id, run_id, "done", 7, "clean", 5.0))
        for step in (1, 2):
            store.record_step(run_id, StepRow("sampling", step, step - 1, {"eos_rate": 0.5}))
    (first, _), (second, last) = store.steps_after("other", 0)
    assert store.steps_after("other", first) == [(second, last)] and store.steps_after("other", second) == []
    assert store.steps("other") == [each for _, each in store.steps_after("other", 0)]
    store.record_step("other", StepRow("sampling", 3, 2, {}))
    assert store.rounds_of(["one", "other", "none"]) == {"one": 2, "other": 3}


def test_what_is_pruned_keeps_its_figures_and_can_be_neither_promoted_nor_pinned(store: Store, tmp_path: Path) -> None:
    canary = "canary-written-for-the-gate"
    outputs = (Written("ditto", "d", canary),)
    made = store.add_adapter(_adapter("a", verdict=Verdict(True, ("better",), {"x": 2.0}, outputs)))
    assert store.prune(made.id) and not store.prune(made.id)
    assert store.adapter(made.id) == replace(made, state="pruned", verdict=Verdict(True, ("better",), {"x": 2.0}))
    for refused in (
        lambda: adapters.promote(store, made),
        lambda: store.roll_back("default", made.id),
        lambda: store.pin(made.id, pinned=True),
    ):
        with pytest.raises(NotFound, match=r"default@1 was pruned"):
            refused()
    assert not [path.name for path in tmp_path.iterdir() if canary.encode() in path.read_bytes()]


def test_what_was_written_for_an_earlier_verdict_is_overwritten(store: Store, tmp_path: Path) -> None:
    canary = "canary-written-for-the-gate"
    first = _adapter("a", recipe=Recipe("base", examples=2), verdict=Verdict(True, (), {}, (Written("x", "", canary),)))
    store.add_adapter(first)
    again = store.add_adapter(replace(first, run_id="another", verdict=Verdict(False, ("no better",), {})))
    assert again.recipe == first.recipe and again.verdict.reasons == ("no better",)
    assert not [path.name for path in tmp_path.iterdir() if canary.encode() in path.read_bytes()]


def test_a_forgotten_version_is_refused_as_a_pruned_one_is(store: Store, tmp_path: Path) -> None:
    made = store.add_adapter(_adapter("a"))
    with sqlite3.connect(tmp_path / "dittod.sqlite") as db:
        db.execute("UPDATE adapters SET state = 'forgotten'")
    with pytest.raises(NotFound, match=r"default@1 was forgotten"):
        adapters.promote(store, made)
    assert not store.prune(made.id) and not adapters.fits(store.adapter(made.id), "starter", None)


def test_what_is_served_or_pinned_or_of_a_profile_that_learns_is_not_pruned(store: Store) -> None:
    served, pinned, other = (store.add_adapter(_adapter(letter)) for letter in "abc")
    adapters.promote(store, served)
    store.pin(pinned.id, pinned=True)
    store.request_run(Run("r1", "default", "running", 7, "clean", 5.0))
    assert not any(store.prune(each.id) for each in (served, pinned, other))
    store.change_run("r1", state="done")
    assert [store.prune(each.id) for each in (served, pinned, other)] == [False, False, True]
    store.pin(pinned.id, pinned=False)
    assert store.prune(pinned.id)


def test_the_steps_of_old_runs_go_and_those_of_an_open_one_stay(store: Store) -> None:
    for number, state in enumerate(("running", "done", "failed", "done")):
        store.request_run(Run(f"r{number}", f"p{number}", state, 7, "clean", float(number)))  # type: ignore[arg-type]
        store.record_step(f"r{number}", StepRow("dpo", 1, 0, {"loss": 1.0}))
    store.forget_courses(keep=1)
    assert [len(store.steps(f"r{number}")) for number in range(4)] == [1, 0, 0, 1]
    assert len(store.runs()) == 4


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "emptied of its first page"])
def test_a_damaged_store_is_an_error_with_a_remedy_and_stays_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "dittod.sqlite"
    store = Store(path)
    store.record_file(_file("a.eml"), [_demonstration(str(number), "words " * 500) for number in range(40)])
    store.close()
    whole = path.read_bytes()
    damaged = {
        "truncated": whole[: len(whole) // 3],
        "overwritten": whole[:4096] + b"\xa5" * (len(whole) - 4096),
        "emptied of its first page": bytes(4096) + whole[4096:],
    }[damage]
    path.write_bytes(damaged)

    def use() -> None:
        opened = Store(path)
        try:
            opened.demonstrations("default")
            opened.record_file(_file("b.eml"), [_demonstration("new")])
        finally:
            opened.close()

    with pytest.raises(DittodError, match="damaged") as error:
        use()
    assert "backup" in error.value.hint and error.value.__class__ is DittodError
    assert path.read_bytes()[: len(damaged) // 2] == damaged[: len(damaged) // 2]


def test_a_store_that_another_program_has_locked_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "dittod.sqlite"
    store = Store(path)
    store.patience_seconds = 0.02
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DittodError, match="locked") as error:
        store.note("x", {"y": 1})
    assert "end that program" in error.value.hint
    other.execute("ROLLBACK")
    other.close()
    store.note("x", {"y": 1})
    assert store.noted("x") == {"y": 1}
    store.close()


def test_dropped_text_leaves_the_log_of_writes_later_when_somebody_reads_now(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom it does not wait for: only now and then a change tries again, since each try waits for the disk."""
    now, said = [100.0], list[str]()
    monkeypatch.setattr("dittod.store.file.clock", lambda: now[0])
    canary = "canary-that-somebody-reads"
    store.record_file(_file("a.eml"), [_demonstration("p", canary)])
    store._connection.set_trace_callback(said.append)
    begun = time.monotonic()
    other = sqlite3.connect(tmp_path / "dittod.sqlite", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM demonstrations").fetchone()
    forget_file(store, "a.eml")
    store.note("x", {"y": 0})
    assert sum("wal_checkpoint" in each for each in said) == 1 and time.monotonic() - begun < PATIENCE_SECONDS
    other.execute("COMMIT")
    other.close()
    now[0] += 60.0
    store.note("x", {"y": 1})
    assert not [path.name for path in tmp_path.iterdir() if canary.encode() in path.read_bytes()]


def test_who_reads_does_not_wait_for_who_writes_and_who_writes_reads_what_it_wrote(store: Store) -> None:
    store.note("x", {"y": 1})
    store.record_file(_file("a.eml"), [_demonstration("p")])
    found: list[object] = []

    def read() -> None:
        found.extend([store.noted("x"), len(store.demonstrations("default")), list(store.files())])

    reading = threading.Thread(target=read)
    with store.together():
        store.note("x", {"y": 2})
        store.record_file(_file("b.eml"), [_demonstration("q")])
        reading.start()
        reading.join(10)
        assert found == [{"y": 1}, 1, ["a.eml"]]
        read()
    assert found[3:] == [{"y": 2}, 2, ["a.eml", "b.eml"]]


def test_while_another_program_has_it_locked_it_can_be_read_and_a_wait_for_it_can_be_cut_short(
    store: Store, tmp_path: Path
) -> None:
    store.note("x", {"y": 1})
    other = sqlite3.connect(tmp_path / "dittod.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused: list[DittodError] = []

    def write() -> None:
        with pytest.raises(DittodError, match="locked") as error:
            store.note("x", {"y": 2})
        refused.append(error.value)

    begun = time.monotonic()
    writing = threading.Thread(target=write)
    writing.start()
    assert store.noted("x") == {"y": 1}
    store.patience_seconds = 0.0
    writing.join(60)
    assert refused and time.monotonic() - begun < PATIENCE_SECONDS
    other.execute("ROLLBACK")
    other.close()
    store.note("x", {"y": 2})


def test_closing_waits_for_no_thread_that_goes_on_writing(store: Store) -> None:
    begun, ended = threading.Event(), threading.Event()

    def write() -> None:
        with store.together():
            begun.set()
            ended.wait(30)

    writing = threading.Thread(target=write)
    writing.start()
    begun.wait(30)
    store.close()
    assert writing.is_alive()
    ended.set()
    writing.join(30)


def test_a_profile_of_which_nothing_is_left_is_none(store: Store) -> None:
    store.record_file(_file("a.eml", profile="texts"), [_demonstration("p")])
    run = store.request_run(Run("run", "asked", "requested", 7, "clean", 5.0))
    for letter, profile in (("a", "lives"), ("b", "pruned")):
        store.add_adapter(_adapter(letter, profile=profile))
    store.prune("b" * 64)
    assert store.profiles() == ["asked", "lives", "texts"]
    store.change_run(run.id, state="failed")
    store.forget_files(["a.eml"], 2.0)
    assert store.profiles() == ["lives"]
