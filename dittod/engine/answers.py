"""Requests being answered: from a Generate to its Deltas, in the engine.

Knows the decoder and how tokens become text; knows nothing of the pipe, of HTTP or of learning.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from dittod.engine.protocol import AdapterRef, Delta, Done, Finished, Generate, TokenLogprob
from dittod.errors import RequestError
from dittod.model.decode import Decoder, Row
from dittod.model.load import BaseModel, encode_chat, encode_text
from dittod.model.lora import LoraAdapters
from dittod.model.textstream import TextStream
from dittod.types import FinishReason

CHARACTERS_PER_TOKEN_MOST = 32  # no text of any language has so few tokens
LOADED_ADAPTERS = 8  # kept in memory; the one used longest ago makes room, unless an answer still runs on it


@dataclass(slots=True)
class _Answer:
    """One answer of a request: its row in the decoder and the text that came of it."""

    request: Generate
    index: int
    row: Row
    stream: TextStream
    logprobs: list[TokenLogprob] = field(default_factory=list)  # of tokens whose text is still held back


@dataclass(slots=True)
class _Pending:
    """How much of a request is still to come."""

    request: Generate
    answers: list[_Answer]
    open: int


class Answers:
    """Everything that is being answered now."""

    def __init__(self, base: BaseModel, adapters: LoraAdapters, decoder: Decoder) -> None:
        self._base = base
        self._adapters = adapters
        self._decoder = decoder
        self._pending: dict[str, _Pending] = {}
        self._by_row: dict[int, _Answer] = {}
        self._recent: OrderedDict[str, None] = OrderedDict()  # names of loaded adapters, the latest used last

    @property
    def busy(self) -> bool:
        """Whether a request is waiting or running."""
        return self._decoder.busy

    def start(self, request: Generate) -> None:
        """Queue a request. Raises RequestError where it does not fit the model, ModelError if its adapter is broken."""
        prompt_ids = self._prompt_ids(request)
        adapter = self._loaded(request.adapter) if request.adapter else None
        rows = self._decoder.submit(prompt_ids, request.sampling, adapter=adapter, n=request.n)
        answers = [
            _Answer(request, index, row, TextStream(self._base, request.sampling.stop))
            for index, row in enumerate(rows)
        ]
        self._pending[request.id] = _Pending(request, answers, len(answers))
        self._by_row.update({id(answer.row): answer for answer in answers})

    def cancel(self, request_id: str) -> None:
        """Drop a request wherever it is; one that has ended already is not missed."""
        pending = self._pending.pop(request_id, None)
        for answer in pending.answers if pending else []:
            if self._by_row.pop(id(answer.row), None):
                self._decoder.cancel(answer.row)

    def drop_all(self) -> list[str]:
        """Cancel everything; returns the requests that were open."""
        request_ids = list(self._pending)
        for request_id in request_ids:
            self.cancel(request_id)
        return request_ids

    def step(self) -> list[Delta | Finished | Done]:
        """One unit of the decoder's work, and what came of it."""
        events: list[Delta | Finished | Done] = []
        for row in self._decoder.step():
            events += self._advance(self._by_row[id(row)])
        return events

    def _advance(self, answer: _Answer) -> list[Delta | Finished | Done]:
        row, stream = answer.row, answer.stream
        ended_by_token = row.finish_reason == "stop"
        text = "" if ended_by_token else stream.push(row.token_ids[-1])
        if answer.request.sampling.logprobs is not None and not ended_by_token:
            answer.logprobs.append(self._token_logprob(row))
        if stream.stopped and row.finish_reason is None:
            self._decoder.cancel(row)
        ended = stream.stopped or row.finish_reason is not None
        if ended:
            text += stream.finish()
        events: list[Delta | Finished | Done] = []
        if text:
            events.append(Delta(answer.request.id, answer.index, text, tuple(answer.logprobs)))
            answer.logprobs.clear()
        if ended:
            events += self._end(answer, "stop" if stream.stopped else row.finish_reason or "stop")
        return events

    def _end(self, answer: _Answer, reason: FinishReason) -> list[Delta | Finished | Done]:
        del self._by_row[id(answer.row)]
        pending = self._pending[answer.request.id]
        pending.open -= 1
        events: list[Delta | Finished | Done] = [Finished(answer.request.id, answer.index, reason)]
        if pending.open == 0:
            del self._pending[answer.request.id]
            completion_tokens = sum(len(each.row.token_ids) for each in pending.answers)
            events.append(Done(answer.request.id, len(answer.row.prompt_ids), completion_tokens))
        return events

    def _token_logprob(self, row: Row) -> TokenLogprob:
        token_id = row.token_ids[-1]
        alternatives = tuple((self._text(i), logp) for i, logp in row.alternatives[-1]) if row.alternatives else ()
        return TokenLogprob(self._text(token_id), token_id, row.logps[-1], alternatives)

    def _text(self, token_id: int) -> str:
        return str(self._base.tokenizer.decode([token_id]))

    def _prompt_ids(self, request: Generate) -> list[int]:
        self._refuse_hopeless(request)
        if request.messages is not None:
            return self._chat_ids(request)
        if request.prompt is not None:
            return encode_text(self._base, request.prompt)
        ids = list(request.prompt_token_ids or ())
        vocabulary = self._base.model.config.get_text_config().vocab_size
        if not ids or not all(0 <= each < vocabulary for each in ids):
            raise RequestError(f"prompt must hold token ids from 0 to {vocabulary - 1}", param="prompt")
        return ids

    def _refuse_hopeless(self, request: Generate) -> None:
        """Text far beyond the context is not even made into tokens: that would hold up everybody else for seconds."""
        characters = len(request.prompt or "") + sum(len(each.content) for each in request.messages or ())
        if characters > CHARACTERS_PER_TOKEN_MOST * self._base.context_tokens:
            raise RequestError(
                f"the prompt has {characters} characters; this model's context has {self._base.context_tokens} tokens",
                "shorten the conversation",
                param="messages" if request.messages else "prompt",
                code="context_length_exceeded",
            )

    def _chat_ids(self, request: Generate) -> list[int]:
        try:
            return encode_chat(self._base, request.messages or ())
        except Exception as error:  # jinja's own errors, or whatever a template raises about roles and their order
            raise RequestError(
                "the model's chat template does not take these messages",
                "some models want user and assistant in turn, or no system message",
                param="messages",
            ) from error

    def _loaded(self, ref: AdapterRef) -> str:
        name = f"served-{ref.id}"
        if name not in self._adapters:
            self._make_room()
            self._adapters.load(name, Path(ref.path))
        self._recent[name] = None
        self._recent.move_to_end(name)
        return name

    def _make_room(self) -> None:
        in_use = {answer.row.adapter for answer in self._by_row.values()}
        for name in [each for each in self._recent if each not in in_use][
            : max(0, len(self._recent) - LOADED_ADAPTERS + 1)
        ]:
            self._adapters.drop(name)
            del self._recent[name]
