"""The answers to the prompts of one HTTP request, run at the same time and told as one stream.

It knows `Backend.answer` and asyncio, not HTTP and not the wire format.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace

from dittod.engine.protocol import Delta, Done, Finished, Generate
from dittod.serving import Backend

Event = Delta | Finished | Done

AHEAD = 64  # events that may wait for a slow reader before the answers' own iterators are left waiting


async def merged(
    backend: Backend, requests: Sequence[Generate], silence_seconds: float
) -> AsyncGenerator[Event | None, None]:
    """The events of all answers as they come, as if they were one answer.

    The choices of request i are numbered from i times n, and one Done at the end holds the sums. None after each
    silence of so many seconds.

    Closing it closes every answer that has not ended; so does the first exception, which is raised here.
    """
    queue: asyncio.Queue[Event | Exception] = asyncio.Queue(AHEAD)
    pumps = [asyncio.create_task(_pump(backend, request, i, queue)) for i, request in enumerate(requests)]
    try:
        done: list[Done] = []
        while len(done) < len(requests):
            match await _next(queue, silence_seconds):
                case Done() as end:
                    done.append(end)
                case Exception() as error:
                    raise error
                case event:
                    yield event
        yield _sum(done)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _next(queue: asyncio.Queue[Event | Exception], silence_seconds: float) -> Event | Exception | None:
    try:
        async with asyncio.timeout(silence_seconds):
            return await queue.get()
    except TimeoutError:
        return None


async def _pump(backend: Backend, request: Generate, number: int, queue: asyncio.Queue[Event | Exception]) -> None:
    """Carry one answer into the queue, its exception too, and close it in the end, whatever happens."""
    try:
        answer = backend.answer(request)
        try:
            async for event in answer:
                await queue.put(_renumbered(event, number * request.n))
                if isinstance(event, Done):
                    return
        finally:
            await _close(answer)
        raise RuntimeError("an answer ended without Done")
    except Exception as error:
        await queue.put(error)


def _renumbered(event: Event, first: int) -> Event:
    return event if isinstance(event, Done) or not first else replace(event, index=first + event.index)


async def _close(answer: AsyncIterator[Event]) -> None:
    if isinstance(answer, AsyncGenerator):
        await answer.aclose()


def _sum(done: Sequence[Done]) -> Done:
    prompt_tokens = sum(end.prompt_tokens for end in done)
    return Done(done[0].id, prompt_tokens, sum(end.completion_tokens for end in done))
