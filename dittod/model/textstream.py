"""Token ids to text, as they come: only text that is certain to be part of the answer is given out.

`TextStream` holds back bytes of an unfinished character, `StopText` whatever could still become a stop string;
`Spelling` knows the bytes that single tokens stand for. Knows nothing of requests; log-probabilities and stop *tokens*
are the decoder's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tokenizers.decoders import DecodeStream

_UNFINISHED = "\ufffd"  # what a tokenizer writes for bytes that are no character (yet)
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class TextStream:
    """The text of one answer, piece by piece: the pieces joined are the decoded whole.

    Special tokens leave no trace in it, except those in `shown`, and `silent` ones never do.
    """

    def __init__(self, tokenizer: Any, *, shown: frozenset[int] = frozenset(), silent: frozenset[int] = frozenset()):
        self._tokenizer = tokenizer
        self._shown = shown
        self._silent = silent
        self._pieces = _Pieces(tokenizer)

    def push(self, token_id: int) -> str:
        """The text that has become certain with this token."""
        if token_id in self._silent:
            return ""
        if token_id not in self._shown:
            return self._pieces.push(token_id)
        before, self._pieces = self._pieces.finish(), _Pieces(self._tokenizer)
        return before + str(self._tokenizer.convert_ids_to_tokens(token_id))

    def finish(self) -> str:
        """What was still held back, when the answer has ended."""
        return self._pieces.finish()


class StopText:
    """Text that ends before the stop string that is complete first, wherever the borders of pieces lie.

    `stopped` is then true and nothing more comes out. Of two complete at the same character, the longer one counts.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._held = ""  # the possible beginning of a stop string
        self.stopped = False

    def push(self, piece: str) -> str:
        """The text that has become certain with this piece."""
        if self.stopped:
            return ""
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        keep = max((beginning_at_end(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was still held back, when nothing more comes."""
        text, self._held = self._held, ""
        return text


def beginning_at_end(text: str, marker: str) -> int:
    """Length of the longest end of `text` with which `marker` begins, short of the whole marker."""
    longest = min(len(marker) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if marker.startswith(text[-length:])), 0)


class Spelling:
    """The bytes that single tokens add to a text; none for special ones."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = {int(i): str(each.content) for i, each in tokenizer.added_tokens_decoder.items()}
        self._special = {int(i) for i, each in tokenizer.added_tokens_decoder.items() if each.special}
        self._special.update(int(i) for i in tokenizer.all_special_ids)
        decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
        self._kind = b"" if decoder is None else decoder.__getstate__()

    def bytes_of(self, token_id: int) -> bytes:
        """Of a token in the middle of a text: parts of characters as they are."""
        if token_id in self._special:
            return b""
        if token_id in self._added:
            return self._added[token_id].encode()
        token = self._tokenizer.convert_ids_to_tokens(token_id) or ""  # rows of the embedding may lack a token
        if b"ByteLevel" in self._kind and all(char in _BYTE_OF for char in token):
            return bytes(_BYTE_OF[char] for char in token)
        if b"ByteFallback" in self._kind and (byte := _BYTE_TOKEN.fullmatch(token)):
            return bytes.fromhex(byte[1])
        if b"\xe2\x96\x81" in self._kind or b"\\u2581" in self._kind:
            return str(token).replace("\u2581", " ").encode()
        return str(self._tokenizer.decode([token_id])).encode() if token else b""

    def said(self, token_id: int, piece: str, *, first: bool) -> bytes:
        """The same of a token of an answer, after which `piece` became certain: many tokenizers drop the space before
        a text's first word."""
        spelled = self.bytes_of(token_id)
        dropped = first and spelled.startswith(b" ") and piece.encode() == spelled[1:]
        return spelled[1:] if dropped else spelled

    def shown(self, token_id: int, spelled: bytes) -> str:
        """A token as people read it: special ones by name, U+FFFD for bytes that are no whole character."""
        if token_id in self._special:
            return str(self._tokenizer.convert_ids_to_tokens(token_id))
        return spelled.decode("utf-8", "replace")


def single_tokens(tokenizer: Any, texts: Iterable[str]) -> dict[str, int]:
    """Those of the texts that are one token, with its id."""
    ids = {text: tokenizer.convert_tokens_to_ids(text) for text in texts}
    known = {text: int(token_id) for text, token_id in ids.items() if token_id is not None}
    return {text: token_id for text, token_id in known.items() if tokenizer.convert_ids_to_tokens(token_id) == text}


def special_tokens_in(tokenizer: Any, texts: Iterable[str]) -> frozenset[int]:
    """The special tokens with which the texts are written: a stream that hides them would hide the texts."""
    special = {int(token_id) for token_id, each in tokenizer.added_tokens_decoder.items() if each.special}
    written = {int(i) for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]}
    return frozenset(written & special)


def _byte_alphabet() -> dict[str, int]:
    """Byte-level tokenizers write printable bytes as themselves, and the others as characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


class _Pieces:
    """Incremental detokenisation."""

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
