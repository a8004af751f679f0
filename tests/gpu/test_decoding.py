"""Batched decoding on the card: the tokens of `generate`, and log-probs that the learner would give them too."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import finish

from dittod.engine.protocol import Sampling
from dittod.learner.batch import TokenSequence
from dittod.learner.workbench import Workbench, score
from dittod.model.decode import Row
from dittod.types import Quantisation

from .benches import on_the_card, with_policy, workbench

pytestmark = pytest.mark.gpu
LENGTHS = (5, 90, 1, 30, 150, 60)


def prompts() -> list[list[int]]:
    rng = random.Random(2)
    return [[rng.randrange(256) for _ in range(length)] for length in LENGTHS]


def decoded(bench: Workbench, sampling: Sampling) -> list[Row]:
    """Every prompt under the base and under the policy, in one decoder."""
    submitted = [bench.decoder.submit(ids, sampling, adapter=name) for name in (None, "policy") for ids in prompts()]
    while bench.decoder.busy:
        bench.decoder.step()
    return [row for rows in submitted for row in rows]


def generated(bench: Workbench, row: Row, tokens: int) -> list[int]:
    """What transformers' own greedy loop writes, alone."""
    ids = torch.tensor([row.prompt_ids], device=bench.base.device)
    with bench.adapters.active(row.adapter), torch.no_grad():
        whole = bench.base.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens
        )
    return list(whole[0, len(row.prompt_ids) :].tolist())


def test_rows_decoded_together_equal_generate_alone(tmp_path: Path) -> None:
    """In fp32, where two tokens are never as good as equal; without stop tokens, so that all answers are long."""
    base = on_the_card(tmp_path, dtype=torch.float32)
    base.model.generation_config.eos_token_id = None  # what `generate` looks at
    bench = with_policy(workbench(replace(base, stop_token_ids=frozenset())))
    rows = decoded(bench, Sampling(temperature=0, max_tokens=24))
    assert [row.token_ids for row in rows] == [generated(bench, row, 24) for row in rows]
    assert rows[0].token_ids != rows[len(LENGTHS)].token_ids  # the policy writes something else


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_what_is_sampled_is_scored_alike_by_the_learner(tmp_path: Path, quantisation: Quantisation) -> None:
    """The kernels differ (one token at a time against whole rows): 0.02 nats a token of bf16's rounding, no more.

    A shifted position or a wrong adapter would cost several nats a token in a model whose weights are random.
    """
    bench = with_policy(workbench(on_the_card(tmp_path, quantisation=quantisation)))
    for adapter in (None, "policy"):
        rows = [row for row in decoded(bench, Sampling(seed=4, max_tokens=40)) if row.adapter == adapter]
        sequences = [TokenSequence("d", row.prompt_ids, tuple(row.token_ids)) for row in rows]
        _, logps = finish(score(bench, sequences, adapter))
        for row, logp in zip(rows, logps, strict=True):
            assert sum(row.logps) / len(row.logps) == pytest.approx(logp / len(row.logps), abs=0.05)
