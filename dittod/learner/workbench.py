"""What the engine lends to an update: the one base model, the adapters on it, a decoder. And how texts become tokens.

Knows nothing of the method. Nothing here keeps state between two micro-steps but the adapters' weights, and the plan
where memory ran out: it is made smaller then, for the rest of the update.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from dittod.engine.protocol import Drawn
from dittod.errors import ModelError
from dittod.learner.batch import TokenSequence, micro_batches, row_of
from dittod.learner.shortage import retried
from dittod.model.chat import encode_chat, encode_completion
from dittod.model.decode import Decoder
from dittod.model.load import BaseModel
from dittod.model.logprobs import CompletionScorer
from dittod.model.lora import LoraAdapters
from dittod.types import Demonstration, Message, Plan

SMALLEST_TOKENS = 64  # of a micro-batch: below it, nearly every sequence is one by itself already


@dataclass(slots=True)
class Workbench:
    """Borrowed for the length of one micro-step at a time: between two of them, requests use all three."""

    base: BaseModel
    adapters: LoraAdapters
    decoder: Decoder
    plan: Plan = field(default_factory=Plan)
    scorer: CompletionScorer = field(init=False)
    notes: list[str] = field(default_factory=list[str])  # sentences on what befell the work, for whoever takes them
    drawn: list[Drawn] = field(default_factory=list[Drawn])  # samples to be looked at, likewise

    def __post_init__(self) -> None:
        self.scorer = CompletionScorer(self.base)

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

    def use_smaller_micro_batches(self) -> None:
        """Memory ran out while scoring. The gradient of a step is exact however it is split, and whether layers are
        computed anew or not. Raises ModelError where nothing is left to be made smaller."""
        tokens = self.plan.micro_batch_tokens
        if self.scorer.knows_the_head and tokens > SMALLEST_TOKENS:
            tokens = max(tokens // 2, SMALLEST_TOKENS)
            self.plan = replace(self.plan, micro_batch_tokens=tokens)
            self.notes.append(f"memory ran out; micro-batches of {tokens} tokens from here on")
        elif not self.plan.checkpointing:
            self.plan = replace(self.plan, checkpointing=True)
            self.notes.append("memory ran out; layers are computed anew from here on")
        else:
            raise _nothing_left("even with the smallest micro-batches")

    def decode_fewer_rows(self) -> None:
        """Memory ran out while sampling. The decoder it happened in may be at odds with itself: another one takes its
        place. Raises ModelError for one row."""
        if self.plan.sampling_rows == 1:
            raise _nothing_left("even with one sample at a time")
        rows = self.plan.sampling_rows // 2
        self.plan = replace(self.plan, sampling_rows=rows)
        self.decoder = Decoder(self.base, self.adapters, max_rows=rows)
        self.notes.append(f"memory ran out; {rows} samples at a time from here on")


def _nothing_left(how: str) -> ModelError:
    return ModelError(
        f"memory ran out while learning, {how}",
        "close other programs, lower memory_budget so that less is planned for, or choose a smaller base_model",
    )


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


def encode_answer(base: BaseModel, asked: TokenSequence, answer: str, most_tokens: int) -> TokenSequence:
    """Another completion after the same prompt, cut as `encode` cuts one."""
    room = min(base.context_tokens, most_tokens) - len(asked.prompt_ids)
    return TokenSequence(asked.demonstration_id, asked.prompt_ids, tuple(encode_completion(base, answer)[:room]))


def score(
    workbench: Workbench, sequences: Sequence[TokenSequence], adapter: str | None
) -> Generator[int, None, list[float]]:
    """Summed log-probabilities under an adapter, without gradients. Yields after each micro-batch how many are done."""
    logps: dict[int, float] = {}  # by place

    def rest() -> Generator[int, None, None]:
        left = [place for place in range(len(sequences)) if place not in logps]
        wanted = [sequences[place] for place in left]
        for part in micro_batches(wanted, workbench.micro_batch_tokens, packed=workbench.packed):
            row = row_of((wanted[each] for each in part), workbench.base.device)
            with workbench.scoring(adapter, gradients=False):
                values = workbench.scorer.logps(row).tolist()
            logps.update(zip((left[each] for each in part), values, strict=True))
            yield len(logps)

    yield from retried(rest, workbench.use_smaller_micro_batches)
    return [logps[place] for place in range(len(sequences))]
