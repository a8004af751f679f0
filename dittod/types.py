"""The values that flow through dittod. Frozen, without behaviour beyond their own identity; no tensors in here.

Document → Demonstration → Sample → PreferencePair → Adapter, with the Run that made it and the Verdict on it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]
PairKind = Literal["online", "replay", "intermodel"]
AdapterState = Literal["candidate", "promoted", "retired", "pruned", "forgotten"]  # pruned: its weights went, to save
# room; forgotten: with what it had learnt from
Policy = Literal["base", "supervised", "ditto"]
RunState = Literal["requested", "running", "done", "failed", "stopped"]  # stopped: by the user, for good
Quantisation = Literal["none", "nf4"]
DemonstrationKind = Literal["reply", "mail", "text", "pair"]
PromptSource = Literal["template", "model", "user", "file"]
OptimiserChoice = Literal["preset", "adamw_8bit"]
FinishReason = Literal["stop", "length", "tool_calls"]
ToolChoice = Literal["auto", "none", "required"]

DEFAULT_PROFILE = "default"  # files at the top of the watched folder belong to it
BASE = "base"  # who answers where no version does
VOICE = "ditto"  # how names of all other models begin


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model asked a client's program to do."""

    id: str
    name: str
    arguments: str  # a JSON object, as text


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict[str, object])  # a JSON schema; empty: none
    strict: bool = False  # the arguments must fit the schema


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    reasoning: str = ""  # of an assistant: what it thought before this answer
    tool_calls: tuple[ToolCall, ...] = ()  # of an assistant
    tool_call_id: str = ""  # of a tool: the call that this answers
    name: str = ""  # of a tool: the function's


@dataclass(frozen=True, slots=True)
class Document:
    """One mail, text or pair, as a reader found it: nothing cut yet. An mbox holds many."""

    kind: Literal["mail", "text", "pair"]  # pair: the file itself says what was asked
    text: str  # the body as plain text, '\n' line ends; of a pair: the completion
    sha256: str  # of the bytes this document was read from
    sender: str = ""  # 'Name <address>' as in the From header; empty when not a mail
    recipients: tuple[str, ...] = ()  # To and Cc, 'Name <address>' each
    subject: str = ""
    title: str = ""  # of a text: its heading, or the file's name without suffix
    outline: tuple[str, ...] = ()  # of a text: its headings in order
    prompt: str = ""  # of a pair: what was asked
    is_reply: bool = False  # In-Reply-To or References is set, or the subject starts with Re:
    is_automatic: bool = False  # Auto-Submitted, list, bulk or calendar mail: nobody wrote it by hand
    written_at: float = 0.0  # POSIX seconds; the Date header, else the file's modification time


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and the completion the user would have wanted: what the policy imitates."""

    id: str  # sha256 of prompt and completion: the same pair is stored once
    prompt: str
    completion: str
    source: str  # sha256 of the Document it was cut from
    written_at: float  # POSIX seconds
    kind: DemonstrationKind = "text"
    prompt_by: PromptSource = "template"  # who wrote the prompt: file, when the user's file says what was asked


def demonstration_id(prompt: str, completion: str) -> str:
    """Sha256 over both halves; the length of the first keeps 'ab'+'c' apart from 'a'+'bc'."""
    head = f"{len(prompt.encode())}\n".encode()
    return hashlib.sha256(head + prompt.encode() + completion.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion drawn from the policy of one iteration. Token ids are kept from sampling, never re-tokenised."""

    demonstration_id: str
    iteration: int  # 0: drawn from the reference policy
    token_ids: tuple[int, ...]  # with the end-of-turn token when the policy ended by itself
    truncated: bool  # cut at the length limit: carries no end-of-turn token
    reference_logp: float  # nats, summed over token_ids, under the frozen reference
    policy_logp: float  # the same under the policy that drew it: before temperature and cuts


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """`chosen` is preferred over `rejected`, both after the prompt of one demonstration."""

    demonstration_id: str
    chosen: Sample | None  # None: the demonstration's own completion
    rejected: Sample
    kind: PairKind  # called expert / replay / noisy in the released DITTO code


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that the user did not want: they edited it, or rated it down."""

    prompt: str
    completion: str
    demonstration_id: str = ""  # of what the user made of it; '': rated down, and nothing stands in its place


@dataclass(frozen=True, slots=True)
class Recipe:
    """What answers when a version is asked for: whose weights, and how many demonstrations stand in the prompt."""

    policy: Policy = "ditto"  # base: no weights of its own
    iteration: int = 0  # of DITTO, which iterate: its policy after so many rounds of samples; 0: the last one
    examples: int = 0  # so many of the nearest demonstrations stand before the conversation, as far as they fit

    @property
    def name(self) -> str:
        """As figures and tables call it: 'base', 'few_shot', 'supervised', 'ditto', 'ditto-2', 'ditto_few_shot'."""
        if self.policy == "base":
            return "few_shot" if self.examples else "base"
        weights = f"{self.policy}-{self.iteration}" if self.iteration else self.policy
        return f"{weights}_few_shot" if self.examples else weights


@dataclass(frozen=True, slots=True)
class Written:
    """One answer that the gate's judges have seen."""

    by: str  # name of a recipe, or 'served'
    demonstration_id: str  # of the held-out text whose prompt it answers; '': not known any more
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided about a candidate, and why."""

    promoted: bool
    reasons: tuple[str, ...]  # sentences for people, the decisive one first
    figures: Mapping[str, float]  # e.g. 'served_nats_per_token', 'candidate_nats_per_token'
    outputs: tuple[Written, ...] = ()  # what the candidate and its rivals wrote on the held-out prompts


@dataclass(frozen=True, slots=True)
class Plan:
    """How serving and learning are fitted into a memory budget. Made by learner.plan; says nothing of the method."""

    quantisation: Quantisation = "none"  # of the base model's weights in memory
    rank: int = 16  # of the adapters, at most
    sequence_tokens: int = 2048  # of a prompt with its completion, at most: what exceeds it is cut
    micro_batch_tokens: int = 1024  # of one packed row, which is one forward-backward
    checkpointing: bool = False  # layers keep their input only and are computed anew in the backward pass
    sampling_rows: int = 80  # samples decoded together
    optimiser: OptimiserChoice = "preset"  # the preset's own, or one whose moments take 2 bytes instead of 8
    peak_bytes: int = 0  # predicted peak of the engine's memory: of the process on CPU, of the device on CUDA


@dataclass(frozen=True, slots=True)
class Run:
    """One update: enough to repeat it."""

    id: str
    profile: str
    state: RunState
    seed: int
    preset: str
    requested_at: float
    demonstration_ids: tuple[str, ...] = ()  # learnt from
    held_out_ids: tuple[str, ...] = ()  # kept for the gate, never learnt from
    finished_at: float | None = None
    adapter_id: str | None = None
    error: str | None = None
    progress: Mapping[str, object] = field(default_factory=dict[str, object])  # phase, done, of
    by_hand: bool = False  # the user asked for it: what only considers the user's comfort does not hold it up
    notes: tuple[str, ...] = ()  # sentences on what befell it: memory that ran out, pauses


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA weights with their manifest. Immutable; `id` is the hash of the weights' content."""

    id: str
    profile: str
    number: int  # counts up per profile; `ditto/<profile>@<number>` serves it
    state: AdapterState
    path: str  # a folder in PEFT's format; where the store lies decides
    run_id: str
    base_model: str
    base_revision: str
    template_sha256: str  # of the chat template it was trained with
    demonstration_ids: tuple[str, ...]
    seed: int
    created_at: float
    promoted_at: float | None
    verdict: Verdict
    pinned: bool = False  # by the user: its weights stay
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def name(self) -> str:
        """As commands and people call it: 'email@3'."""
        return version_name(self.profile, self.number)


def version_name(profile: str, number: int) -> str:
    """'email@3'."""
    return f"{profile}@{number}"


def alias_of(profile: str) -> str:
    """The model's name that asks for whatever the profile serves."""
    return VOICE if profile == DEFAULT_PROFILE else f"{VOICE}/{profile}"


def model_of(version: str) -> str:
    """The model's name that asks for one version: 'ditto/email@3'."""
    return f"{VOICE}/{version}"
