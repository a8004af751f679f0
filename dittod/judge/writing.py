"""What a candidate writes on prompts whose texts nobody has learnt from. Every draw is seeded, alike for all.

Knows the decoder and its memory; knows neither recipes nor judges.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from dittod.engine.protocol import Sampling, Update
from dittod.judge.guards import Output
from dittod.learner.batch import TokenSequence
from dittod.learner.chance import derived_seed
from dittod.learner.sampling import draw_rows
from dittod.learner.workbench import Workbench
from dittod.types import Plan

TEMPERATURE = 0.7  # loops and copies show below 1, where most clients sample
ENDLESS_RATIO = 2.0  # limit of an answer over the user's longest text, in tokens
ENDLESS_TOKENS_LEAST = 64


def write(
    bench: Workbench,
    update: Update,
    sequences: Sequence[TokenSequence],
    adapter: str | None,
    count: int,
    most_tokens: int,
) -> Generator[int, None, list[list[Output]]]:
    """So many answers after the prompt of each sequence. Yields how many of a group have ended."""
    prompts = {each.demonstration_id: each.prompt_ids for each in sequences}
    answers: dict[str, list[Output]] = {}
    for group in groups(prompts, bench.plan, count, most_tokens):
        samplings = {key: _sampling(update, key, most_tokens) for key in group}
        drawn = yield from draw_rows(bench, adapter, group, samplings, count)
        for key, rows in drawn.items():
            texts = [bench.base.tokenizer.decode(row.token_ids, skip_special_tokens=True) for row in rows]
            answers[key] = [Output(text, row.finish_reason == "stop") for text, row in zip(texts, rows, strict=True)]
    return [answers[each.demonstration_id] for each in sequences]


def groups(
    prompts: Mapping[str, tuple[int, ...]], plan: Plan, count: int, most_tokens: int
) -> list[dict[str, tuple[int, ...]]]:
    """As many prompts at a time as hold, with their answers, no more tokens than the samples of an iteration: prompts
    with examples and answers that do not end are longer than what the plan was made for."""
    longest = max(plan.sequence_tokens, most_tokens + max(map(len, prompts.values())))
    at_once = max(1, plan.sampling_rows * plan.sequence_tokens // (longest * count))
    pairs = list(prompts.items())
    return [dict(pairs[start : start + at_once]) for start in range(0, len(pairs), at_once)]


def most_tokens(texts: Sequence[TokenSequence]) -> int:
    """Of an answer that ends, where these are the user's texts."""
    longest = max(len(each.completion_ids) for each in texts)
    return max(ENDLESS_TOKENS_LEAST, round(ENDLESS_RATIO * longest))


def _sampling(update: Update, key: str, limit: int) -> Sampling:
    return Sampling(temperature=TEMPERATURE, max_tokens=limit, seed=derived_seed(update.seed, "gate", key))
