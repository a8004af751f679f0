"""What crosses the pipe comes out as it went in, numbers that are none and odd text included."""

from __future__ import annotations

import math

import pytest
from fakes import demonstration

from dittod.engine.protocol import (
    AdapterRef,
    Command,
    Delta,
    Event,
    Generate,
    Progress,
    Sampling,
    TokenLogprob,
    Update,
    Updated,
    decode_command,
    decode_event,
    encode_command,
    encode_event,
)
from dittod.types import Message, Verdict


@pytest.mark.parametrize(
    "command",
    [
        Generate(
            "r", None, Sampling(stop=("\n",), logit_bias={7: -1.0}), messages=(Message("user", "ü\u2028😀\n"),), n=2
        ),
        Generate("r", AdapterRef("a", "/p"), Sampling(), prompt_token_ids=(1, 2)),
        Update("u", "d", "a", "clean", 1, (demonstration("p", "c"),), (), None, {"completion_ratio": math.inf}),
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


@pytest.mark.parametrize("event", [Delta("r", 0, "a\u2029b", (TokenLogprob("a", 1, -math.inf, (("b", -2.0),)),))])
def test_an_event_comes_out_as_it_went_in(event: Event) -> None:
    assert decode_event(encode_event(event)) == event
