"""Natural text and the written corpus turned into token shards in the work folder.

Documents: one flat ``uint16`` stream per source, documents parted by EOS. Chats: rows of :data:`ROW_TOKENS` ids packed with
whole conversations and a mask of the answers. Only sources that may be shipped are named here. Shards are never
committed.

    python packaging/starter/shards.py --data ../shared/data --work ~/.cache/dittod-starter
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from corpus import Message, conversations
from tokenizer import BOS, EOS, PAD, SPECIAL_TOKENS, encode_chat, load_tokenizer, train_tokenizer
from tokenizers import Tokenizer

ROW_TOKENS = 513  # 512 predictions
TRAIN_SEED, HELD_OUT_SEED = 20, 999
HELD_OUT_DOCUMENTS = 200
# source -> (files, most characters to read)
SOURCES: dict[str, tuple[str, int]] = {
    "wiki": ("text/wiki20*.jsonl.gz", 34_000_000),
    "textbooks": ("text/[!wg]*.jsonl.gz", 12_000_000),
    "gutenberg": ("text/gutenberg-004.jsonl.gz", 9_000_000),
    "blogs": ("blogs_18f/posts.jsonl.gz", 4_000_000),
    "oasst": ("instruct/oasst1_train_pairs.jsonl.gz", 9_000_000),
}


def read_lines(path: Path) -> Iterator[dict[str, object]]:
    """The records of a JSON-lines file, compressed or not."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def clean(source: str, record: dict[str, object]) -> str:
    """The text of one record; book title pages are skipped."""
    if source == "oasst":
        return f"{record['prompt']}\n\n{record['response']}" if trusted(record) else ""
    text = str(record["text"]).replace("\r\n", "\n").strip()
    if source == "gutenberg":
        return " ".join(text[3000:63000].replace("\n\n", "\0").split("\n")).replace("\0", "\n\n")
    if source == "blogs":
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return text if source == "wiki" else text[:60000]


def trusted(record: dict[str, object]) -> bool:
    """Whether a dialogue pair is English by both confidence marks of the set."""
    return all(float(str(record.get(key, 1.0))) > 0.8 for key in ("pair_confidence", "role_confidence"))


def documents(data: Path, source: str) -> Iterator[str]:
    """The texts of a source, taking turns between its files, up to its limit of characters."""
    pattern, limit = SOURCES[source]
    readers = [read_lines(path) for path in sorted(data.glob(pattern))]
    read = 0
    for record in itertools.chain.from_iterable(itertools.zip_longest(*readers)):
        text = clean(source, record) if record else ""
        if len(text) > 80:
            read += len(text)
            yield text
        if read > limit:
            return


def short(text: str, most_words: int = 120) -> str:
    """The first paragraphs or sentences of a text, ending with a full stop."""
    words = 0
    kept: list[str] = []
    for sentence in text.replace("\n", "\n ").split(". "):
        words += len(sentence.split())
        if words > most_words:
            break
        kept.append(sentence)
    joined = ". ".join(kept).replace("\n ", "\n").strip()
    return joined if not kept or joined.endswith((".", "!", "?")) else joined + "."


def titled_texts(data: Path, rng: random.Random) -> Iterator[list[Message]]:
    """Encyclopaedia openings and blog posts as answers to the product's two document prompts."""
    for record in itertools.chain(
        itertools.islice(read_lines(data / "text/wiki2021-000.jsonl.gz"), HELD_OUT_DOCUMENTS, 20000),
        read_lines(data / "blogs_18f/posts.jsonl.gz"),
    ):
        text = short(clean("blogs" if "authors" in record else "wiki", record), rng.choice((40, 80, 120)))
        if len(text.split()) < 15:
            continue
        first = " ".join(text.split()[: rng.randint(4, 16)])
        title = str(record["title"])
        asked = [
            f'Write a text titled "{title}".',
            f'Write a text that begins with: "{first}".',
            f"Write about {title}.",
        ]
        yield pair(rng.choices(asked, (4, 5, 1))[0], text)


def instructions(data: Path) -> Iterator[list[Message]]:
    """Short permissive instructions with short answers."""
    for record in read_lines(data / "instruct/dolly_part.jsonl.gz"):
        yield pair(str(record["instruction"]), str(record["response"]))
    for path in (data / "instruct/oasst1_train_pairs.jsonl.gz",):
        for record in read_lines(path):
            if trusted(record):
                yield pair(str(record["prompt"]), str(record["response"]))
    for record in json.loads((data / "instruct/rasbt_1100_preference.json").read_text(encoding="utf-8")):
        yield pair(f"{record['instruction']}\n\n{record['input']}".strip(), str(record["output"]))
    for name in ("self_instruct_seed_tasks", "self_instruct_user_oriented_instructions"):
        for task in read_lines(data / f"instruct/{name}.jsonl"):
            for example in task["instances"]:  # type: ignore[attr-defined]
                yield pair(f"{task['instruction']}\n\n{example['input']}".strip(), str(example["output"]))


def pair(request: str, answer: str) -> list[Message]:
    """A chat of one turn."""
    return [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]


def natural_chats(data: Path) -> list[list[Message]]:
    """Every short chat that is not written by the grammar, shuffled."""
    rng = random.Random(5)
    chats = list(titled_texts(data, rng))
    for chat in instructions(data):
        request, answer = chat[0]["content"], chat[1]["content"].strip()
        if len(request) < 500 and 2 < len(answer) < 650 and answer.endswith((".", "!", "?")) and "```" not in answer:
            chats.append(chat)
    rng.shuffle(chats)
    return chats


def pack(examples: Iterator[tuple[list[int], list[int]]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole conversations laid into rows, the longest that still fits first; ids and mask, each (rows, ROW_TOKENS)."""
    rows: list[list[int]] = []
    masks: list[list[int]] = []
    pool: dict[int, list[tuple[list[int], list[int]]]] = {}
    pooled = 0
    row: list[int] = []
    mask: list[int] = []
    for example in itertools.chain(examples, itertools.repeat(None)):
        if example is not None:
            if len(example[0]) > ROW_TOKENS:
                continue
            pool.setdefault(len(example[0]), []).append(example)
            pooled += 1
            if pooled < 400:
                continue
        elif not pooled:
            break
        # take one example out of the pool
        room = ROW_TOKENS - len(row)
        fitting = [length for length in pool if length <= room]
        if not fitting or (room > 330 and len(row) == 0 and not fitting):
            rows.append(row + [pad] * room)
            masks.append(mask + [0] * room)
            row, mask, room = [], [], ROW_TOKENS
            fitting = list(pool)
        length = max(fitting) if room < 330 else fitting[len(rows) % len(fitting)]
        ids, said = pool[length].pop()
        if not pool[length]:
            del pool[length]
        pooled -= 1
        row, mask = row + ids, mask + said
    if row:
        rows.append(row + [pad] * (ROW_TOKENS - len(row)))
        masks.append(mask + [0] * (ROW_TOKENS - len(mask)))
    return np.array(rows, dtype=np.uint16), np.array(masks, dtype=np.uint8)


def write_chats(work: Path, name: str, tokenizer: Tokenizer, chats: Iterator[list[Message]]) -> None:
    """One packed chat shard."""
    rows, masks = pack((encode_chat(tokenizer, chat) for chat in chats), SPECIAL_TOKENS.index(PAD))
    np.savez(work / f"chats-{name}.npz", rows=rows, masks=masks)
    print(
        f"chats {name}: {len(rows):,} rows, {masks.sum():,} answer tokens, {(rows != 2).mean():.0%} filled",
        flush=True,
    )


def write_documents(work: Path, source: str, tokenizer: Tokenizer, texts: Iterator[str]) -> None:
    """The token stream of one source; its first documents are held out for the encyclopaedia."""
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    held_out = list(itertools.islice(texts, HELD_OUT_DOCUMENTS)) if source == "wiki" else []
    parts: list[np.ndarray] = []
    while batch := list(itertools.islice(texts, 500)):
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            parts.append(np.array([bos, *encoding.ids, eos], dtype=np.uint16))
    np.save(work / f"text-{source}.npy", np.concatenate(parts))
    if held_out:
        (work / "held-out-wiki.json").write_text(json.dumps(held_out), encoding="utf-8")
    print(f"text {source}: {sum(map(len, parts)):,} tokens", flush=True)


def make_tokenizer(data: Path, work: Path) -> Tokenizer:
    """Train the tokenizer once; later calls read it, for it must not change after the first export."""
    if not (work / "tokenizer.json").exists():
        mails = [m["content"] for chat in itertools.islice(conversations(7), 16000) for m in chat]
        natural = [text for source in SOURCES for text in clip(documents(data, source), 3_000_000)]
        train_tokenizer(mails + natural).backend_tokenizer.save(str(work / "tokenizer.json"))
    return load_tokenizer(work).backend_tokenizer


def clip(texts: Iterator[str], characters: int) -> Iterator[str]:
    """Texts until so many characters are read."""
    for text in texts:
        characters -= len(text)
        if characters < 0:
            return
        yield text


def main() -> None:
    """Write every shard that is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache/dittod-starter")
    parser.add_argument("--mails", type=int, default=150_000, help="chats that the grammar writes")
    arguments = parser.parse_args()
    data, work = arguments.data, arguments.work.expanduser()
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(data, work)
    if not (work / "chats-written.npz").exists():
        write_chats(work, "held-out", tokenizer, itertools.islice(conversations(HELD_OUT_SEED), 600))
        write_chats(work, "written", tokenizer, itertools.islice(conversations(TRAIN_SEED), arguments.mails))
    if not (work / "chats-natural.npz").exists():
        write_chats(work, "natural", tokenizer, iter(natural_chats(data)))
    for source in SOURCES:
        if not (work / f"text-{source}.npy").exists():
            write_documents(work, source, tokenizer, documents(data, source))


if __name__ == "__main__":
    main()
