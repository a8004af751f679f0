"""Explicit pairs and chat logs to Documents. Every line here is invented."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest

from dittod.errors import FileSetAside
from dittod.ingest.readers.jsonl import LONGEST_LINE_BYTES, read_jsonl

USER, ASSISTANT = {"role": "user", "content": "Cats?"}, {"role": "assistant", "content": "They sleep."}
LATER = [{"role": "user", "content": "And dogs?"}, {"role": "assistant", "content": "They walk."}]


def pairs(*rows: object) -> list[tuple[str, str]]:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    return [(document.prompt, document.text) for document in read_jsonl(io.BytesIO(lines.encode()), 0.0)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Cats?", "completion": "They sleep."},
        {"instruction": "Cats?", "output": "They sleep.", "input": ""},
        {"instruction": "Cats?", "response": "They sleep."},
        {"messages": [USER, ASSISTANT, *LATER]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Cats?"}]}, ASSISTANT]},
        {"conversations": [{"from": "human", "value": "Cats?"}, {"from": "gpt", "value": "They sleep."}]},
        {"messages": [USER, {"role": "assistant", "content": None}, {"role": "tool", "content": "3"}, ASSISTANT]},
    ],
)
def test_every_known_form_gives_its_first_exchange(row: object) -> None:
    [document] = read_jsonl(io.BytesIO(json.dumps(row).encode()), 7.0)
    assert (document.kind, document.prompt, document.text, document.written_at) == ("pair", "Cats?", "They sleep.", 7.0)


def test_an_input_is_added_to_its_instruction() -> None:
    assert pairs({"instruction": "Answer.", "input": "Cats?", "output": "They sleep."}) == [
        ("Answer.\n\nCats?", "They sleep.")
    ]


def test_a_system_message_stands_before_the_prompt() -> None:
    assert pairs({"messages": [{"role": "system", "content": "Be brief."}, USER, ASSISTANT]}) == [
        ("Be brief.\n\nCats?", "They sleep.")
    ]
    assert pairs(
        {"conversations": [{"from": "system", "value": "Be brief."}, *({"from": "human", "value": "Cats?"},)]},
        {"conversations": [{"from": "human", "value": "Cats?"}, {"from": "gpt", "value": "They sleep."}]},
    ) == [("Cats?", "They sleep.")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, {**ASSISTANT, "weight": 0}, *LATER]},
        {"messages": [ASSISTANT, USER]},
        {"messages": [USER]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, ASSISTANT]},
        {"messages": [USER, {"role": "narrator", "content": "x"}, ASSISTANT]},
        {"messages": "none"},
        {"messages": ["x", 3]},
        {"question": "Cats?", "answer": "They sleep."},
        {"prompt": "Cats?", "completion": "  "},
        {"prompt": ["Cats?"], "completion": "They sleep."},
        [1, 2],
        3,
        "no JSON",
        '{"prompt": "Cats?", "completion": "They sl',
        "[" * 100_000,
        '{"prompt": ' + "9" * 10_000 + "}",
    ],
)
def test_a_line_that_is_no_pair_does_not_spoil_the_others(row: object) -> None:
    assert pairs(row, "", {"prompt": "Cats?", "completion": "They sleep."}) == [("Cats?", "They sleep.")]
    with pytest.raises(FileSetAside) as caught:
        pairs(row, row)
    assert caught.value.title == "none of its 2 lines is a pair or a conversation" and '"messages"' in caught.value.hint


def test_lone_surrogates_and_control_characters_do_not_come_through() -> None:
    [(prompt, completion)] = pairs('{"prompt": "a\\ud800b\\u0000", "completion": "c\\r\\nd\\u001b"}')
    assert (prompt, completion) == ("a?b", "c\nd")


def test_a_line_without_end_takes_the_memory_of_its_limit() -> None:
    class Line(io.RawIOBase):
        left = 12 * LONGEST_LINE_BYTES

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            size = min(len(buffer), self.left)
            self.left -= size
            buffer[:size] = b"x" * size
            return size

    tracemalloc.start()
    with pytest.raises(FileSetAside, match="none of its 1 lines"):
        list(read_jsonl(io.BufferedReader(Line()), 0.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * LONGEST_LINE_BYTES
