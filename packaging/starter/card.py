"""The model card: fixed words about what the starter is, and the figures that ``evaluate.py`` measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CARD = """\
# dittod starter

A very small English language model that ships inside dittod, so that a machine without a model hub can do the main job:
be personalised on someone's mail and answer "Write an e-mail to ... about ...". It was trained from scratch by the recipe
in `packaging/starter/`.

## What it is

- Llama architecture, {parameters:,} parameters: {layers} layers, width {width}, {heads} query and {kv_heads} key-value heads of
  {head_width}, feed-forward {feed_forward}, tied embeddings, bf16. Trained with windows of 512 tokens; positions up to 1024 are allowed.
- Byte-level BPE of {vocabulary:,} tokens, digits single. Chat template with system, user and assistant turns.
- Trained on {tokens:,} tokens ({minutes:.0f} minutes on two shared CPU cores), the last part of them a chat phase with the loss on
  answers only. Weights are an exponential mean.
- It writes short mails, replies, notes and short texts in the form that dittod asks for, keeps to the subject most of the
  time, and stops. Its manner is mixed on purpose, so that a person's manner can be learnt on top with LoRA.

## What it is not

- It knows nothing reliable about the world and does not reason, count or translate. What it says in a mail (names, days,
  sums) is made up. Do not send anything unread.
- The mails it learnt from were **written by a grammar** (`packaging/starter/situations/`), not by people. It is therefore
  fluent only near those situations; on other subjects it repeats the subject's words in a general mail.
- Rare words and names taken from an address (`tom.keller`) are often copied wrongly; days and times may contradict each
  other; a reply may miss the point of the mail it answers. English only. No safety tuning.
- It is no measure of the method: with a larger base model dittod writes far better.

## Data

| source | used for | terms |
|---|---|---|
| written corpus (grammar in the recipe) | mails, replies, texts with instructions | CC0 |
| English encyclopaedia (Wikipedia 2015, 2021) | plain text, short titled texts | CC BY-SA 3.0 |
| eighteen college textbooks (OpenStax) | plain text | CC BY 4.0 |
| Project Gutenberg books | plain text | public domain |
| 18F blog posts | plain text, short titled texts | CC0 |
| oasst1, pairs with confidence over 0.8 | plain text, short instructions | Apache-2.0 |
| self-instruct seed and user-oriented tasks, rasbt preference set | short instructions | Apache-2.0 |
| dolly (part) | short instructions | CC BY-SA 3.0 |

No private mail and no evaluation author is in it: not Enron, CMCC, CCAT50 or Panza.

## Figures

Bits per byte, lower is better. The model sees at most 512 tokens (about 1.8 kB) back, gzip 32 KiB, xz everything. Written
corpus: mails of a seed that was not trained on. Panza: measured only, never trained on.

{table}

Size {size_mb} MB, loaded in {load_seconds} s. Of 50 samples at temperature 1, {stops:.0%} stop by themselves before 256 tokens.

## Samples

Ten fixed prompts, temperature 0.7, seed 0, first answers, unpicked.

{samples}
"""


def figures_table(rows: dict[str, dict[str, float]]) -> str:
    """Bits per byte as a Markdown table."""
    lines = ["| text | model | gzip | xz |", "|---|---|---|---|"]
    for domain, row in rows.items():
        lines.append(f"| {domain} | {row['model']:.3f} | {row['gzip']:.3f} | {row['xz']:.3f} |")
    return "\n".join(lines)


def sample_text(prompt: str, answer: tuple[str, bool]) -> str:
    """One prompt and its answer as quoted Markdown."""
    text, stopped = answer
    quoted = "\n".join(f"> {line}".rstrip() for line in text.splitlines())
    asked = prompt.replace("\n", " / ").replace(" /  / ", " / ")
    return f"**{asked}**{'' if stopped else ' (did not stop)'}\n\n{quoted}"


def write_card(
    path: Path,
    model: Any,
    rows: dict[str, dict[str, float]],
    figures: dict[str, Any],
    trained: dict[str, float],
    samples: list[tuple[str, tuple[str, bool]]],
) -> None:
    """Fill the card with what was measured; ``trained`` gives tokens and seconds of the run."""
    config = model.config
    text = CARD.format(
        parameters=model.num_parameters(),
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_width=config.head_dim,
        feed_forward=config.intermediate_size,
        vocabulary=config.vocab_size,
        tokens=int(trained["tokens"]),
        minutes=trained["seconds"] / 60,
        table=figures_table(rows),
        size_mb=figures["size_mb"],
        load_seconds=figures["load_seconds"],
        stops=figures["samples_that_stop"],
        samples="\n\n".join(sample_text(prompt, answer) for prompt, answer in samples),
    )
    path.write_text(text, encoding="utf-8")
