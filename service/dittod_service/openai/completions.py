"""`/v1/completions`: what a request means to the engine, and its answer as a response or as chunks.

Pure. It does not know who answers. Prompts are continued as they stand; several prompts become several
Generates, and the choices of prompt i are numbered from i times n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Annotated

from pydantic import Field

from dittod.engine.protocol import AdapterRef, Delta, Done, Finished, Generate, TokenLogprob
from dittod_service.openai.answer import Choice, Event, Head, finite, gather, usage
from dittod_service.openai.errors import JsonObject
from dittod_service.openai.request import TextRequest, missing, refusal, sampling, unsupported

MAX_PROMPTS = 128
MAX_TOKEN_ID = 2**31 - 1


class CompletionRequest(TextRequest):
    prompt: object = None  # a string, strings, token ids, or lists of token ids
    best_of: int | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
    suffix: str | None = None


def from_request(request: CompletionRequest, adapter: AdapterRef | None, id: str) -> list[Generate]:
    """What the engine is to do: one Generate per prompt."""
    if request.echo:
        raise unsupported("echo", "Repeating the prompt is")
    if request.suffix:
        raise unsupported("suffix", "Filling in before a suffix is")
    if request.best_of not in (None, request.choices):
        raise refusal("best_of", "Choosing among more answers is not supported: it must equal 'n'")
    drawn = sampling(request, max_tokens=request.max_tokens, logprobs=request.logprobs)
    blank = Generate(id=id, adapter=adapter, sampling=drawn, n=request.choices)
    return [replace(each, id=f"{id}-{number}") for number, each in enumerate(_prompts(request.prompt, blank))]


def to_response(head: Head, events: Sequence[Event]) -> JsonObject:
    """The whole answer as one object."""
    choices, done = gather(events)
    shown = [_choice(choice) for choice in choices]
    return {**head.fields("text_completion"), "choices": shown, "usage": usage(done)}


def opening(head: Head) -> list[JsonObject]:
    """A stream of plain text has nothing to say before its text."""
    return []


def to_chunks(head: Head, event: Event, offset: int) -> list[JsonObject]:
    """An event as chunks of the stream; `offset` is where in the choice's text its first token stands."""
    match event:
        case Delta():
            return [_chunk(head, event.index, event.text, logprobs=_logprobs(event.logprobs, offset))]
        case Finished():
            return [_chunk(head, event.index, "", finish_reason=event.finish_reason)]
        case Done():
            last = {**head.fields("text_completion"), "choices": [], "usage": usage(event)}
            return [last] if head.with_usage else []


def _prompts(prompt: object, blank: Generate) -> Iterator[Generate]:
    if prompt is None:
        raise missing("prompt")
    if isinstance(prompt, str):
        yield replace(blank, prompt=prompt)
        return
    if not isinstance(prompt, list):
        raise _bad_prompt("prompt")
    if not prompt:
        raise refusal("prompt", "It is empty")
    if isinstance(prompt[0], int):
        yield replace(blank, prompt_token_ids=_token_ids(prompt, "prompt"))
        return
    if len(prompt) > MAX_PROMPTS:
        raise refusal("prompt", f"Expected at most {MAX_PROMPTS} prompts, got {len(prompt)}")
    for number, each in enumerate(prompt):
        yield _one_of_several(each, blank, f"prompt[{number}]")


def _one_of_several(prompt: object, blank: Generate, at: str) -> Generate:
    if isinstance(prompt, str):
        return replace(blank, prompt=prompt)
    if isinstance(prompt, list):
        return replace(blank, prompt_token_ids=_token_ids(prompt, at))
    raise _bad_prompt(at)


def _token_ids(values: list[object], at: str) -> tuple[int, ...]:
    if not values:
        raise refusal(at, "It is empty")
    ids = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(ids) != len(values):
        raise _bad_prompt(at)
    if min(ids) < 0 or max(ids) > MAX_TOKEN_ID:
        raise refusal(at, "There is a number in it that is no token id")
    return tuple(ids)


def _bad_prompt(at: str) -> Exception:
    return refusal(at, "Expected a string, a list of strings, token ids, or a list of those", "invalid_type")


def _choice(choice: Choice) -> JsonObject:
    return {
        "text": choice.text,
        "index": choice.index,
        "logprobs": _logprobs(choice.logprobs, 0),
        "finish_reason": choice.finish_reason,
    }


def _chunk(
    head: Head, index: int, text: str, *, logprobs: JsonObject | None = None, finish_reason: str | None = None
) -> JsonObject:
    choice = {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}
    chunk = {**head.fields("text_completion"), "choices": [choice]}
    return {**chunk, "usage": None} if head.with_usage else chunk


def _logprobs(entries: Sequence[TokenLogprob], offset: int) -> JsonObject | None:
    """`text_offset` counts characters from the start of the choice's own text, as vLLM and SGLang do."""
    if not entries:
        return None
    ends = accumulate((len(entry.token) for entry in entries), initial=offset)
    return {
        "tokens": [entry.token for entry in entries],
        "token_logprobs": [finite(entry.logprob) for entry in entries],
        "top_logprobs": [_top(entry) for entry in entries],
        "text_offset": list(ends)[:-1],
    }


def _top(entry: TokenLogprob) -> dict[str, float]:
    """The alternatives, and always the token that was drawn."""
    alternatives = {token: finite(logprob) for token, logprob in entry.alternatives}
    return {**alternatives, entry.token: finite(entry.logprob)}
