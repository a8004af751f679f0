"""Token ids to text, as they come: only text that is certain to be part of the answer is given out.

Held back: bytes of an unfinished character, and whatever could still become a stop string. Knows nothing of requests;
log-probabilities and stop *tokens* are the decoder's.
"""

from __future__ import annotations

from typing import Any

from tokenizers.decoders import DecodeStream

from dittod.model.load import BaseModel

_UNFINISHED = "\ufffd"  # what a tokenizer writes for bytes that are no character (yet)


class TextStream:
    """The text of one answer, piece by piece. Special tokens leave no trace in it.

    The answer ends before the stop string that is complete first, wherever token borders lie; `stopped` is then true
    and nothing more comes out. Of two complete at the same character, the longer one counts.
    """

    def __init__(self, base_or_tokenizer: Any, stop: tuple[str, ...] = ()) -> None:
        is_base = isinstance(base_or_tokenizer, BaseModel)
        self._silent = base_or_tokenizer.stop_token_ids if is_base else frozenset()
        self._pieces = _Pieces(base_or_tokenizer.tokenizer if is_base else base_or_tokenizer)
        self._stop = tuple(text for text in stop if text)
        self._held = ""  # the possible beginning of a stop string
        self.stopped = False

    def push(self, token_id: int) -> str:
        """The text that has become certain with this token."""
        if self.stopped or token_id in self._silent:
            return ""
        return self._release(self._pieces.push(token_id))

    def finish(self) -> str:
        """What was still held back, when the answer has ended."""
        if self.stopped:
            return ""
        text, self._held = self._release(self._pieces.finish()) + self._held, ""
        return text

    def _release(self, piece: str) -> str:
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        keep = self._beginning_of_stop(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _beginning_of_stop(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop string begins."""
        longest = max((len(stop) for stop in self._stop), default=0)
        for length in range(min(longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop):
                return length
        return 0


class _Pieces:
    """Incremental detokenisation: the pieces joined are the decoded whole."""

    def __init__(self, tokenizer: Any) -> None:
        self._fast: Any = getattr(
            tokenizer, "backend_tokenizer", None
        )  # None: written in Python, decoded anew each time
        self._slow = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True) if self._fast is not None else None
        self._token_ids: list[int] = []
        self._given = 0  # characters given out

    def push(self, token_id: int) -> str:
        self._token_ids.append(token_id)
        if self._stream is None:
            return self._give(self._all().rstrip(_UNFINISHED))
        try:
            piece = self._stream.step(self._fast, token_id) or ""
        except Exception:  # the type it raises is Exception itself, on sequences that no text encodes to
            self._stream = None
            return self._give(self._all().rstrip(_UNFINISHED))
        self._given += len(piece)
        return piece

    def finish(self) -> str:
        return self._give(self._all())

    def _give(self, text: str) -> str:
        piece, self._given = text[self._given :], max(self._given, len(text))
        return piece

    def _all(self) -> str:
        if self._fast is not None:
            return str(self._fast.decode(self._token_ids, skip_special_tokens=True))
        return str(self._slow.decode(self._token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
