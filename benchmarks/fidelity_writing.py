"""What each method writes on an author's test prompts, and how likely it finds what the author wrote there.

Knows the decoder and the scorer; knows neither how a policy was learnt nor what a judge thinks of its answers.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import torch
from fidelity_corpora import Author
from fidelity_methods import DESCRIPTION_TOKENS, Prompter, Prompts

from dittod.engine.protocol import Sampling
from dittod.learner.batch import TokenSequence
from dittod.learner.chance import derived_seed
from dittod.learner.sampling import draw_rows
from dittod.learner.workbench import Workbench, score
from dittod.model.chat import encode_completion

OUTPUTS = 3  # per test prompt, at temperature 1: the paper's
LENGTH_RATIO = 1.5  # longest answer over longest demonstration, in tokens
_NAME = "shown"  # of the adapter that writes

Policy = dict[str, torch.Tensor]  # an adapter's weights
Result = TypeVar("Result")


class Desk:
    """One author's test prompts, answered by whoever sits down."""

    def __init__(self, bench: Workbench, author: Author, seed: int) -> None:
        self._bench = bench
        self._tests = author.tests
        self._seed = seed
        learnt = [len(encode_completion(bench.base, each.completion)) for each in author.learnt]
        self._completions = {each.id: tuple(encode_completion(bench.base, each.completion)) for each in author.tests}
        self._limit = round(LENGTH_RATIO * max(learnt))
        longest = max(self._limit, *map(len, self._completions.values()))
        self.prompter = Prompter(bench.base, author.learnt, bench.base.context_tokens - longest)

    def manner(self) -> str:
        """How the base describes the author's texts: its likeliest words."""
        sampling = Sampling(temperature=0.0, max_tokens=DESCRIPTION_TOKENS)
        prompts = {"manner": tuple(self.prompter.asking_for_the_manner())}
        ((text, _),) = self._draw(prompts, {"manner": sampling}, None, 1)["manner"]
        return text

    def write(self, method: str, weights: Policy | None, prompts: Prompts) -> dict[str, Any]:
        """Nats of what the author wrote, tokens of it, and the answers: each with whether it ended by itself."""
        adapters = self._bench.adapters
        if weights is not None:
            adapters.copy("policy", _NAME)
            adapters.load_state(_NAME, weights)
        name = None if weights is None else _NAME
        encoded = {each.id: tuple(prompts(each.prompt)) for each in self._tests}
        sequences = [TokenSequence(key, ids, self._completions[key]) for key, ids in encoded.items()]
        logps = finished(score(self._bench, sequences, name))
        samplings = {
            key: Sampling(max_tokens=self._limit, seed=derived_seed(self._seed, "fidelity", method, key))
            for key in encoded
        }
        drawn = self._draw(encoded, samplings, name, OUTPUTS)
        return {
            "nats": [-each for each in logps],
            "tokens": [len(each.completion_ids) for each in sequences],
            "outputs": [drawn[key] for key in encoded],
        }

    def _draw(
        self, prompts: dict[str, tuple[int, ...]], samplings: dict[str, Sampling], name: str | None, count: int
    ) -> dict[str, list[tuple[str, bool]]]:
        rows = finished(draw_rows(self._bench, name, prompts, samplings, count))
        decode = self._bench.base.tokenizer.decode
        return {
            key: [(decode(row.token_ids, skip_special_tokens=True), row.finish_reason == "stop") for row in each]
            for key, each in rows.items()
        }


def finished(work: Generator[Any, None, Result]) -> Result:
    """Run some work to its end."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
