"""What the engine lends to an update: the one base model, the adapters on it, a decoder. And how texts become tokens.

Knows nothing of the method. Nothing here keeps state between two micro-steps but the adapters' weights.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dittod.learner.batch import TokenSequence, micro_batches, row_of
from dittod.model.chat import encode_chat, encode_completion
from dittod.model.load import BaseModel
from dittod.model.logprobs import CompletionScorer
from dittod.model.lora import LoraAdapters
from dittod.types import Demonstration, Message, Plan

if TYPE_CHECKING:
    from dittod.model.decode import Decoder


@dataclass(frozen=True, slots=True)
class Workbench:
    """Borrowed for the length of one micro-step at a time: between two of them, requests use all three."""

    base: BaseModel
    adapters: LoraAdapters
    decoder: Decoder
    plan: Plan = field(default_factory=Plan)
    scorer: CompletionScorer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scorer", CompletionScorer(self.base))

    @property
    def packed(self) -> bool:
        """Whether a row holds each distinct prompt once."""
        return self.scorer.packs

    @property
    def micro_batch_tokens(self) -> int:
        """The plan's; where all logits of a sequence are taken, every sequence is a micro-batch."""
        return self.plan.micro_batch_tokens if self.scorer.knows_the_head else 1

    @contextmanager
    def scoring(self, adapter: str | None, *, gradients: bool) -> Iterator[None]:
        """Inside the block the scorer computes with this adapter. A backward pass belongs inside as well."""
        checkpointed = self.plan.checkpointing
        with self.adapters.active(adapter), self.scorer.open(gradients=gradients, checkpointed=checkpointed):
            yield


def encode(base: BaseModel, demonstration: Demonstration, most_tokens: int | None = None) -> TokenSequence:
    """Prompt through the chat template, completion with its end of turn.

    What exceeds the context, or `most_tokens`, is cut: the prompt at its front to half of it, then the completion at
    its end, without an end of turn, since the user did not end there.
    """
    room = min(base.context_tokens, most_tokens or base.context_tokens)
    completion = encode_completion(base, demonstration.completion)
    prompt = encode_chat(base, [Message("user", demonstration.prompt)])
    if len(prompt) + len(completion) > room:
        prompt = prompt[-max(room // 2, room - len(completion)) :]
        completion = completion[: room - len(prompt)]
    return TokenSequence(demonstration.id, tuple(prompt), tuple(completion))


def score(
    workbench: Workbench, sequences: Sequence[TokenSequence], adapter: str | None
) -> Generator[int, None, list[float]]:
    """Summed log-probabilities under an adapter, without gradients. Yields after each micro-batch how many are done."""
    logps = [0.0] * len(sequences)
    done = 0
    for part in micro_batches(sequences, workbench.micro_batch_tokens, packed=workbench.packed):
        row = row_of((sequences[each] for each in part), workbench.base.device)
        with workbench.scoring(adapter, gradients=False):
            values = workbench.scorer.logps(row).tolist()
        for each, value in zip(part, values, strict=True):
            logps[each] = value
        done += len(part)
        yield done
    return logps
