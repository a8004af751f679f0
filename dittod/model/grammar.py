"""Answers that must fit a grammar: which tokens are allowed next.

llguidance does the work. It is imported, and shown the tokenizer, when the first request needs it: that takes 0.2 s and
up to 1.5 s. Its limits bound the time of every step; what exceeds them while compiling is the request's fault, and
later ends the answer, which has then failed. Knows nothing of requests; the grammars' text is made in `schema`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dittod.errors import RequestError
from dittod.model.decode import Constraint
from dittod.model.load import BaseModel
from dittod.model.textstream import TextStream, beginning_at_end

_FUEL = 200_000  # of compiling: 0.1 s
_LEXER_STATES = 20_000  # about 2 kB each, for each request
_GRAMMAR_SIZE = 100_000
_ITEMS_IN_ROW = 4_100  # four for each property that may come next; a step takes up to 60 ms (of 21,500: 330 ms)

# JSON schema's own words: all that an error message of ours repeats of a schema
_KEYWORDS = frozenset(
    [
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "if",
        "items",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "oneOf",
        "pattern",
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "required",
        "then",
        "type",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
        "$anchor",
        "$dynamicAnchor",
        "$dynamicRef",
        "$recursiveRef",
        "$ref",
    ]
)
# for messages of llguidance that name other keywords than those at fault, or none, or text of the schema
_AT_FAULT = (
    ("Unable to determine if regex ", "pattern"),
    ("regex parse error", "pattern"),
    ("Unknown format", "format"),
    ("Invalid type", "type"),
    ("Unsatisfiable schema: required property ", "required"),
    ("Pointer ", "$ref"),
    ("Resource ", "$ref or $schema"),
    ("Invalid URI reference ", "$ref"),
    ("circular references ", "$ref"),
    ("NoExtensionBias", "$ref"),
    ("patternProperty ", "patternProperties"),
    ("oneOf constraints ", "oneOf"),
    ("min/maxProperties ", "minProperties or maxProperties"),
    ("invalid multiple of", "multipleOf"),
    ("Failed to generate regex for ", "minimum or maximum"),
    ("Unsatisfiable schema: range ", "multipleOf"),
    ("Parser Error: Current row ", "properties"),
)


class Grammars:
    """Compiles grammars for one model.

    None is kept for later requests: copies share the lexer, and with it the limits, so that one answer at its limit
    would end those of everybody. Compiling takes 1 ms, with a thousand optional properties 0.1 s.
    """

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._vocabulary = int(base.model.get_input_embeddings().weight.shape[0])
        self._tokenizer: Any = None  # llguidance's

    def grammar(self, lark: str, param: str) -> Grammar:
        """One at its beginning. Raises RequestError, naming `param`, where llguidance cannot do it."""
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(
            initial_lexer_fuel=_FUEL,
            max_lexer_states=_LEXER_STATES,
            max_items_in_row=_ITEMS_IN_ROW,
            max_grammar_size=_GRAMMAR_SIZE,
            verbose_errors=False,
        )
        tokenizer = self._known_tokenizer(param)
        matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(lark), log_level=0, limits=limits)
        error = _first_error(matcher, tokenizer.tokenize_str("{"))
        if error:
            raise _refusal(error, param)
        return Grammar(matcher, tokenizer, self._vocabulary)

    def _known_tokenizer(self, param: str) -> Any:
        if self._tokenizer is None:
            from llguidance.hf import from_tokenizer

            try:
                self._tokenizer = from_tokenizer(
                    self._base.tokenizer, n_vocab=self._vocabulary, eos_token=self._base.end_of_turn_id
                )
            except Exception as error:  # its own kinds; a tokenizer written in Python, or one of another make
                raise RequestError("answers of this model cannot be bound to a form", param=param) from error
        return self._tokenizer


class Grammar:
    """The place of one answer in a grammar. Once it is complete, only the end of the turn is allowed."""

    def __init__(self, matcher: Any, tokenizer: Any, vocabulary: int) -> None:
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary

    def copy(self) -> Grammar:
        """One for another row of the same request, at the same place."""
        return Grammar(self._matcher.deep_copy(), self._tokenizer, self._vocabulary)

    @property
    def complete(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped()) and not self.failed

    @property
    def failed(self) -> bool:
        """Whether a limit of llguidance has ended it."""
        return bool(self._matcher.is_error())

    def mask(self) -> Tensor:
        """(vocabulary,) bool. None is allowed once it has failed."""
        bits = None if self.failed else self._matcher.compute_bitmask()
        if bits is None or self.failed:
            return torch.zeros(self._vocabulary, dtype=torch.bool)
        unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=self._vocabulary, bitorder="little")
        return torch.from_numpy(unpacked.view(np.bool_))

    def accept(self, token_id: int) -> None:
        """One token further."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token_id)

    def accept_text(self, text: str) -> bool:
        """Whether it goes on like this: text that stands in a token with the marker before it."""
        token_ids = self._tokenizer.tokenize_str(text)
        return int(self._matcher.try_consume_tokens(token_ids)) == len(token_ids)


class AfterReasoning:
    """Free while the model thinks; bound from then on."""

    def __init__(self, bound: Constraint, closing: Awaited, *, thinking: bool, opening_id: int | None) -> None:
        self._bound = bound
        self._closing = closing
        self._thinking = thinking  # the prompt has begun it
        self._opening_id = None if thinking else opening_id  # the token with which the answer may begin it

    def copy(self) -> AfterReasoning:
        """One for another row."""
        return AfterReasoning(
            self._bound.copy(), self._closing.copy(), thinking=self._thinking, opening_id=self._opening_id
        )

    @property
    def failed(self) -> bool:
        """Whether a limit of the grammar has ended it."""
        return self._bound.failed

    def mask(self) -> Tensor | None:
        """(vocabulary,) bool, or None."""
        allowed = None if self._thinking else self._bound.mask()
        if allowed is not None and self._opening_id is not None:
            allowed[self._opening_id] = True
        return allowed

    def accept(self, token_id: int) -> None:
        """One token further."""
        if self._thinking:
            self._thinking = self._closing.push(token_id) is None
        elif token_id == self._opening_id:
            self._thinking = True
        else:
            self._bound.accept(token_id)
        self._opening_id = None


class AfterOpening:
    """Free, but for what follows each opening of a call."""

    def __init__(self, opened: Grammar, opening: Awaited) -> None:
        self._opened = opened
        self._opening = opening
        self._running: Grammar | None = None

    def copy(self) -> AfterOpening:
        """One for another row."""
        return AfterOpening(self._opened, self._opening.copy())

    @property
    def failed(self) -> bool:
        """Whether a limit of the grammar has ended it."""
        return self._running is not None and self._running.failed

    def mask(self) -> Tensor | None:
        """(vocabulary,) bool, or None."""
        return None if self._running is None else self._running.mask()

    def accept(self, token_id: int) -> None:
        """One token further."""
        if self._running is None:
            self._running = self._begun(self._opening.push(token_id))
            return
        self._running.accept(token_id)
        if self._running.complete:
            self._running = None

    def _begun(self, rest: str | None) -> Grammar | None:
        """Once the opening is there. What the model wrote behind it in the same token may not fit: then it is free."""
        if rest is None:
            return None
        running = self._opened.copy()
        return running if not rest.strip() or running.accept_text(rest) else None


class Awaited:
    """Looks for a marker in the text of an answer; `shown` are the special tokens that it may consist of."""

    def __init__(self, tokenizer: Any, marker: str, shown: frozenset[int], *, at_start: bool = False) -> None:
        self._tokenizer = tokenizer
        self._marker = marker
        self._shown = shown
        self._at_start = at_start  # only as the first thing, and itself part of what follows
        self._stream = TextStream(tokenizer, shown=shown)
        self._tail = ""

    def copy(self) -> Awaited:
        """Another one that has seen nothing yet."""
        return Awaited(self._tokenizer, self._marker, self._shown, at_start=self._at_start)

    def push(self, token_id: int) -> str | None:
        """The text behind the marker, with the token that completes it."""
        text = self._tail + self._stream.push(token_id)
        at = text.find(self._marker)
        if self._at_start:
            self._tail = text.lstrip()[:1]  # enough to know that something else came first
            return text.lstrip() if at >= 0 and not text[:at].strip() else None
        if at >= 0:
            self._tail = ""
            return text[at + len(self._marker) :]
        self._tail = text[len(text) - beginning_at_end(text, self._marker) :]
        return None


def _first_error(matcher: Any, brace: list[int]) -> str:
    """Some only show with the first token, some with the one behind the brace of an object."""
    if not matcher.is_error():
        matcher.compute_bitmask()
    within = matcher.deep_copy()
    if not matcher.is_error() and within.try_consume_tokens(brace):
        within.compute_bitmask()
    return str(within.get_error())


def _refusal(message: str, param: str) -> RequestError:
    """Names the keywords that llguidance's message is about, and nothing else of the schema."""
    named = _at_fault(message.split("\n", 1)[0])
    if not named:
        return RequestError(f"the schema in {param} cannot be enforced", "make it simpler", param=param)
    return RequestError(
        f"the schema in {param} uses {named} in a way that cannot be enforced",
        "leave that out, or make it simpler",
        param=param,
    )


def _at_fault(message: str) -> str:
    reason = message.rsplit("failed to compile JSON schema: ", 1)[-1]
    for beginning, keywords in _AT_FAULT:
        if reason.startswith(beginning):
            return keywords
    words = re.findall(r"[$A-Za-z]+", reason.replace("regex", "pattern"))
    return " and ".join(sorted({word for word in words if word in _KEYWORDS}))
