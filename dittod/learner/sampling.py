"""Negatives: what the policy itself writes in answer to the demonstrations' prompts. Token ids are kept as drawn.

Knows the decoder's interface; knows nothing of pairs or losses.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dittod.engine.protocol import Sampling
from dittod.learner.shortage import retried
from dittod.types import Sample

if TYPE_CHECKING:
    from dittod.learner.workbench import Workbench
    from dittod.model.decode import Row

Drawn = dict[str, list["Row"]]  # key of the prompt → finished rows


def draw_rows(
    workbench: Workbench,
    adapter: str | None,
    prompts: Mapping[str, tuple[int, ...]],
    samplings: Mapping[str, Sampling],
    n: int,
) -> Generator[int, None, Drawn]:
    """n completions of every prompt, all in one batch. Yields after each decoding step how many have ended.

    A row that is left behind when the generator is closed is cancelled. Where memory runs out, all are drawn anew,
    fewer at a time: with their seeds, they say the same again.
    """

    def anew() -> Generator[int, None, Drawn]:
        return _drawn(workbench, adapter, prompts, samplings, n)

    return (yield from retried(anew, workbench.decode_fewer_rows))


def _drawn(
    workbench: Workbench,
    adapter: str | None,
    prompts: Mapping[str, tuple[int, ...]],
    samplings: Mapping[str, Sampling],
    n: int,
) -> Generator[int, None, Drawn]:
    drawn: Drawn = {}
    try:
        for key, prompt_ids in prompts.items():
            drawn[key] = workbench.decoder.submit(list(prompt_ids), samplings[key], adapter=adapter, n=n)
        rows = [row for each in drawn.values() for row in each]
        done = 0
        while done < len(rows):
            workbench.decoder.step()
            done = sum(row.finish_reason is not None for row in rows)
            yield done
        return drawn
    except GeneratorExit:  # another error may leave a decoder that cannot be asked for anything
        for row in (row for each in drawn.values() for row in each if row.finish_reason is None):
            workbench.decoder.cancel(row)
        raise


def sample_figures(samples: Sequence[Sample]) -> dict[str, float]:
    """Length and manner of ending: what drifts first when a policy goes astray. Log-probs in nats per sample.

    `drift` estimates KL(π ‖ π_ref) where samples are drawn uncut at temperature 1. In the first round both are the
    same policy: what it shows then is how far decoding and scoring differ by rounding.
    """
    return {
        "mean_tokens": fmean(len(each.token_ids) for each in samples),
        "eos_rate": fmean(not each.truncated for each in samples),
        "policy_logps": fmean(each.policy_logp for each in samples),
        "reference_logps": fmean(each.reference_logp for each in samples),
        "drift": fmean(each.policy_logp - each.reference_logp for each in samples),
    }
