"""One answer: what is said, thought and called of the tokens that a script draws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_base
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dittod.engine.answers import Answers
from dittod.engine.protocol import AnswerEvent, CallDelta, Delta, Done, Finished, Generate, Sampling, TokenLogprob
from dittod.model.decode import Row
from dittod.model.load import BaseModel
from dittod.types import FinishReason, Message, Tool

THINKING = """{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>{% if tools %}{% endif %}
{% if enable_thinking is defined %}<think>{% endif %}{# </think> <tool_call>{"name" #}"""
HELLO = (Message("user", "hello"),)
TOOLS = (Tool("weather"), Tool("time"))
CALL = '<tool_call>{"name": "weather", "arguments": {"at": "Bury"}}</tool_call>'


class Script:
    """A decoder that draws the tokens it was given, one each step, each likely by as much as its place says."""

    longest = 1024

    def __init__(self, token_ids: Sequence[int], ends: FinishReason) -> None:
        self._token_ids = token_ids
        self._ends = ends
        self._row: Row | None = None
        self.cancelled = 0

    @property
    def busy(self) -> bool:
        """Until the row ends or is cancelled."""
        return self._row is not None

    def check(self, prompt_ids: Sequence[int], sampling: Sampling) -> None:
        """Whatever is asked will fit."""

    def submit(self, prompt_ids: Sequence[int], sampling: Sampling, **_: Any) -> list[Row]:
        """One row, whatever was asked."""
        self._row = Row(tuple(prompt_ids), None, sampling, 10_000, torch.Generator())
        return [self._row]

    def step(self) -> list[Row]:
        """The next token."""
        assert self._row is not None
        row, place = self._row, len(self._row.token_ids)
        row.token_ids += self._token_ids[place : place + 1]
        row.logps.append(-float(place))
        row.alternatives.append(((65, -1.0), (257, -2.0)))
        if place + 1 >= len(self._token_ids):
            row.finish_reason, self._row = self._ends, None
        return [row]

    def cancel(self, row: Row) -> None:
        """The row is not wanted any more."""
        self.cancelled += row.finish_reason is None
        self._row = None


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny_base(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    base = tiny_base(tmp_path_factory.mktemp("thinking"))
    base.tokenizer.chat_template = THINKING
    return base


def answer(
    base: BaseModel,
    text: str | Sequence[int],
    ends: FinishReason = "stop",
    sampling: Sampling | None = None,
    **asked: Any,
) -> list[AnswerEvent]:
    ids = base.tokenizer(text, add_special_tokens=False)["input_ids"] if isinstance(text, str) else list(text)
    script = Script([*ids, base.end_of_turn_id] if ends == "stop" else ids, ends)
    answers = Answers(base, None, script)  # type: ignore[arg-type]
    answers.start(Generate("1", None, sampling or Sampling(), messages=HELLO, **asked))
    events: list[AnswerEvent] = []
    while answers.busy:
        events += answers.step()
    return events


def said(events: list[AnswerEvent], channel: str = "content") -> str:
    return "".join(each.text for each in events if isinstance(each, Delta) and each.channel == channel)


def scored(events: list[AnswerEvent]) -> list[TokenLogprob]:
    return [token for each in events if isinstance(each, Delta) for token in each.logprobs]


def calls(events: list[AnswerEvent]) -> list[tuple[int, str, Any]]:
    deltas = [each for each in events if isinstance(each, CallDelta)]
    return [(each.number, each.name, json.loads(each.arguments)) for each in deltas]


def reason(events: list[AnswerEvent]) -> str:
    return next(each.finish_reason for each in events if isinstance(each, Finished))


def test_plain_text_is_content_to_the_letter(base: BaseModel) -> None:
    events = answer(base, " \n <think>Hi</think> \n")
    assert said(events) == " \n <think>Hi</think> \n"
    assert events[-2:] == [
        Finished("1", 0, "stop", tokens=23, logp=-253.0),  # 0 + 1 + … + 22
        Done("1", prompt_tokens=9, completion_tokens=23),
    ]


def test_a_call_among_words(base: BaseModel) -> None:
    events = answer(base, f"Let me see.\n{CALL}\n{CALL.replace('weather', 'time')}", tools=TOOLS)
    assert said(events) == "Let me see."
    assert calls(events) == [(0, "weather", {"at": "Bury"}), (1, "time", {"at": "Bury"})]
    assert reason(events) == "tool_calls"
    ids = [each.call_id for each in events if isinstance(each, CallDelta)]
    assert len(set(ids)) == 2
    assert all(each.startswith("call_") and len(each) == 29 for each in ids)


def test_the_ids_of_calls_do_not_come_from_the_seed(base: BaseModel) -> None:
    twice = [answer(base, CALL, tools=TOOLS, sampling=Sampling(seed=1)) for _ in range(2)]
    one, other = (next(each.call_id for each in events if isinstance(each, CallDelta)) for events in twice)
    assert one != other


def test_one_call_at_most_ends_the_answer_there(base: BaseModel) -> None:
    events = answer(base, f"{CALL}{CALL}", tools=TOOLS, parallel_tool_calls=False)
    assert len(calls(events)) == 1
    assert reason(events) == "tool_calls"
    done = events[-1]
    assert isinstance(done, Done)
    assert done.completion_tokens == len(CALL)


def test_with_tool_choice_none_a_call_is_text(base: BaseModel) -> None:
    events = answer(base, CALL, tools=TOOLS, tool_choice="none")
    assert (said(events), calls(events), reason(events)) == (CALL, [], "stop")


@pytest.mark.parametrize(("text", "ends"), [(CALL[:-20], "length"), (CALL[:-20], "stop"), (CALL + "{", "length")])
def test_a_call_that_was_cut_off_is_text(base: BaseModel, text: str, ends: FinishReason) -> None:
    events = answer(base, text, ends, tools=TOOLS)
    whole = text.startswith(CALL)
    assert said(events) == ("{" if whole else text)
    assert len(calls(events)) == whole
    assert reason(events) == ends


def test_a_call_that_is_whole_when_the_limit_is_reached_is_a_call(base: BaseModel) -> None:
    assert reason(answer(base, CALL, "length", tools=TOOLS)) == "tool_calls"


def test_reasoning_is_said_apart_and_counted(thinking: BaseModel) -> None:
    events = answer(thinking, "<think>\nhm\n</think>\n\nYes.", sampling=Sampling(logprobs=1))
    assert (said(events), said(events, "reasoning")) == ("Yes.", "hm")
    assert "".join(each.token for each in scored(events)) == "Yes."
    done = events[-1]
    assert isinstance(done, Done)
    assert done.reasoning_tokens == 2


def test_the_prompt_may_have_begun_it(thinking: BaseModel) -> None:
    events = answer(thinking, f"hm {CALL} </think>{CALL}", tools=TOOLS, reasoning_effort="high")
    assert said(events, "reasoning") == f"hm {CALL}"
    assert (said(events), len(calls(events))) == ("", 1)


def test_stop_strings_count_in_content_only_and_never_leak(thinking: BaseModel) -> None:
    text = f"<think>an END</think>Well, {CALL}E EN END more"
    events = answer(thinking, text, tools=TOOLS, sampling=Sampling(stop=("END", "Bury"), logprobs=0))
    assert said(events, "reasoning") == "an END"
    assert said(events) == "Well,E EN "
    assert len(calls(events)) == 1
    assert "".join(each.token for each in scored(events)) == "Well,E EN "
    assert reason(events) == "tool_calls"


def test_a_stop_string_frees_the_row(base: BaseModel) -> None:
    script = Script(base.tokenizer("one two three")["input_ids"], "length")
    answers = Answers(base, None, script)  # type: ignore[arg-type]
    answers.start(Generate("1", None, Sampling(stop=("two",)), messages=HELLO))
    events: list[AnswerEvent] = []
    while answers.busy:
        events += answers.step()
    assert (said(events), reason(events), script.cancelled) == ("one ", "stop", 1)


def test_markers_that_are_special_tokens_are_seen_where_they_matter(tmp_path: Path) -> None:
    base = tiny_base(tmp_path)
    base.tokenizer.add_special_tokens({"additional_special_tokens": ["[TOOL_CALLS]", "[ARGS]"]})
    base.tokenizer.chat_template = "{{ tools }}[TOOL_CALLS][ARGS]{{ messages[0].content }}"
    text = 'Hm[TOOL_CALLS]weather[ARGS]{"at": "Bury"}[TOOL_CALLS]time[ARGS]{}'
    events = answer(base, text, tools=TOOLS)
    assert calls(events) == [(0, "weather", {"at": "Bury"}), (1, "time", {})]
    assert said(events) == "Hm"
    assert said(answer(base, text)) == 'Hmweather{"at": "Bury"}time{}', "and leave no trace where they do not"


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30), st.text("e\u0301👩\u200d日 ñ", max_size=10))
@example("", "日")
def test_the_bytes_of_all_tokens_are_those_of_the_text(base: BaseModel, text: str, hard: str) -> None:
    for tools in ((), TOOLS):
        events = answer(base, text + hard, tools=tools, sampling=Sampling(logprobs=0))
        assert b"".join(bytes(each.bytes) for each in scored(events)) == (text + hard).encode() == said(events).encode()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 261), max_size=30))
def test_each_token_of_content_is_reported_once_whatever_it_spells(base: BaseModel, ids: list[int]) -> None:
    events = answer(base, [each for each in ids if each != 257], "length", sampling=Sampling(logprobs=0))
    assert [each.token_id for each in scored(events)] == [each for each in ids if each != 257]


def test_alternatives_have_bytes_of_their_own_and_special_ones_none(base: BaseModel) -> None:
    (token, *_) = scored(answer(base, "é", sampling=Sampling(logprobs=2)))
    letter = bytes(token.alternatives[0].bytes).decode()
    assert [(each.token, each.token_id, bytes(each.bytes), each.logprob) for each in token.alternatives] == [
        (letter, 65, letter.encode(), -1.0),
        ("<|eos|>", 257, b"", -2.0),
    ]
    assert (token.token, bytes(token.bytes), token.logprob) == ("\ufffd", b"\xc3", 0.0)
