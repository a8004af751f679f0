"""Clients that ask at random, and whether what they got was whole.

An answer is broken where it began with 200 and did not end as its protocol says, where a request that is right was
called wrong, or where a drawn answer with a seed is not the one that the same seed gave before. Being told to come
again, or that the engine was lost in the middle of a stream, is no broken answer; nor is what a killed daemon could not
say any more.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

PROMPTED = "Wexelbrunt"  # stands in every request, and must stand in no log
LATER = (429, 503, 504)  # told to come again
MODELS = ("base", "ditto", "ditto/letters")
REPEATED: dict[str, Any] = {
    "model": "base",
    "messages": [{"role": "user", "content": f"Write a note to {PROMPTED} about the boat."}],
    "temperature": 0.8,
    "seed": 5,
    "max_tokens": 24,
}


@dataclass
class Clients:
    """Threads that ask until `stop`. `address` gives URL and token, or None while no daemon is up; `was_down(since)`
    tells whether one was killed since (monotonic seconds)."""

    address: Callable[[], tuple[str, str] | None]
    was_down: Callable[[float], bool]
    seed: int
    pause_seconds: float = 1.0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    faults: list[str] = field(default_factory=list[str])  # what was broken, without texts
    first_seconds: list[float] = field(default_factory=list[float])  # to the first piece of each stream
    _expected: str | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def start(self, count: int) -> None:
        """So many at once."""
        for number in range(count):
            thread = threading.Thread(target=self._ask_on, args=(random.Random(self.seed + number),), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Wait for the answers that are still coming."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)

    def _ask_on(self, chance: random.Random) -> None:
        while not self._stopping.wait(chance.expovariate(1 / self.pause_seconds)):
            place = self.address()
            if place is None:
                continue
            begun = time.monotonic()
            try:
                outcome = self._ask(chance, *place)
            except httpx.HTTPError as error:
                outcome = "cut off by a kill" if self.was_down(begun) else f"broken: {type(error).__name__}"
            except (KeyError, IndexError, TypeError, ValueError) as error:
                outcome = f"broken: not as the protocol says ({type(error).__name__})"
            self.outcomes[outcome.split(":")[0]] += 1
            if outcome.startswith("broken"):
                self.faults.append(outcome)

    def _ask(self, chance: random.Random, url: str, token: str) -> str:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
            kind = chance.choice((_whole, _streamed, _streamed, _completion, _embedding, self._repeated, _abandoned))
            begun = time.monotonic()
            return kind(client, chance, lambda: self.first_seconds.append(time.monotonic() - begun))

    def _repeated(self, client: httpx.Client, chance: random.Random, began: Callable[[], None]) -> str:
        """The same request with the same seed: the same answer, whatever else goes on."""
        answer = client.post("/chat/completions", json=REPEATED)
        if (outcome := _refusal(answer)) is not None:
            return outcome
        text = answer.json()["choices"][0]["message"]["content"]
        self._expected = self._expected or text
        return "answered" if text == self._expected else "broken: another answer to the same seed"


def _chat(chance: random.Random) -> dict[str, Any]:
    subject = " ".join(chance.choices(("boat", "ladder", "harbour", "bread", "window"), k=chance.randrange(1, 40)))
    content = f"Write to {PROMPTED} about {subject}."
    most = chance.randrange(4, 60)
    return {"model": chance.choice(MODELS), "messages": [{"role": "user", "content": content}], "max_tokens": most}


def _whole(client: httpx.Client, chance: random.Random, began: Callable[[], None]) -> str:
    answer = client.post("/chat/completions", json=_chat(chance))
    if (outcome := _refusal(answer)) is not None:
        return outcome
    choice, usage = answer.json()["choices"][0], answer.json()["usage"]
    whole = choice["finish_reason"] in ("stop", "length") and usage["completion_tokens"] > 0
    return "answered" if whole else "broken: no end, or no tokens"


def _completion(client: httpx.Client, chance: random.Random, began: Callable[[], None]) -> str:
    body = {"model": chance.choice(MODELS), "prompt": f"{PROMPTED} said that", "max_tokens": 12, "n": 2}
    answer = client.post("/completions", json=body)
    if (outcome := _refusal(answer)) is not None:
        return outcome
    choices = answer.json()["choices"]
    whole = len(choices) == 2 and all(each["finish_reason"] for each in choices)
    return "answered" if whole else "broken: not two answers"


def _embedding(client: httpx.Client, chance: random.Random, began: Callable[[], None]) -> str:
    answer = client.post("/embeddings", json={"model": "base", "input": [PROMPTED, "the boat"]})
    if (outcome := _refusal(answer)) is not None:
        return outcome
    return "answered" if len(answer.json()["data"]) == 2 else "broken: not two vectors"


def _streamed(client: httpx.Client, chance: random.Random, began: Callable[[], None]) -> str:
    lines: list[str] = []
    with client.stream("POST", "/chat/completions", json={**_chat(chance), "stream": True}) as answer:
        if answer.status_code != 200:
            answer.read()
            return _refusal(answer) or ""
        for line in answer.iter_lines():
            if line.startswith("data: "):
                if not lines:
                    began()
                lines.append(line.removeprefix("data: "))
    return _of_stream(lines)


def _of_stream(lines: list[str]) -> str:
    if not lines:
        return "broken: an empty stream"
    events: list[Mapping[str, Any]] = [json.loads(line) for line in lines if line != "[DONE]"]
    if any("error" in event for event in events):
        return "told that the engine was lost"
    ended = any(choice["finish_reason"] for event in events for choice in event["choices"])
    return "answered" if lines[-1] == "[DONE]" and ended else "broken: a stream without its end"


def _abandoned(client: httpx.Client, chance: random.Random, began: Callable[[], None]) -> str:
    """A client that goes away in the middle."""
    with client.stream(
        "POST", "/chat/completions", json={**_chat(chance), "max_tokens": 400, "stream": True}
    ) as answer:
        if answer.status_code != 200:
            answer.read()
            return _refusal(answer) or ""
        for number, _ in enumerate(answer.iter_lines()):
            if number > 4:
                return "abandoned"
    return "abandoned"


def _refusal(answer: httpx.Response) -> str | None:
    if answer.status_code == 200:
        return None
    told = answer.status_code in LATER and "error" in answer.json()
    return "told to come again" if told else f"broken: status {answer.status_code}"
