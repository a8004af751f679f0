"""One answer of a request: its row in the decoder, and the events that come of its tokens.

Token → text → parts → stop strings → events; log-probabilities travel with the text that they belong to. Knows nothing
of other answers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from dittod.engine.manner import Manner
from dittod.engine.parts import Called, Parts, Said
from dittod.engine.protocol import AnswerEvent, CallDelta, Delta, Finished, Generate, TokenLogprob
from dittod.model.decode import Alternatives, Row
from dittod.model.load import BaseModel
from dittod.model.textstream import Spelling, StopText, TextStream
from dittod.types import FinishReason

_Placed = tuple[int, TokenLogprob | None]  # where a token's text begins; None: nobody asked for its log-prob


class Scores:
    """Tokens of one text with their log-probabilities, as clients see them."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._first = True

    def token(self, token_id: int, piece: str, logp: float | None, likeliest: Alternatives) -> TokenLogprob:
        """The next token, after which `piece` became certain."""
        spelled = self._spelling.said(token_id, piece, first=self._first)
        self._first = self._first and not self._spelling.bytes_of(token_id)
        return TokenLogprob(
            self._spelling.shown(token_id, spelled),
            token_id,
            logp,
            tuple(spelled),
            tuple(self._alternative(other, other_logp) for other, other_logp in likeliest),
        )

    def _alternative(self, token_id: int, logp: float) -> TokenLogprob:
        spelled = self._spelling.bytes_of(token_id)
        return TokenLogprob(self._spelling.shown(token_id, spelled), token_id, logp, tuple(spelled))


class Answer:
    """Reads its row whenever that has got on."""

    def __init__(
        self, base: BaseModel, spelling: Spelling, request: Generate, manner: Manner, index: int, row: Row
    ) -> None:
        self.request = request
        self.row = row
        self.ended = False
        self.reasoning_tokens = 0
        self._index = index
        self._silent = base.stop_token_ids
        self._stream = TextStream(base.tokenizer, shown=manner.shown, silent=base.stop_token_ids)
        self._parts = Parts(
            manner.dialect,
            thinking=manner.thinking,
            tools=frozenset(tool.name for tool in manner.tools),
            several=manner.several,
        )
        self._stop = StopText(request.sampling.stop)
        self._scores = Scores(spelling)
        self._read = 0  # tokens of the row
        self._length = 0  # of the text so far
        self._tokens: list[_Placed] = []  # in the text, that belong to no part yet
        self._content_length = 0
        self._content_tokens: list[_Placed] = []  # in the content, not given out yet
        self._given = 0  # of the content
        self._calls = 0

    def advance(self) -> list[AnswerEvent]:
        """What has become certain with the row's latest token, or with its end."""
        events: list[AnswerEvent] = []
        for place in range(self._read, len(self.row.token_ids)):
            events += self._events(self._parts.push(self._text_of(place)))
        self._read = len(self.row.token_ids)
        if self._stop.stopped or self._parts.ended or self.row.finish_reason is not None:
            self.ended = True
            events += self._finish()
        return events

    def _text_of(self, place: int) -> str:
        token_id = self.row.token_ids[place]
        ending = token_id in self._silent and self.row.finish_reason == "stop"
        if ending and self.request.messages is not None:
            return ""  # a chat's log-probs are those of its content
        piece = "" if ending else self._stream.push(token_id)
        scored = None
        if self.request.sampling.logprobs is not None:
            scored = self._scores.token(token_id, piece, self.row.logps[place], self.row.alternatives[place])
        self._tokens.append((self._length, scored))
        self._length += len(piece)
        return piece

    def _events(self, parts: Iterable[Said | Called]) -> list[AnswerEvent]:
        events: list[AnswerEvent] = []
        for part in parts:
            if self._stop.stopped:
                break
            if isinstance(part, Called):
                events.append(self._call(part))
                continue
            tokens = self._claimed(part)
            if part.channel == "reasoning":
                self.reasoning_tokens += len(tokens)
                events.append(Delta(self.request.id, self._index, part.text, channel="reasoning"))
                continue
            self._content_tokens += [(self._content_length + at - part.start, token) for at, token in tokens]
            self._content_length += len(part.text)
            events += self._content(self._stop.push(part.text))
        return events

    def _call(self, called: Called) -> CallDelta:
        call_id = f"call_{secrets.token_hex(12)}"
        number, self._calls = self._calls, self._calls + 1
        return CallDelta(self.request.id, self._index, number, call_id, called.name, called.arguments)

    def _claimed(self, part: Said) -> list[_Placed]:
        """The tokens that begin in a part. Those before it belong to none: they mark where parts begin and end."""
        tokens = [placed for placed in self._tokens if part.start <= placed[0] < part.end]
        self._tokens = [placed for placed in self._tokens if placed[0] >= part.end]
        return tokens

    def _content(self, text: str) -> list[AnswerEvent]:
        """Text with the tokens that begin in it."""
        self._given += len(text)
        tokens = [token for at, token in self._content_tokens if at < self._given]
        self._content_tokens = [placed for placed in self._content_tokens if placed[0] >= self._given]
        scored = tuple(token for token in tokens if token is not None)
        return [Delta(self.request.id, self._index, text, scored)] if text or scored else []

    def _finish(self) -> list[AnswerEvent]:
        called = bool(self._calls) and self._parts.called
        events: list[AnswerEvent] = []
        if not self._stop.stopped and not self._parts.ended:
            events += self._events([*self._parts.push(self._stream.finish()), *self._parts.finish()])
        if not self._stop.stopped:
            events += self._content(self._stop.finish())
            events += self._without_text()
        tokens, logp = len(self.row.token_ids), sum(self.row.logps)
        return [*events, Finished(self.request.id, self._index, self._reason(called), tokens, logp)]

    def _without_text(self) -> list[AnswerEvent]:
        """Tokens at the end that spell nothing, like special ones, are tokens of the content all the same."""
        spoken = not self._calls and (self._given or not self.reasoning_tokens)
        scored = tuple(token for _, token in self._tokens if token is not None) if spoken else ()
        return [Delta(self.request.id, self._index, "", scored)] if scored else []

    def _reason(self, called: bool) -> FinishReason:
        """Why it ended. A limit that is reached just behind a call cuts nothing off."""
        reason = "stop" if self._stop.stopped or self._parts.ended else self.row.finish_reason
        return "tool_calls" if called or (self._calls and reason == "stop") else reason or "stop"
