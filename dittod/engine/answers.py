"""Requests being answered: from a Generate to its events, in the engine.

Knows the decoder and what becomes of its tokens; knows nothing of the pipe, of HTTP or of learning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dittod.engine.answer import Answer, Scores
from dittod.engine.manner import constraint_of, manner_of
from dittod.engine.prompts import prompt_ids
from dittod.engine.protocol import AdapterRef, AnswerEvent, Done, Echo, Generate, TokenLogprob
from dittod.errors import EngineUnavailable, RequestError
from dittod.model.decode import Alternatives, Decoder, Row
from dittod.model.grammar import Grammars
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters
from dittod.model.textstream import Spelling, TextStream

WITHDRAWN = (  # title and hint of what a client is told
    "a text of yours was forgotten that this answer may have been made from",
    "ask again: what answers now has never seen it",
)
LOADED_ADAPTERS = 8  # kept in memory; the one used longest ago makes room, unless an answer still runs on it


@dataclass(slots=True)
class _Pending:
    """How much of a request is still to come."""

    request: Generate
    answers: list[Answer]
    open: int
    echoes: bool  # the prompt has still to be repeated


class Answers:
    """Everything that is being answered now."""

    def __init__(self, base: BaseModel, adapters: LoraAdapters, decoder: Decoder) -> None:
        self._base = base
        self._adapters = adapters
        self._decoder = decoder
        self._grammars = Grammars(base)
        self._spelling = Spelling(base.tokenizer)
        self._pending: dict[str, _Pending] = {}
        self._by_row: dict[int, Answer] = {}
        self._recent: OrderedDict[str, None] = OrderedDict()  # names of loaded adapters, the latest used last

    @property
    def busy(self) -> bool:
        """Whether a request is waiting or running."""
        return self._decoder.busy

    def start(self, request: Generate) -> None:
        """Queue a request. Raises RequestError where it does not fit the model, ModelError if its adapter is broken."""
        ids = prompt_ids(self._base, request, self._decoder.longest)
        manner = manner_of(self._base, request, ids)
        try:
            self._decoder.check(ids, request.sampling)  # what does not fit is refused before a grammar takes time
            rows = self._decoder.submit(
                ids,
                request.sampling,
                adapter=self._loaded(request.adapter) if request.adapter else None,
                n=request.n,
                constraint=constraint_of(self._base, self._grammars, request, manner),
                score_prompt=request.echo and request.sampling.logprobs is not None,
            )
        except RequestError as error:
            if error.param == "prompt" and request.messages is not None:  # the decoder knows prompts only
                error.param = "messages"
            raise
        answers = [Answer(self._base, self._spelling, request, manner, index, row) for index, row in enumerate(rows)]
        self._pending[request.id] = _Pending(request, answers, len(answers), request.echo)
        self._by_row.update({id(answer.row): answer for answer in answers})

    def cancel(self, request_id: str) -> None:
        """Drop a request wherever it is; one that has ended already is not missed."""
        pending = self._pending.pop(request_id, None)
        for answer in pending.answers if pending else []:
            if self._by_row.pop(id(answer.row), None):
                self._decoder.cancel(answer.row)
        self._make_room(LOADED_ADAPTERS)

    def drop_all(self) -> None:
        """Cancel everything."""
        for request_id in list(self._pending):
            self.cancel(request_id)

    def forget(self, adapter_ids: Collection[str]) -> list[str]:
        """Let go of these adapters, and of every earlier conversation: any may hold a text that is to be forgotten. So
        may a prompt with examples. Returns the requests that are dropped with them."""
        dropped = [key for key, each in self._pending.items() if is_touched(each.request, adapter_ids)]
        for request_id in dropped:
            self.cancel(request_id)
        for name in {f"served-{each}" for each in adapter_ids} & self._recent.keys():
            self._adapters.drop(name)
            del self._recent[name]
        self._decoder.prefixes.spare(self._decoder.prefixes.size_bytes)
        return dropped

    def step(self) -> list[AnswerEvent]:
        """One unit of the decoder's work, and what came of it."""
        events: list[AnswerEvent] = []
        for row in self._decoder.step():
            answer = self._by_row[id(row)]
            pending = self._pending[answer.request.id]
            if pending.echoes:
                pending.echoes = False
                events.append(self._echo(pending.request, row))
            events += answer.advance()
            if answer.ended:
                self._decoder.cancel(row)  # its text may have ended before the row did
                events += self._end(answer, pending)
        return events

    def _end(self, answer: Answer, pending: _Pending) -> Sequence[AnswerEvent]:
        del self._by_row[id(answer.row)]
        pending.open -= 1
        if pending.open:
            return ()
        del self._pending[answer.request.id]
        self._make_room(LOADED_ADAPTERS)
        return (
            Done(
                answer.request.id,
                prompt_tokens=len(answer.row.prompt_ids),
                completion_tokens=sum(len(each.row.token_ids) for each in pending.answers),
                cached_tokens=answer.row.cached_prompt_tokens,
                reasoning_tokens=sum(each.reasoning_tokens for each in pending.answers),
            ),
        )

    def _echo(self, request: Generate, row: Row) -> Echo:
        text = request.prompt
        if text is None:
            text = str(self._base.tokenizer.decode(list(row.prompt_ids), skip_special_tokens=True))
        return Echo(request.id, text, () if request.sampling.logprobs is None else self._scored_prompt(row))

    def _scored_prompt(self, row: Row) -> tuple[TokenLogprob, ...]:
        stream, scores = TextStream(self._base.tokenizer), Scores(self._spelling)
        logps = (None, *row.prompt_logps)
        likeliest: tuple[Alternatives, ...] = ((), *row.prompt_alternatives)
        return tuple(
            scores.token(token_id, stream.push(token_id), logp, others)
            for token_id, logp, others in zip(row.prompt_ids, logps, likeliest, strict=True)
        )

    def _loaded(self, ref: AdapterRef) -> str:
        name = f"served-{ref.id}"
        if name not in self._adapters:
            self._make_room(LOADED_ADAPTERS - 1)
            try:
                self._adapters.load(name, Path(ref.path))
            except Exception:
                if name in self._adapters:  # in half: memory ran out
                    self._adapters.drop(name)
                if not Path(ref.path).exists():  # since the request was made
                    raise EngineUnavailable(*WITHDRAWN) from None
                raise
        self._recent[name] = None
        self._recent.move_to_end(name)
        return name

    def _make_room(self, most: int) -> None:
        in_use = {answer.row.adapter for answer in self._by_row.values()}
        unused = [name for name in self._recent if name not in in_use]
        for name in unused[: max(0, len(self._recent) - most)]:
            self._decoder.prefixes.forget(name)
            self._adapters.drop(name)
            del self._recent[name]


def is_touched(request: Generate, adapter_ids: Collection[str]) -> bool:
    """Whether it must not be answered any more when these adapters are forgotten."""
    return bool(request.examples) or (request.adapter is not None and request.adapter.id in adapter_ids)
