"""Measure a starter model: bits per byte by domain against gzip and xz, size, load time, samples.

The texts: held-out encyclopaedia articles (never trained on), the written corpus of another seed, and, if the folder is
there, the two Panza authors (evaluation only; their text is never printed). The model reads windows of 512 tokens, the
first 64 of which are context from the second window on; gzip sees 32 KiB back and xz everything. The table is for people, the last line
is one JSON object. ``--card`` also writes the model card from its template.

    python packaging/starter/evaluate.py --model dittod/starter --data ../shared/data
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import lzma
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from corpus import conversations
from shards import HELD_OUT_SEED, read_lines
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

WINDOW_TOKENS, OVERLAP_TOKENS = 512, 64
MOST_BYTES = 120_000
PROMPTS = [
    'Write an e-mail to Maria about "broken heater".',
    'Write an e-mail to tom.keller about "Lunch on Thursday".',
    'Write an e-mail to Nina Weber about "Q3 sales figures".',
    'Write an e-mail about "lost umbrella".',
    "Write an e-mail to the team about moving the meeting to Friday, keep it short",
    "Write a reply to this e-mail from Anna:\n\nHi,\n\nCan we meet on Tuesday at 3 pm to talk about the budget?\n\nAnna",
    'Write a reply to this e-mail from Paul Marsh about "Garden party":\n\nHello,\n\nWe are having a garden party on '
    "Saturday. Will you come? Bring a salad if you can.\n\nPaul",
    'Write a text titled "A walk by the river".',
    "Draft a short note to the landlord about the broken window.",
    "Who are you?",
]


def held_out_texts(data: Path) -> dict[str, str]:
    """One long text per domain."""
    texts = {}
    if (data / "text").exists():
        texts["encyclopaedia"] = cut("\n\n".join(held_out_articles(data)))
    mails = (chat[-1]["content"] for chat in itertools.islice(conversations(HELD_OUT_SEED), 600))
    texts["written corpus"] = cut("\n\n".join(mails))
    panza = sorted((data / "panza").glob("*.jsonl"))
    if panza:
        lines = [json.loads(line) for path in panza for line in path.read_text(encoding="utf-8").splitlines()]
        texts["e-mail (Panza)"] = cut("\n\n".join(line["email"].replace("\r\n", "\n") for line in lines))
    return texts


def held_out_articles(data: Path, per_file: int = 40) -> Iterator[str]:
    """The first articles of the 2015 files: all of them are among the documents that the shards hold out."""
    for path in sorted((data / "text").glob("wiki2015-*.jsonl.gz")):
        yield from (str(record["text"]) for record in itertools.islice(read_lines(path), per_file))


def cut(text: str) -> str:
    """At most MOST_BYTES bytes of a text."""
    return text.encode()[:MOST_BYTES].decode(errors="ignore")


def bits_per_byte(model: Any, tokenizer: Any, text: str) -> float:
    """Cross-entropy of the text in bits, divided by its bytes; every token after the first is counted once."""
    bos = tokenizer.bos_token_id
    ids = torch.tensor(tokenizer(text, verbose=False).input_ids)
    nats = 0.0
    step = WINDOW_TOKENS - OVERLAP_TOKENS
    for start in range(0, len(ids), step):
        context = ids[max(0, start - OVERLAP_TOKENS) : start]
        window = torch.cat([torch.tensor([bos]), context, ids[start : start + step]])[None]  # (1, T)
        nats += float(token_nats(model, window)[0, len(context) :].sum())
    return nats / math.log(2) / len(text.encode())


@torch.no_grad()
def token_nats(model: Any, window: Tensor) -> Tensor:
    """Negative log-probability of every token after the first; (B, T) -> (B, T - 1)."""
    logits = model(window).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), window[:, 1:], reduction="none")


def sample(model: Any, tokenizer: Any, prompts: list[str], temperature: float, seed: int) -> list[tuple[str, bool]]:
    """One answer to each prompt, pure sampling, and whether it stopped by itself before 256 tokens."""
    torch.manual_seed(seed)
    answers = []
    for prompt in prompts:
        chat = [{"role": "user", "content": prompt}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        length = inputs["input_ids"].shape[1]
        output = model.generate(
            **inputs, do_sample=True, temperature=temperature, top_k=0, top_p=1.0, max_new_tokens=256
        )
        new = output[0, length:].tolist()
        answers.append((tokenizer.decode(new, skip_special_tokens=True), tokenizer.eos_token_id in new))
    return answers


def print_table(rows: dict[str, dict[str, float]]) -> None:
    """Bits per byte, one domain a line."""
    print(f"{'domain':<16}{'model':>8}{'gzip':>8}{'xz':>8}{'bytes':>10}")
    for domain, row in rows.items():
        print(f"{domain:<16}{row['model']:>8.3f}{row['gzip']:>8.3f}{row['xz']:>8.3f}{row['bytes']:>10,.0f}")


def measure(model: Any, tokenizer: Any, data: Path) -> dict[str, dict[str, float]]:
    """Bits per byte of the model, gzip and xz for every domain."""
    rows = {}
    for domain, text in held_out_texts(data).items():
        raw = text.encode()
        rows[domain] = {
            "model": bits_per_byte(model, tokenizer, text),
            "gzip": 8 * len(gzip.compress(raw, 9)) / len(raw),
            "xz": 8 * len(lzma.compress(raw, preset=9)) / len(raw),
            "bytes": float(len(raw)),
        }
    return rows


def fraction_that_stops(model: Any, tokenizer: Any, count: int) -> float:
    """Share of samples at temperature 1 to new requests of the written corpus that end before 256 tokens."""
    chats = itertools.islice(conversations(HELD_OUT_SEED + 1), count)
    prompts = [next(m["content"] for m in chat if m["role"] == "user") for chat in chats]
    return sum(stopped for _, stopped in sample(model, tokenizer, prompts, 1.0, 1)) / count


def main() -> None:
    """Print the table, the samples and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("dittod/starter"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="fewer bytes and samples")
    parser.add_argument("--card", type=Path, help="write the model card to this file")
    arguments = parser.parse_args()
    if arguments.quick:
        globals()["MOST_BYTES"] = 30_000
    began = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model: Any = AutoModelForCausalLM.from_pretrained(arguments.model)
    seconds = time.perf_counter() - began
    model = model.to(torch.float32).eval()
    rows = measure(model, tokenizer, arguments.data)
    print_table(rows)
    shown = {t: sample(model, tokenizer, PROMPTS, t, 0) for t in (0.7, 1.0)}
    for temperature, answers in shown.items():
        for prompt, (answer, stopped) in zip(PROMPTS, answers, strict=True):
            print(f"\n--- temperature {temperature}{'' if stopped else ', did not stop'}: {prompt}\n{answer}")
    figures = {
        "bits_per_byte": {domain: round(row["model"], 3) for domain, row in rows.items()},
        "size_mb": round(sum(path.stat().st_size for path in arguments.model.iterdir() if path.is_file()) / 1e6, 2),
        "load_seconds": round(seconds, 2),
        "samples_that_stop": fraction_that_stops(model, tokenizer, 10 if arguments.quick else 50),
    }
    if arguments.card:
        from card import write_card

        trained = json.loads((arguments.model / "config.json").read_text(encoding="utf-8"))["trained"]
        write_card(arguments.card, model, rows, figures, trained, list(zip(PROMPTS, shown[0.7], strict=True)))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
