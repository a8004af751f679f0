"""What crosses the pipe comes out as it went in, numbers that are none and odd text included."""

from __future__ import annotations

import math

import pytest
from fakes import demonstration

from dittod.engine.protocol import (
    Accepted,
    AdapterRef,
    CallDelta,
    Cancel,
    Command,
    Delta,
    Detokenize,
    Detokenized,
    Done,
    Drawn,
    Echo,
    Embed,
    Embedded,
    Event,
    Failed,
    Finished,
    Generate,
    Progress,
    Sampling,
    Tokenize,
    Tokenized,
    TokenLogprob,
    Update,
    Updated,
    decode_command,
    decode_event,
    encode_command,
    encode_event,
)
from dittod.types import Message, Tool, ToolCall, Verdict

SCHEMA = {"type": "object", "properties": {"of": {"enum": ["ü", None, 1, 0.5, True]}}}
LOOK_UP = Tool("look_up", "a word", SCHEMA, strict=True)
CONVERSATION = (
    Message("user", "What is a luff?"),
    Message("assistant", "", "A sail has one.", (ToolCall("call_1", "look_up", '{"of": "luff"}'),)),
    Message("tool", "its front edge", tool_call_id="call_1", name="look_up"),
)


@pytest.mark.parametrize(
    "command",
    [
        Generate(
            "r", None, Sampling(stop=("\n",), logit_bias={7: -1.0}), messages=(Message("user", "ü\u2028😀\n"),), n=2
        ),
        Generate("r", AdapterRef("a", "/p"), Sampling(), prompt_token_ids=(1, 2)),
        Generate("r", None, Sampling(max_tokens=0, logprobs=3), prompt="a", suffix="b", echo=True),
        Generate("r", None, Sampling(), CONVERSATION, tools=(LOOK_UP,), tool_choice="required", tool_name="look_up"),
        Generate(
            "r", None, Sampling(), CONVERSATION, parallel_tool_calls=False, json_schema=SCHEMA, reasoning_effort="low"
        ),
        Embed("e", ("ü", (1, 2), "")),
        Tokenize("t", "a", add_special_tokens=False),
        Tokenize("t", messages=CONVERSATION, tools=(LOOK_UP,)),
        Detokenize("t", (1, 2)),
        Cancel("r"),
        Update(
            "u", "d", "a", "clean", 1, (demonstration("p", "c"),), (), None, overrides={"completion_ratio": math.inf}
        ),
    ],
)
def test_a_command_comes_out_as_it_went_in_on_one_line(command: Command) -> None:
    line = encode_command(command)
    assert line.count(b"\n") == 1 and decode_command(line) == command


def test_figures_that_are_no_numbers_reach_the_parent() -> None:
    line = encode_event(Progress("u", "dpo", 1, 2, figures={"loss": math.inf}))
    assert decode_event(line) == Progress("u", "dpo", 1, 2, figures={"loss": math.inf})
    event = decode_event(encode_event(Updated("u", AdapterRef("a", "p"), Verdict(False, ("worse",), {"x": math.nan}))))
    assert isinstance(event, Updated) and math.isnan(event.verdict.figures["x"])


SCORED = TokenLogprob("a", 1, -math.inf, (97,), (TokenLogprob("b", 2, -2.0, (98,)),))
FIRST = TokenLogprob("<s>", 0, None)


@pytest.mark.parametrize(
    "event",
    [
        Accepted("r"),
        Echo("r", "ü", (FIRST, SCORED)),
        Delta("r", 0, "a\u2029b", (SCORED,)),
        Delta("r", 1, "hm", channel="reasoning"),
        CallDelta("r", 0, 1, "call_1", "look_up", '{"of": "😀'),
        Finished("r", 1, "tool_calls", 7, -3.5),
        Drawn("u", 2, "f" * 64, "ü\u2028😀\n", 1.5),
        Done("r", 9, 12, 5, 3),
        Embedded("e", ("AACAPw==",), 3),
        Tokenized("t", (256, 97)),
        Detokenized("t", "a\u2028b"),
        Failed("r", "it is too long", "shorten it", 400, "messages", "context_length_exceeded"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_comes_out_as_it_went_in_on_one_line(event: Event) -> None:
    line = encode_event(event)
    assert line.count(b"\n") == 1 and decode_event(line) == event
