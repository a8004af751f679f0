"""Token ids to certain text: nothing lost, nothing too early, no stop string ever leaked."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import byte_tokenizer, tiny_base
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from dittod.model.textstream import TextStream

TOKENIZER = byte_tokenizer()


def token_ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def pieces(ids: list[int], stop: tuple[str, ...] = (), tokenizer: object = TOKENIZER) -> tuple[list[str], TextStream]:
    stream = TextStream(tokenizer, stop)
    out = []
    for token_id in ids:
        out.append(stream.push(token_id))
        if stream.stopped:
            break
    return [*out, stream.finish()], stream


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """A Llama-like vocabulary: ▁ for a space, bytes for what it lacks; decoding drops one leading space."""
    words = ["<s>", "</s>", "▁Hello", "▁my", "▁", "friend", ",", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(  # type: ignore[assignment]
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=40))
def test_the_pieces_joined_are_the_decoded_whole(text: str) -> None:
    assert "".join(pieces(token_ids(text))[0]) == text


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 261), max_size=40))
def test_even_of_bytes_that_no_text_has(ids: list[int]) -> None:
    assert "".join(pieces(ids)[0]) == TOKENIZER.decode(ids, skip_special_tokens=True)


@settings(deadline=None, max_examples=300)
@given(st.text("abé日", max_size=30), st.lists(st.text("abé日", min_size=1, max_size=4), min_size=1, max_size=4))
def test_the_answer_ends_before_the_stop_string_that_is_complete_first(text: str, stops: list[str]) -> None:
    """Reference: read the text character by character, and look after each whether it now ends with a stop."""
    expected, stopped = text, False
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            expected, stopped = text[: end - max(map(len, complete))], True
            break
    out, stream = pieces(token_ids(text), tuple(stops))
    assert ("".join(out), stream.stopped) == (expected, stopped)


def test_characters_appear_whole() -> None:
    text = "é 日本 👩‍👩‍👧 e\u0301"
    out = pieces(token_ids(text))[0]
    assert not any("\ufffd" in piece for piece in out)
    assert [piece for piece in out if piece][:4] == ["é", " ", "日", "本"]


def test_a_replacement_character_of_the_text_itself_survives() -> None:
    assert "".join(pieces(token_ids("a\ufffd"))[0]) == "a\ufffd"


def test_an_unfinished_character_comes_out_at_the_end_as_it_decodes() -> None:
    ids = token_ids("a日")[:-1]
    out = pieces(ids)[0]
    assert out[:-1] == ["a", "", ""]
    assert "".join(out) == TOKENIZER.decode(ids)


def test_a_stop_string_across_tokens_is_held_back_and_never_leaks() -> None:
    out, stream = pieces(token_ids("Dear END of"), ("END",))
    assert stream.stopped
    assert "".join(out) == "Dear "
    assert out[:5] == ["D", "e", "a", "r", " "]  # only what could be the stop waits


def test_what_only_began_like_a_stop_string_is_given_out() -> None:
    out, stream = pieces(token_ids("ENE EN"), ("END",))
    assert not stream.stopped
    assert "".join(out) == "ENE EN"
    assert out[-1] == "EN"  # the end decided


def test_after_a_stop_nothing_comes_out() -> None:
    stream = TextStream(TOKENIZER, ("b",))
    assert [stream.push(token_id) for token_id in token_ids("abc")] == ["a", "", ""]
    assert stream.finish() == ""


def test_special_and_stop_tokens_leave_no_trace(tmp_path: Path) -> None:
    base = tiny_base(tmp_path)
    ids = [base.tokenizer.bos_token_id, *token_ids("hi"), base.end_of_turn_id]
    assert "".join(pieces(ids, tokenizer=base)[0]) == "hi"


def test_sentencepiece_with_byte_fallback_is_decoded_as_a_whole_would_be() -> None:
    tokenizer = sentencepiece_tokenizer()
    names = ["<s>", "▁Hello", ",", "▁my", "▁", "friend", "▁", "<0xF0>", "<0x9F>", "<0x91>", "<0xA9>", "</s>"]
    out = pieces([tokenizer.convert_tokens_to_ids(name) for name in names], tokenizer=tokenizer)[0]
    assert "".join(out) == "Hello, my friend 👩"


def test_a_tokenizer_without_a_fast_backend_is_decoded_too() -> None:
    class Slow:
        """Only what every tokenizer can do."""

        def decode(self, ids: list[int], **settings: object) -> str:
            return str(TOKENIZER.decode(ids, skip_special_tokens=True))

    text = "naïve 日本 👩"
    out = pieces(token_ids(text), tokenizer=Slow())[0]
    assert "".join(out) == text
    assert not any("\ufffd" in piece for piece in out)


@pytest.mark.parametrize("stop", [(), ("",)])
def test_an_empty_stop_string_stops_nothing(stop: tuple[str, ...]) -> None:
    out, stream = pieces(token_ids("abc"), stop)
    assert "".join(out) == "abc"
    assert not stream.stopped
