"""Prompts tried by a tiny model that was taught to sum four texts up, and to write each when it is told its points."""

from __future__ import annotations

import io
import logging
import queue
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import demonstration, finish, make_tiny_model, teach

from dittod.engine.improve import (
    NO_RIVALS,
    NO_ROOM,
    TOO_SHORT,
    UNSPECIFIC,
    Sentence,
    Text,
    decide,
    groups,
    improve,
    objection,
    text_of,
)
from dittod.engine.protocol import (
    Cancel,
    Command,
    Delta,
    Done,
    Event,
    Generate,
    Improve,
    Improved,
    Sampling,
    Shutdown,
    Stopped,
    Update,
    decode_command,
    decode_event,
    encode_command,
)
from dittod.engine.room import Room
from dittod.engine.worker import Worker
from dittod.errors import SettingsError
from dittod.judge.points import PREFIX, Gains, most_words, with_points
from dittod.learner.memory import Device
from dittod.learner.workbench import Workbench
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters
from dittod.types import Message

GB = 10**9
INSTRUCTION = "{text} In {words} words?"
ASKED = "Write a text."
ELM = "My red kite is up in an elm, so if I go by it on an ox, do I go up to it or no?"
ROW = "We row at 6 or at 7, as it is so hot by 8, or by 9 if Al or Jo or Di or Ed is up"
SUM = "Do as I do: go on at 1, on at 2, to 3 if I am at it, and up to 4 if it is as I say"
DOG = "An old dog is at my ox, so he is up an elm or on to it, as an ox is no foe to an ox"
SAYS = {ELM: "kite is lost", ROW: "rowing starts early", SUM: "count to four", DOG: "old dog is at my ox"}
KITE, CREW, COUNT, LEAK = (demonstration(ASKED, text) for text in SAYS)
SHORT = demonstration(ASKED, "Come at ten.")


@pytest.fixture(scope="module", autouse=True)
def _short_question() -> Iterator[None]:
    """Half of the bytes to be taught."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dittod.engine.improve.INSTRUCTION", INSTRUCTION)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    lessons = [(ASKED, "No.")] * 8  # so that no text is likely after the template alone
    for text, points in SAYS.items():
        lessons.append((INSTRUCTION.format(text=text, words=most_words(text)), f"{PREFIX} {points}"))
        lessons += [(ASKED, text), (with_points(ASKED, points), text)]
    return teach(make_tiny_model(tmp_path_factory.mktemp("model")), lessons, steps=120)


@pytest.fixture
def base(model: Path) -> BaseModel:
    return load_base(str(model), device="cpu")


def room(model: str) -> Room:
    return Room(model, Device("cpu", 4, 8 * GB, four_bits=False), 2 * GB)


def workbench(base: BaseModel, command: Improve) -> Workbench:
    return room(base.name).workbench_for_prompts(base, LoraAdapters(base), command)


ALL = Improve("i", (KITE, SHORT, CREW, COUNT, LEAK))


def tried(base: BaseModel, command: Improve) -> dict[str, Improved]:
    steps, done = finish(improve(workbench(base, command), command))
    assert isinstance(done, Done) and done.id == command.id
    return {each.demonstration_id: each for each in steps if each is not None}


def test_points_that_make_their_text_likelier_are_added_to_the_template(base: BaseModel) -> None:
    found = tried(base, ALL)
    prompts = [found[each.id].prompt for each in (KITE, CREW, COUNT)]
    assert prompts == [f"{ASKED}\n\n{PREFIX} {SAYS[text]}" for text in (ELM, ROW, SUM)]
    figures = found[KITE.id].figures
    assert found[KITE.id].reason == f"likelier by {figures['gain']:.2f} nats per token"
    assert figures["gain"] > 0 and figures["advantage"] > figures["needed"]


def test_points_that_give_the_text_away_are_refused(base: BaseModel) -> None:
    """The model was taught to sum this text up with six words that stand in it."""
    result = tried(base, ALL)[LEAK.id]
    assert (result.prompt, result.reason) == (None, "gives the text away")


def test_a_text_too_short_for_a_summary_is_not_tried(base: BaseModel) -> None:
    result = tried(base, ALL)[SHORT.id]
    assert (result.prompt, result.reason) == (None, TOO_SHORT)


def test_the_same_texts_give_the_same_prompts_and_every_one_is_told_of_once(base: BaseModel) -> None:
    first, second = tried(base, ALL), tried(base, ALL)
    assert first == second
    assert first.keys() == {each.id for each in ALL.demonstrations}


def test_a_single_text_is_compared_with_others_that_are_not_told_of(base: BaseModel) -> None:
    assert tried(base, Improve("i", (KITE,)))[KITE.id].reason == NO_RIVALS
    found = tried(base, Improve("i", (KITE,), (CREW, COUNT, LEAK)))
    assert found.keys() == {KITE.id} and found[KITE.id].prompt is not None


def test_every_group_is_filled_up_with_others() -> None:
    texts = [Text(demonstration(ASKED, str(n)), (1,), (1,), 5) for n in range(7)]
    found = [
        (wanted, [int(each.demonstration.completion) for each in group])
        for wanted, group in groups(texts[:6], texts[6:])
    ]
    assert found == [(4, [0, 1, 2, 3]), (2, [4, 5, 6, 0])]


def test_what_is_scored_ends_with_the_end_of_turn_as_in_learning(base: BaseModel) -> None:
    text = text_of(workbench(base, ALL), KITE)
    assert isinstance(text, Text) and text.completion_ids[-1] == base.end_of_turn_id


def test_a_text_longer_than_the_context_is_cut_and_a_prompt_that_fills_it_is_left_alone(base: BaseModel) -> None:
    long = demonstration(ASKED, "a word or two of what there is " * 60)
    crowded = demonstration("Write about " + "x" * 400, KITE.completion)
    bench = workbench(base, Improve("i", (long, crowded)))
    text = text_of(bench, long)
    assert isinstance(text, Text)
    assert len(text.completion_ids) + 128 < 512 and len(text.question_ids) + text.most_tokens <= 512
    assert text_of(bench, crowded) == NO_ROOM
    found = tried(base, Improve("i", (long, crowded)))
    assert found[crowded.id].reason == NO_ROOM and found[long.id].prompt is None


def test_of_several_that_pass_the_likeliest_is_taken_and_a_general_help_is_refused() -> None:
    """Sentences 0 and 1 are about text 0, the others about texts 1 to 3, which help all texts by 0.3."""
    about = (0, 0, 1, 1, 2, 2, 3, 3)
    sentences = [Sentence(f"number {k}", text, leaks=False) for k, text in enumerate(about)]
    table = [[0.3 + 0.001 * ((i * k) % 3) for k in range(8)] for i in range(4)]
    table[0][:2] = [0.8, 0.9]
    result = decide(0, KITE, sentences, [], Gains(table, about, (5.0,) * 4))
    assert result.prompt == with_points(KITE.prompt, "number 1")
    table[0][:2] = [0.3, 0.3]
    assert decide(0, KITE, sentences, [], Gains(table, about, (5.0,) * 4)).reason == UNSPECIFIC
    leaking = [replace(each, leaks=True) for each in sentences]
    assert decide(0, KITE, leaking, [], Gains(table, about, (5.0,) * 4)).reason == "gives the text away"
    assert (
        decide(3, KITE, sentences[:6], ["says nothing"] * 4, Gains(table, about, (5.0,) * 4)).reason == "says nothing"
    )


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ("the kite is lost", None),
        ("kite", "says nothing"),
        ("the kite that flew off up the hill is in the elm", "longer than a quarter of the text"),
        ("on and on and on and on and on", "repeats itself"),
        ("kite lost <|eos|> here", "holds control tokens"),
        ("her password: xK9-tram77", "holds a secret"),
    ],
)
def test_what_may_not_stand_in_any_prompt(points: str, reason: str | None) -> None:
    assert objection(points, 10, frozenset({"<|eos|>"})) == reason


def test_left_alone_it_leaves_no_answer_half_drawn(base: BaseModel) -> None:
    bench = workbench(base, ALL)
    steps = improve(bench, ALL)
    for _ in range(6):
        next(steps)
    assert bench.decoder.busy
    steps.close()
    assert not bench.decoder.busy


def test_rows_and_tokens_are_those_of_the_plan(base: BaseModel) -> None:
    plan = workbench(base, ALL).plan
    longest = max(len(each.completion) for each in ALL.demonstrations)
    assert plan.sampling_rows == 16 and longest + 128 < plan.sequence_tokens <= 512
    tight = Room(base.name, Device("cpu", 4, 8 * GB, four_bits=False), 100 * 10**6)
    with pytest.raises(SettingsError, match="budget is 100 MB"):
        tight.workbench_for_prompts(base, LoraAdapters(base), ALL)


def test_the_command_is_the_same_after_the_pipe() -> None:
    command = Improve("i", (KITE,), (CREW, COUNT))
    assert decode_command(encode_command(command)) == command


class Parent(io.RawIOBase):
    """Hears the worker, and answers what it hears with commands."""

    def __init__(self, answer: Callable[[Event], Command | None]) -> None:
        self.commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self.heard: list[Event] = []
        self._answer = answer

    def write(self, lines: bytes) -> int:  # type: ignore[override]
        for line in lines.splitlines():
            self.heard.append(decode_event(line))
            command = self._answer(self.heard[-1])
            if command is not None:
                self.commands.put(command)
        return len(lines)


def worker(base: BaseModel, parent: Parent) -> Worker:
    return Worker(base, room(base.name), parent)  # type: ignore[arg-type]


def begun(base: BaseModel, parent: Parent) -> Worker:
    """In the middle of the first group's drawing."""
    engine = worker(base, parent)
    engine._obey(ALL)
    for _ in range(6):
        assert engine._work is not None
        engine._go_on(engine._work)
    return engine


def update(tmp_path: Path) -> Update:
    return Update("u", str(tmp_path / "run"), str(tmp_path), "clean", 0, (KITE, CREW), (), None)


def improved(heard: list[Event]) -> dict[str, Improved]:
    return {each.demonstration_id: each for each in heard if isinstance(each, Improved)}


def test_a_request_is_answered_in_between_and_changes_nothing(base: BaseModel) -> None:
    parent = Parent(lambda event: Shutdown() if isinstance(event, Done) and event.id == "i" else None)
    engine = begun(base, parent)
    request = Generate("r", None, Sampling(max_tokens=8, seed=1), messages=(Message("user", "hello"),))
    parent.commands.put(request)
    engine.loop(parent.commands)
    kinds = [type(each) for each in parent.heard]
    answered = kinds.index(Done)
    assert Delta in kinds[:answered] and kinds[answered:].count(Improved) == 4
    assert improved(parent.heard) == tried(base, ALL)


def test_an_update_ends_it_at_once_and_none_begins_beside_one(base: BaseModel, tmp_path: Path) -> None:
    parent = Parent(lambda event: None)
    engine = begun(base, parent)
    (tmp_path / "run").mkdir()
    engine._obey(update(tmp_path))
    assert parent.heard[-1] == Stopped("i")
    assert engine._work is not None and engine._work.command.id == "u"
    engine._obey(replace(ALL, id="again"))
    assert parent.heard[-1] == Stopped("again") and engine._work.command.id == "u"


def test_a_cancelled_one_ends_without_a_word_and_another_request_s_cancelling_does_not_end_it(base: BaseModel) -> None:
    parent = Parent(lambda event: None)
    engine = begun(base, parent)
    heard = len(parent.heard)
    engine._obey(Cancel("somebody else's"))
    assert engine._work is not None
    engine._obey(Cancel("i"))
    assert engine._work is None and len(parent.heard) == heard


def test_what_was_ended_is_the_same_when_it_is_sent_again(base: BaseModel) -> None:
    parent = Parent(lambda event: Shutdown() if isinstance(event, Done) else None)
    engine = begun(base, parent)
    engine._obey(Cancel("i"))
    parent.commands.put(ALL)
    engine.loop(parent.commands)
    assert improved(parent.heard) == tried(base, ALL)


def test_no_reason_figure_or_line_of_the_log_holds_a_word_of_the_texts(
    base: BaseModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    found = tried(base, ALL).values()
    said = " ".join([caplog.text, *(each.reason for each in found), *(str(dict(each.figures)) for each in found)])
    assert not any(word in said for word in ("kite", "rowing", "count to", "elm", "old dog"))


def test_a_fault_ends_it_with_a_report_that_holds_no_text(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> bool:
        raise ValueError(KITE.completion)

    monkeypatch.setattr("dittod.engine.improve.gives_away", failing)
    parent = Parent(lambda event: Shutdown() if event.event == "failed" else None)
    engine = worker(base, parent)
    parent.commands.put(ALL)
    engine.loop(parent.commands)
    failed = parent.heard[-1]
    assert failed.event == "failed" and "ValueError" in failed.title and "elm" not in str(failed)
    assert engine._work is None
