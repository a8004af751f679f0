"""What the parent and the engine say to each other: one JSON object a line, over the child's stdin and stdout.

The pipe is the only way in which the user's text moves between the processes: never a file, never an argument.
This module knows nothing of models, HTTP or the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from dittod.types import Demonstration, FinishReason, Message, Recipe, Rejected, Tool, ToolChoice, Verdict

# --- parent to engine -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """A version, and where the engine finds its weights. The id is the hash of its content: the key of every cache."""

    id: str
    path: str
    weights: bool = True  # False: base answers, with examples; then nobody looks at the path
    examples: int = 0  # how many of the nearest demonstrations stand before the conversation, as far as they fit


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. The defaults are OpenAI's: the model's own distribution, uncut."""

    temperature: float = 1.0  # 0: always the likeliest token
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])  # token id → nats added
    seed: int | None = None
    max_tokens: int | None = None  # None: up to the model's context; 0: the prompt is only read, for its echo
    stop: tuple[str, ...] = ()  # texts that end the answer and are not part of it
    logprobs: int | None = None  # how many alternatives to report per token; None: no log-probs at all


@dataclass(frozen=True, slots=True)
class Generate:
    """Answer one request. Exactly one of `messages`, `prompt` and `prompt_token_ids` is given."""

    id: str
    adapter: AdapterRef | None  # None: the base model
    sampling: Sampling
    messages: tuple[Message, ...] | None = None  # put through the model's chat template
    prompt: str | None = None  # continued as it stands
    prompt_token_ids: tuple[int, ...] | None = None
    suffix: str | None = None  # of `prompt`: what comes behind the text that is asked for
    tools: tuple[Tool, ...] = ()  # with `messages`
    tool_choice: ToolChoice = "auto"
    tool_name: str | None = None  # with 'required': the one to call
    parallel_tool_calls: bool = True  # False: one call at most
    json_schema: Mapping[str, object] | None = None  # what the answer's text must fit
    reasoning_effort: str | None = None  # None: as the model does by itself
    echo: bool = False  # repeat the prompt first, with log-probs if the sampling asks for any
    n: int = 1  # how many answers
    examples: tuple[Demonstration, ...] = ()  # the nearest first; before `messages`, as far as they fit
    profile: str = ""  # whose voice was asked for; '': base
    op: Literal["generate"] = "generate"


@dataclass(frozen=True, slots=True)
class Embed:
    """Turn texts into vectors, by the base model."""

    id: str
    inputs: tuple[str | tuple[int, ...], ...]  # texts, or token ids
    op: Literal["embed"] = "embed"


@dataclass(frozen=True, slots=True)
class Tokenize:
    """Which token ids does the model read? Exactly one of `prompt` and `messages` is given."""

    id: str
    prompt: str | None = None
    messages: tuple[Message, ...] | None = None  # with what the chat template adds, up to where the answer begins
    tools: tuple[Tool, ...] = ()
    add_special_tokens: bool = True  # of `prompt`: begun as the tokenizer begins a text
    op: Literal["tokenize"] = "tokenize"


@dataclass(frozen=True, slots=True)
class Detokenize:
    """Which text do these token ids spell?"""

    id: str
    token_ids: tuple[int, ...]
    op: Literal["detokenize"] = "detokenize"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this request any more."""

    id: str
    op: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True)
class Update:
    """Run one DITTO update, or go on with it from the checkpoints in `directory`."""

    id: str  # of the Run
    directory: str  # the run's own folder, private: checkpoints are kept in it
    adapters_directory: str  # the candidate is written here, named by its content's hash
    preset: str
    seed: int
    demonstrations: tuple[Demonstration, ...]
    held_out: tuple[Demonstration, ...]
    served: AdapterRef | None
    pool: tuple[Demonstration, ...] = ()  # texts of the profile, newest last, that may stand in a prompt: none held out
    impostors: tuple[str, ...] = ()  # texts of other profiles
    rejected: tuple[Rejected, ...] = ()  # answers that the user did not want
    secrets: tuple[str, ...] = ()  # of the settings: no answer may hold one
    examples: int = 0  # of candidates with demonstrations in their prompt; 0: there are none
    confidence: float = 0.95  # with which a candidate must be better than what is served
    max_ability_loss: float = 0.1  # share by which general texts may become dearer, in bits per byte
    overrides: Mapping[str, float] = field(default_factory=dict[str, float])  # of the preset's numbers, by name
    key: str = field(default="", repr=False)  # what the checkpoints are sealed with, hexadecimal; '': they are not
    op: Literal["update"] = "update"


@dataclass(frozen=True, slots=True)
class StopUpdate:
    """Checkpoint and leave the running update alone until it is sent again."""

    op: Literal["stop_update"] = "stop_update"


@dataclass(frozen=True, slots=True)
class Improve:
    """Let the base model add to prompts what their texts say. Ended by Done; an Update, or a Cancel of its id, ends it
    at once."""

    id: str
    demonstrations: tuple[Demonstration, ...]  # whose prompts are templates
    others: tuple[Demonstration, ...] = ()  # texts of the same person, to compare with where the former are few
    op: Literal["improve"] = "improve"


@dataclass(frozen=True, slots=True)
class Forget:
    """Let go of these adapters at once, with every cache of theirs. Answers that run on one fail; their weights are
    gone from the disk already. Not answered."""

    adapter_ids: tuple[str, ...]
    op: Literal["forget"] = "forget"


@dataclass(frozen=True, slots=True)
class Ping:
    """Is the loop still turning? Answered with Memory, between two steps."""

    op: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the process."""

    op: Literal["shutdown"] = "shutdown"


Request = Generate | Embed | Tokenize | Detokenize  # what clients ask for
Command = Request | Cancel | Update | StopUpdate | Improve | Forget | Ping | Shutdown

# --- engine to parent -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The base model is loaded."""

    base_model: str
    base_revision: str
    template_sha256: str
    context_tokens: int
    memory_bytes: int  # resident memory of the process, plus what it holds on the GPU
    architecture: str = ""  # as transformers calls it: 'llama'
    parameters: int = 0
    embedding_size: int = 0  # numbers in one vector
    reasons: bool = False  # whether its template has a place for reasoning
    fills_in: bool = False  # whether it was trained to write between a prefix and a suffix
    budget_bytes: int = 0  # that it keeps within: as set, or by the machine
    event: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Memory:
    """What the engine holds now; said after `Ready` whenever it has changed by much, once a second at most, and at each
    Ping."""

    bytes: int  # of the process, resident
    gpu_bytes: int = 0  # on the graphics card
    event: Literal["memory"] = "memory"


@dataclass(frozen=True, slots=True)
class Noted:
    """What befell an update and the user should know: a sentence without any text of theirs."""

    id: str
    sentence: str
    event: Literal["noted"] = "noted"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the policy wrote to the prompt of one demonstration, in a round of samples: for the user to look at while
    the update is under way. One of several, and no more than its beginning."""

    id: str
    iteration: int
    demonstration_id: str
    text: str
    at: float  # POSIX seconds
    event: Literal["drawn"] = "drawn"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request fits the model: nothing about its parameters can fail any more."""

    id: str
    event: Literal["accepted"] = "accepted"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token with its log-probability (nats, under the model at temperature 1)."""

    token: str  # U+FFFD stands for bytes that are no whole character
    token_id: int
    logprob: float | None  # None: the first token of a prompt, which nothing stands before
    bytes: tuple[int, ...] = ()  # what the token adds to the text, in UTF-8; none for a special token
    alternatives: tuple[TokenLogprob, ...] = ()  # the likeliest first, without alternatives of their own


@dataclass(frozen=True, slots=True)
class Echo:
    """The prompt itself, before the first Delta of a request that asked for it."""

    id: str
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()  # of all tokens of the prompt, if the sampling asks for any
    index: int = 0  # of the answer; the engine says it once for all
    event: Literal["echo"] = "echo"


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of answer `index`: text that is certain to be part of it."""

    id: str
    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    channel: Literal["content", "reasoning"] = "content"
    event: Literal["delta"] = "delta"


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a tool call in answer `index`. Its first piece has the name, and maybe no arguments yet."""

    id: str
    index: int
    number: int  # of the call within the answer, from 0
    call_id: str
    name: str
    arguments: str  # to be joined with those of the call's other pieces
    event: Literal["call_delta"] = "call_delta"


@dataclass(frozen=True, slots=True)
class Finished:
    """Answer `index` has ended."""

    id: str
    index: int
    finish_reason: FinishReason
    tokens: int = 0  # of this answer
    logp: float = 0.0  # nats, of this answer's tokens together
    event: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True)
class Improved:
    """One prompt was tried. `reason` and `figures` hold nothing of the text."""

    id: str
    demonstration_id: str
    prompt: str | None  # None: the template stays
    reason: str  # a phrase: 'likelier by 0.31 nats per token', 'gives the text away'
    figures: Mapping[str, float] = field(default_factory=dict[str, float])
    event: Literal["improved"] = "improved"


@dataclass(frozen=True, slots=True)
class Done:
    """All answers of the request have ended, or all prompts were tried."""

    id: str
    prompt_tokens: int
    completion_tokens: int  # of all answers together
    cached_tokens: int = 0  # of the prompt: known from an earlier request
    reasoning_tokens: int = 0  # of the completion: in the channel 'reasoning'
    event: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of an Embed, in its order: each of length 1, base64 of little-endian float32."""

    id: str
    vectors: tuple[str, ...]
    prompt_tokens: int
    event: Literal["embedded"] = "embedded"


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The answer to Tokenize."""

    id: str
    token_ids: tuple[int, ...]
    event: Literal["tokenized"] = "tokenized"


@dataclass(frozen=True, slots=True)
class Detokenized:
    """The answer to Detokenize."""

    id: str
    text: str
    event: Literal["detokenized"] = "detokenized"


DISK_FULL, OUT_OF_MEMORY = "disk_full", "out_of_memory"  # codes of a Failed after which an update goes on from its
# checkpoint, when there is room


@dataclass(frozen=True, slots=True)
class Failed:
    """The request or the update could not be done. `status` 400: it was asked wrongly; 500: it went wrong here;
    503: not now, for want of memory."""

    id: str
    title: str
    hint: str
    status: int
    param: str | None = None
    code: str | None = None
    event: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the update is, once per micro-step. `figures` holds numbers only: log-probs, margin, loss."""

    id: str
    phase: str  # supervised, reference, sampling, dpo, saving, gate
    done: int
    of: int
    iteration: int = 0
    figures: Mapping[str, float] = field(default_factory=dict[str, float])  # of the latest step that was completed
    completed_step: int = 0  # of the phase, from 1, where this completes one (of sampling: a round); else 0
    event: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Updated:
    """The update ended; its candidate lies on disk with the gate's verdict."""

    id: str
    adapter: AdapterRef
    verdict: Verdict
    recipe: Recipe = field(default_factory=Recipe)
    event: Literal["updated"] = "updated"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The update is left alone; its last checkpoint is on disk. Of prompts: the rest is not tried."""

    id: str
    event: Literal["stopped"] = "stopped"


AnswerEvent = Accepted | Echo | Delta | CallDelta | Finished | Done
Event = (
    Ready
    | Memory
    | AnswerEvent
    | Embedded
    | Tokenized
    | Detokenized
    | Failed
    | Noted
    | Drawn
    | Progress
    | Updated
    | Stopped
    | Improved
)

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="op")])
_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def encode_command(command: Command) -> bytes:
    """One line, with its end."""
    return _line(_COMMANDS.dump_python(command))


def decode_command(line: bytes) -> Command:
    """The command in a line. Raises pydantic's ValidationError: the other side speaks another version."""
    return _COMMANDS.validate_json(line)


def encode_event(event: Event) -> bytes:
    """One line, with its end."""
    return _line(_EVENTS.dump_python(event))


def decode_event(line: bytes) -> Event:
    """The event in a line. Raises pydantic's ValidationError: the other side speaks another version."""
    return _EVENTS.validate_json(line)


def _line(values: object) -> bytes:
    """The standard library's JSON writes NaN and Infinity, which pydantic reads but would write as null.

    Half a surrogate pair, which no UTF-8 can hold, becomes a question mark.
    """
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
