"""The manner in which a request is to be answered: may the model think, which tools may it call, which form must hold.

Knows how a request says so and which grammar that makes; knows nothing of decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dittod.engine.protocol import Generate
from dittod.errors import RequestError
from dittod.model.chat import dialect_for
from dittod.model.decode import Constraint
from dittod.model.dialect import Dialect
from dittod.model.grammar import AfterOpening, AfterReasoning, Awaited, Grammars
from dittod.model.load import BaseModel
from dittod.model.schema import answer_rule, calls_rules, check_schema
from dittod.model.textstream import single_tokens, special_tokens_in
from dittod.types import Tool

_TAIL_TOKENS = 16  # of the prompt: where it may have begun or ended the reasoning


@dataclass(frozen=True, slots=True)
class Manner:
    """How one request is answered."""

    dialect: Dialect
    thinking: bool = False  # the prompt has begun the reasoning
    thought: bool = False  # the prompt has ended it
    tools: tuple[Tool, ...] = ()  # those that may be called
    several: bool = False  # more than one at once
    shown: frozenset[int] = frozenset()  # special tokens that separate the parts of an answer


def manner_of(base: BaseModel, request: Generate, prompt_ids: Sequence[int]) -> Manner:
    """Raises RequestError where the tool to call is none of the tools."""
    if request.messages is None:
        return Manner(Dialect())
    dialect = dialect_for(base, request.tools)
    tools = _callable(request)
    markers = (*(dialect.calls.markers if tools else ()), *(dialect.reasoning or ()))
    opening, closing = dialect.reasoning or ("", "")
    tail = str(base.tokenizer.decode(list(prompt_ids[-_TAIL_TOKENS:]))).rstrip() if dialect.reasoning else ""
    return Manner(
        dialect,
        thinking=bool(opening) and tail.endswith(opening),
        thought=bool(closing) and tail.endswith(closing),
        tools=tools,
        several=request.parallel_tool_calls and request.tool_name is None,
        shown=special_tokens_in(base.tokenizer, markers),
    )


def constraint_of(base: BaseModel, grammars: Grammars, request: Generate, manner: Manner) -> Constraint | None:
    """What the answer is bound to; None: nothing. Raises RequestError where a schema cannot be enforced."""
    rules = _rules(base, grammars, request, manner)
    if rules is not None:
        lead = '("\\n"){0,2} ' if manner.dialect.reasoning else ""
        starts, text = rules
        param = "tools" if "calls" in starts else "response_format"
        bound: Constraint = grammars.grammar(f"start: {lead}({' | '.join(starts)})\n{text}", param)
    elif any(tool.strict for tool in manner.tools):
        bound = _after_opening(base, grammars, manner)
    else:
        return None
    return _after_reasoning(base, bound, manner)


def _callable(request: Generate) -> tuple[Tool, ...]:
    if request.tool_choice == "none":
        return ()
    tools = tuple(tool for tool in request.tools if request.tool_name in (None, tool.name))
    if request.tool_choice == "required" and not tools:
        raise RequestError(
            "tool_choice asks for a tool that is not among tools", "name one of them", param="tool_choice"
        )
    return tools


def _rules(
    base: BaseModel, grammars: Grammars, request: Generate, manner: Manner
) -> tuple[tuple[str, ...], str] | None:
    """The rules of which the answer must fit one, and the text that defines them."""
    if request.tool_choice == "required":
        return ("calls",), _calls(base, manner)
    if request.json_schema is None:
        return None
    check_schema(request.json_schema, "response_format")
    answer = answer_rule(request.json_schema)
    if not manner.tools:
        return ("answer",), answer
    grammars.grammar(f"start: answer\n{answer}", "response_format")  # its faults are not those of the tools
    return ("answer", "calls"), f"{answer}\n{_calls(base, manner)}"


def _calls(base: BaseModel, manner: Manner) -> str:
    syntax = manner.dialect.calls
    return calls_rules(manner.tools, syntax, single_tokens(base.tokenizer, syntax.markers), several=manner.several)


def _after_opening(base: BaseModel, grammars: Grammars, manner: Manner) -> AfterOpening:
    bare = manner.dialect.calls.form == "bare"
    marker = "{" if bare else manner.dialect.calls.opening
    opened = grammars.grammar(f"start: opened\n{_calls(base, manner)}", "tools")
    return AfterOpening(opened, Awaited(base.tokenizer, marker, manner.shown, at_start=bare))


def _after_reasoning(base: BaseModel, bound: Constraint, manner: Manner) -> Constraint:
    if manner.dialect.reasoning is None:
        return bound
    opening, closing = manner.dialect.reasoning
    opening_id = None if manner.thought else single_tokens(base.tokenizer, [opening]).get(opening)
    awaited = Awaited(base.tokenizer, closing, manner.shown)
    return AfterReasoning(bound, awaited, thinking=manner.thinking, opening_id=opening_id)
