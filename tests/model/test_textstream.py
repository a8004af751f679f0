"""Token ids to certain text: nothing lost, nothing too early, no stop string ever leaked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from fakes import byte_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dittod.model.textstream import Spelling, StopText, TextStream
from dittod.starter import starter_path

TOKENIZER = byte_tokenizer()


def token_ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def pieces(ids: list[int], tokenizer: Any = TOKENIZER, **settings: frozenset[int]) -> list[str]:
    stream = TextStream(tokenizer, **settings)
    return [*(stream.push(token_id) for token_id in ids), stream.finish()]


def stopped(texts: Iterable[str], *stops: str) -> tuple[list[str], bool]:
    text = StopText(stops)
    return [*(text.push(each) for each in texts), text.finish()], text.stopped


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """A Llama-like vocabulary: ▁ for a space, bytes for what it lacks; decoding drops one leading space."""
    words = ["<s>", "</s>", "▁Hello", "▁my", "▁", "friend", ",", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(  # type: ignore[assignment]
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


SENTENCEPIECE: Any = sentencepiece_tokenizer()
STARTER: Any = AutoTokenizer.from_pretrained(starter_path())
WORDS = ["<s>", "▁Hello", ",", "▁my", "▁", "friend", "▁", "<0xF0>", "<0x9F>", "<0x91>", "<0xA9>", "</s>"]
FRIEND = [SENTENCEPIECE.convert_tokens_to_ids(word) for word in WORDS]


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=40))
def test_the_pieces_joined_are_the_decoded_whole(text: str) -> None:
    assert "".join(pieces(token_ids(text))) == text


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 261), max_size=40))
def test_even_of_bytes_that_no_text_has(ids: list[int]) -> None:
    assert "".join(pieces(ids)) == TOKENIZER.decode(ids, skip_special_tokens=True)


@settings(deadline=None, max_examples=300)
@given(st.text("abé日", max_size=30), st.lists(st.text("abé日", min_size=1, max_size=4), min_size=1, max_size=4))
def test_the_answer_ends_before_the_stop_string_that_is_complete_first(text: str, stops: list[str]) -> None:
    """Reference: read the text character by character, and look after each whether it now ends with a stop."""
    expected, ended = text, False
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            expected, ended = text[: end - max(map(len, complete))], True
            break
    out, was_stopped = stopped(text, *stops)
    assert ("".join(out), was_stopped) == (expected, ended)


def test_characters_appear_whole() -> None:
    text = "é 日本 👩‍👩‍👧 e\u0301"
    out = pieces(token_ids(text))
    assert not any("\ufffd" in piece for piece in out)
    assert [piece for piece in out if piece][:4] == ["é", " ", "日", "本"]


def test_a_replacement_character_of_the_text_itself_survives() -> None:
    assert "".join(pieces(token_ids("a\ufffd"))) == "a\ufffd"


def test_an_unfinished_character_comes_out_at_the_end_as_it_decodes() -> None:
    ids = token_ids("a日")[:-1]
    out = pieces(ids)
    assert out[:-1] == ["a", "", ""]
    assert "".join(out) == TOKENIZER.decode(ids)


def test_a_stop_string_across_pieces_is_held_back_and_never_leaks() -> None:
    out, was_stopped = stopped("Dear END of", "END")
    assert was_stopped
    assert "".join(out) == "Dear "
    assert out[:5] == ["D", "e", "a", "r", " "]  # only what could be the stop waits


def test_what_only_began_like_a_stop_string_is_given_out() -> None:
    out, was_stopped = stopped("ENE EN", "END")
    assert not was_stopped
    assert "".join(out) == "ENE EN"
    assert out[-1] == "EN"  # the end decided


def test_after_a_stop_nothing_comes_out() -> None:
    assert stopped("abc", "b") == (["a", "", "", ""], True)


@pytest.mark.parametrize("stops", [(), ("",)])
def test_an_empty_stop_string_stops_nothing(stops: tuple[str, ...]) -> None:
    assert stopped("abc", *stops) == (["a", "b", "c", ""], False)


def test_special_and_silent_tokens_leave_no_trace() -> None:
    ids = [TOKENIZER.bos_token_id, *token_ids("hi"), *token_ids("!")]
    assert "".join(pieces(ids, silent=frozenset(token_ids("!")))) == "hi"


def test_special_tokens_that_are_to_be_shown_stand_between_the_texts_around_them() -> None:
    user = TOKENIZER.convert_tokens_to_ids("<|user|>")
    ids = [*token_ids("é")[:1], user, *token_ids("hi"), TOKENIZER.eos_token_id]
    assert "".join(pieces(ids, shown=frozenset([user]))) == "\ufffd<|user|>hi"


def test_sentencepiece_with_byte_fallback_is_decoded_as_a_whole_would_be() -> None:
    assert "".join(pieces(FRIEND, SENTENCEPIECE)) == "Hello, my friend 👩"


def test_a_tokenizer_without_a_fast_backend_is_decoded_too() -> None:
    class Slow:
        """Only what every tokenizer can do."""

        def decode(self, ids: list[int], **settings: object) -> str:
            return str(TOKENIZER.decode(ids, skip_special_tokens=True))

    text = "naïve 日本 👩"
    out = pieces(token_ids(text), Slow())
    assert "".join(out) == text
    assert not any("\ufffd" in piece for piece in out)


def said(ids: list[int], tokenizer: Any) -> list[bytes]:
    """What each token adds, as for an answer of these tokens."""
    stream, spelling, spoken = TextStream(tokenizer), Spelling(tokenizer), b""
    out = []
    for token_id in ids:
        out.append(spelling.said(token_id, stream.push(token_id), first=not spoken))
        spoken += spelling.bytes_of(token_id)
    return out


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=40), st.text("e\u0301👩\u200d日 ñ", max_size=20))
def test_the_bytes_of_the_tokens_joined_are_those_of_the_text(text: str, hard: str) -> None:
    assert b"".join(said(token_ids(text + hard), TOKENIZER)) == (text + hard).encode()
    starter = STARTER(text + hard, add_special_tokens=False)["input_ids"]
    assert b"".join(said(starter, STARTER)) == STARTER.decode(starter).encode()


def test_of_sentencepiece_too_with_the_bytes_of_a_character_one_by_one() -> None:
    spelled = said(FRIEND, SENTENCEPIECE)
    assert spelled[:4] == [b"", b"Hello", b",", b" my"]
    assert spelled[-5:] == [b"\xf0", b"\x9f", b"\x91", b"\xa9", b""]
    assert b"".join(spelled).decode() == "Hello, my friend 👩"


def test_a_token_is_shown_by_its_text_and_a_special_one_by_its_name() -> None:
    spelling = Spelling(TOKENIZER)
    first = token_ids("é")[0]
    assert [spelling.shown(each, spelling.bytes_of(each)) for each in (first, 257)] == ["\ufffd", "<|eos|>"]
    assert (spelling.bytes_of(first), spelling.bytes_of(257)) == (b"\xc3", b"")
