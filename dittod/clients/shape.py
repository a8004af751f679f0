"""What is known of a client: its settings for this endpoint, where they belong, what is left to do by hand.

Settings are data here; `formats` makes texts of them. Knows no file system and no request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

TOKEN = "«TOKEN»"  # stands for the bearer token in every text, until somebody asks to see it
VARIABLE = "DITTO_TOKEN"  # where clients that read a variable find it; what begins with DITTOD_ is a setting
EXPORT = f"export {VARIABLE}=$(dittod token)"
ROOMY = 32768  # tokens: a context that is long enough for every client below
LONGEST_ANSWER = 2000  # tokens, as settings of clients say

Language = Literal["json", "yaml", "toml", "env", "sh", "python", "js", "text"]
Settings = Any  # dicts, lists, texts, numbers and truths, as JSON has them
Where = tuple[int, tuple[str, ...]]  # the number of a part, and the way to a value in its settings


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What every client has to know."""

    address: str  # without '/v1'
    model: str = "ditto"
    context_tokens: int = ROOMY

    @property
    def v1(self) -> str:
        """The address that most clients want."""
        return f"{self.address}/v1"

    @property
    def answer_tokens(self) -> int:
        """Room that clients leave for an answer."""
        return min(LONGEST_ANSWER, self.context_tokens // 4)


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a client's settings: what belongs into one file, or is typed."""

    language: Language
    path: str | None = None  # a file, by the names of `places`; None: nothing that could be written
    settings: Settings = None  # merged into what the file has
    fresh: dict[str, Any] = field(default_factory=dict)  # besides, where there is no such file yet
    text: str = ""  # in place of settings: for what is read by people and shells


@dataclass(frozen=True, slots=True)
class Proof:
    """Where in the parts a request finds what the client will ask with."""

    address: Where
    model: Where
    key: Where | None  # None: the client keeps it elsewhere
    route: Literal["chat/completions", "responses"] = "chat/completions"
    prefix: str = ""  # what the client writes before a model's name to say of whom it is


@dataclass(frozen=True, slots=True)
class Client:
    """A program that speaks to the endpoint."""

    name: str  # as `dittod connect` takes it
    title: str
    about: str  # one sentence
    parts: tuple[Part, ...]
    proof: Proof
    steps: tuple[str, ...]  # what is left to do, after the parts are where they belong
    tried: bool = False  # whether it was run against this endpoint; else its documentation was read
    least_tokens: int = 0  # of context, before the user's first word
    origins: tuple[str, ...] = ()  # it asks as a page: they have to be allowed

    @property
    def is_written(self) -> bool:
        """Whether there is a file for `--write`."""
        return any(part.path is not None for part in self.parts)

    @property
    def wants_folder(self) -> bool:
        """Whether its file lies in a folder that only the user knows."""
        return any(part.path is not None and part.path.startswith("{folder}") for part in self.parts)
