"""The first judge: how likely a candidate finds texts of the person that nobody has learnt from, after its own prompt.

Held-out likelihood is what DITTO's supervised stage maximises on other texts, and cheap: no answer has to be written.
It sees the words and little of the manner, so that preference learning may lose by it and write better
(likelihood displacement, arXiv:2410.08847): the panel has other judges for that. Also says what a candidate reads
before it writes, since both are the same prompt. Knows the workbench; knows neither recipes nor what figures are for.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from dittod.learner.batch import TokenSequence
from dittod.learner.workbench import Workbench, encode, score
from dittod.model.chat import encode_chat
from dittod.model.examples import examples_room, with_examples
from dittod.retrieval import Index
from dittod.types import Demonstration, Message

WITHOUT_GRADIENTS = 3  # so much longer than a row of learning may one be that is only read: four times took less


def as_served(bench: Workbench, held_out: Sequence[Demonstration], pool: Index, examples: int) -> list[TokenSequence]:
    """Every text after the prompt that the endpoint would make of its demonstration's: with so many examples, the
    nearest ones of the pool, as far as they fit.

    All candidates are measured on the same tokens. With examples or without, what exceeds what the memory plan has room
    for is cut at its front, as in learning: no candidate reads more of what was asked than another.
    """
    return [_sequence(bench, each, pool, examples) for each in held_out]


def nats(
    bench: Workbench, sequences: Sequence[TokenSequence], adapter: str | None
) -> Generator[int, None, list[float]]:
    """Per token of each text. Yields after each micro-batch how many are done."""
    logps = yield from score(bench, sequences, adapter)
    return [-logp / len(each.completion_ids) for logp, each in zip(logps, sequences, strict=True)]


def _sequence(bench: Workbench, held_out: Demonstration, pool: Index, examples: int) -> TokenSequence:
    base = bench.base
    completion = encode(base, held_out, bench.plan.sequence_tokens).completion_ids
    completion = completion[: base.context_tokens - examples_room(base.context_tokens)]
    asked = (Message("user", held_out.prompt),)
    nearest = pool.nearest(held_out.prompt, examples)
    messages = with_examples(base, asked, nearest, examples_room(base.context_tokens))
    most = WITHOUT_GRADIENTS * max(bench.plan.micro_batch_tokens, bench.plan.sequence_tokens)
    room = min(base.context_tokens, most) - len(completion)
    return TokenSequence(held_out.id, tuple(encode_chat(base, messages)[-room:]), completion)
