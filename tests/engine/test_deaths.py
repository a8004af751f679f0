"""What deaths in a row are put down to, and what a dead engine leaves behind for finding out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dittod.engine import deaths
from dittod.engine.deaths import BASE, IDLENESS, LEARNING, LOADING, Deaths, Scene, killings_for_memory, last_error

ADAPTER = "a1b2"


def _after(*suspects: str, every: float = 60.0) -> Deaths:
    made = Deaths()
    for number, suspect in enumerate(suspects):
        made.add("signal SIGSEGV", [suspect], number * every)
    return made


def test_two_deaths_are_no_trouble_and_the_third_is_said_with_its_cause() -> None:
    assert _after(BASE, BASE).trouble(61) is None
    sentence = _after(BASE, BASE, BASE, BASE).trouble(181)
    assert sentence == "the engine died 4 times in 3 minutes, the last time: signal SIGSEGV"
    assert "3 times in a minute" in str(_after(BASE, BASE, BASE, every=5).trouble(11))


def test_trouble_is_over_after_ten_minutes_without_a_death() -> None:
    found = _after(BASE, BASE, BASE)
    assert found.trouble(120 + 599) and found.trouble(120 + 600) is None


def test_deaths_far_apart_are_no_row() -> None:
    assert _after(BASE, BASE, BASE, every=deaths.ROW_SECONDS + 1).trouble(1e4) is None


def test_what_ended_well_begins_a_new_row_for_its_suspect_alone() -> None:
    found = _after(LEARNING, LEARNING)
    found.acquit(BASE)
    found.add("signal SIGSEGV", [LEARNING], 120.0)
    assert found.trouble(121)
    found.acquit(LEARNING)
    assert found.trouble(121) is None


def test_an_idle_engine_that_dies_is_trusted_after_any_work_but_not_for_having_loaded() -> None:
    found = _after(IDLENESS, IDLENESS)
    found.acquit(LOADING)
    assert found.backoff_seconds() > 0
    found.acquit(BASE)
    assert found.backoff_seconds() == 0


def test_an_adapter_in_whose_answers_it_died_thrice_is_set_aside_for_good() -> None:
    found = Deaths()
    for now in range(3):
        assert not found.set_aside
        found.acquit(BASE)  # base goes on to answer in between
        found.add("signal SIGABRT", [ADAPTER, BASE], float(now))
    assert found.set_aside == {ADAPTER}
    found.acquit(ADAPTER)
    assert found.set_aside == {ADAPTER} and "base answers for it" in str(found.trouble(3.0))
    assert ADAPTER not in str(found.trouble(3.0))
    assert found.backoff_seconds() == 0, "it is not asked with the adapter any more"


def test_base_and_learning_are_never_set_aside() -> None:
    assert _after(BASE, BASE, BASE, BASE).set_aside == _after(LEARNING, LEARNING, LEARNING).set_aside == frozenset()


def test_backoff_grows_and_is_bounded_and_a_model_that_cannot_be_loaded_waits_ten_minutes() -> None:
    assert [_after(*[BASE] * count).backoff_seconds() for count in (1, 2, 3, 4, 9, 50)] == [0, 1, 2, 4, 60, 60]
    assert not _after(LOADING, LOADING).cannot_load()
    assert _after(LOADING, LOADING, LOADING).cannot_load()
    assert _after(LOADING, LOADING, LOADING).backoff_seconds() == deaths.TROUBLE_SECONDS


def test_a_death_without_work_is_put_down_to_idleness() -> None:
    found = Deaths()
    for now in range(3):
        found.add("killed", [], float(now))
    assert "3 times" in str(found.trouble(3.0))


@pytest.mark.parametrize(
    ("code", "words"),
    [(-11, "signal SIGSEGV"), (-40, "signal"), (3, "exit code 3"), (-9, "killed")],
)
def test_the_cause_names_the_exit_code_or_signal(tmp_path: Path, code: int, words: str) -> None:
    assert Scene.before(tmp_path / "engine.log").cause(code).startswith(words)


def test_the_cause_has_the_kind_of_the_last_error_that_was_logged_since_the_start(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text(_line("ERROR", "fault in the engine: KeyError\n  somewhere"))
    scene = Scene.before(log)
    assert scene.cause(1) == "exit code 1, see logs/engine.log"
    with log.open("a") as file:
        file.write(_line("CRITICAL", "not caught: MemoryError\n  File x") + _line("INFO", "later") + "no JSON\n")
    assert scene.cause(1) == "exit code 1: not caught: MemoryError"


def test_the_interpreters_last_words_count_and_a_log_that_was_rotated_is_read_from_its_beginning(
    tmp_path: Path,
) -> None:
    log = tmp_path / "engine.log"
    log.write_text('Fatal Python error: Segmentation fault\n\nThread 0x1:\n  File "x.py", line 1 in y\n')
    assert last_error(log, 10**6) == "Fatal Python error: Segmentation fault"
    assert last_error(tmp_path / "missing", 0) is None


@pytest.mark.parametrize("line", ["[]", '{"level": "ERROR"}', '{"level": "ERROR", "message": ""}', "{", "\x00"])
def test_odd_lines_in_the_log_are_no_errors(tmp_path: Path, line: str) -> None:
    log = tmp_path / "engine.log"
    log.write_text(line + "\n")
    assert last_error(log, 0) is None


def test_killings_for_want_of_memory_are_counted_where_the_system_tells(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    (tmp_path / "user.slice").mkdir()
    (tmp_path / "user.slice/memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n")
    groups.write_text("1:name=systemd:/x\n0::/user.slice\n")
    assert killings_for_memory(groups, tmp_path) == 2
    groups.write_text("4:memory:/user.slice\n")
    assert killings_for_memory(groups, tmp_path) is None
    assert killings_for_memory(tmp_path / "missing", tmp_path) is None


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        (1, 2, "killed by the system: memory ran out"),
        (1, 1, "killed by hand or another program"),
        (None, None, "killed: by the system when memory ran out, or by hand"),
    ],
)
def test_a_killing_is_told_from_one_for_want_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int | None, after: int | None, cause: str
) -> None:
    monkeypatch.setattr(deaths, "killings_for_memory", lambda: after)
    assert Scene(tmp_path / "engine.log", 0, before).cause(-9) == cause


def _line(level: str, message: str) -> str:
    return json.dumps({"level": level, "message": message}) + "\n"
