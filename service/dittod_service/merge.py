"""The answers to the prompts of one HTTP request, run at the same time and told as one stream.

It knows `Backend.answer` and asyncio, not HTTP and not the wire format.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace

from dittod.engine.protocol import Accepted, AnswerEvent, CallDelta, Delta, Done, Echo, Finished, Generate
from dittod.serving import Backend
from dittod_service.openai.errors import NO_RETRY, Failure, Refused

AHEAD = 64  # events that may wait for a slow reader before the answers' own iterators are left waiting

_Numbered = tuple[int, AnswerEvent]  # which request it belongs to
_Queue = asyncio.Queue[_Numbered | Exception]


async def merged(
    backend: Backend, requests: Sequence[Generate], silence_seconds: float, most_seconds: float
) -> AsyncGenerator[AnswerEvent | None, None]:
    """The events of all answers as they come, as if they were one answer.

    First one Accepted, when all have been. Then the others: the choices of request i are numbered from i times n, and
    an Echo is told for each of them. At the end one Done with the sums. None after each silence of so many seconds,
    once accepted.

    Closing it closes every answer that has not ended; so does the first exception, which is raised here. After
    `most_seconds` that is Refused.
    """
    queue: _Queue = asyncio.Queue(AHEAD)
    pumps = [asyncio.create_task(_pump(backend, request, i, queue)) for i, request in enumerate(requests)]
    deadline = _now() + most_seconds
    try:
        early = await _accepted(queue, requests, deadline)
        yield Accepted(requests[0].id)
        done: list[Done] = []
        while len(done) < len(requests):
            match early.popleft() if early else await _next(queue, deadline, silence_seconds):
                case None:
                    yield None
                case _, Done() as end:
                    done.append(end)
                case number, event:
                    for each in _renumbered(event, number, requests[number].n):
                        yield each
        yield _sum(done)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _accepted(queue: _Queue, requests: Sequence[Generate], deadline: float) -> deque[_Numbered]:
    """Wait until every request is; returns what came in between. Raises what one of them ended with."""
    waiting, early = len(requests), deque[_Numbered]()
    while waiting:
        found = await _next(queue, deadline)
        if found is not None and isinstance(found[1], Accepted):
            waiting -= 1
        elif found is not None:
            early.append(found)
    return early


async def _next(queue: _Queue, deadline: float, silence_seconds: float = math.inf) -> _Numbered | None:
    """The next event, or None after so much silence. Raises what ended an answer, and Refused at the deadline."""
    until = min(deadline, _now() + silence_seconds)
    try:
        async with asyncio.timeout_at(until):
            found = await queue.get()
    except TimeoutError:
        if until < deadline:
            return None
        message = "The answer took longer than a request may: ask for less, with 'max_tokens'"
        failure = Failure(504, message, "server_error", code="request_timeout", headers=NO_RETRY)
        raise Refused(failure) from None
    if isinstance(found, Exception):
        raise found
    return found


async def _pump(backend: Backend, request: Generate, number: int, queue: _Queue) -> None:
    """Carry one answer into the queue, its exception too, and close it in the end, whatever happens."""
    try:
        answer = backend.answer(request)
        try:
            async for event in answer:
                await queue.put((number, event))
                if isinstance(event, Done):
                    return
        finally:
            await close(answer)
        raise RuntimeError("an answer ended without Done")
    except Exception as error:
        await queue.put(error)


def _renumbered(event: AnswerEvent, number: int, n: int) -> list[AnswerEvent]:
    if isinstance(event, Echo):
        return [replace(event, index=number * n + i) for i in range(n)]
    if isinstance(event, Delta | CallDelta | Finished) and number:
        return [replace(event, index=number * n + event.index)]
    return [event]


async def close(answer: AsyncIterator[AnswerEvent]) -> None:
    """End an answer that nobody wants to hear on."""
    if isinstance(answer, AsyncGenerator):
        await answer.aclose()


def _sum(done: Sequence[Done]) -> Done:
    return Done(
        done[0].id,
        sum(end.prompt_tokens for end in done),
        sum(end.completion_tokens for end in done),
        sum(end.cached_tokens for end in done),
        sum(end.reasoning_tokens for end in done),
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
