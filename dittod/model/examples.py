"""A conversation with some of the person's own texts before it, as earlier turns: few-shot prompting.

Knows the chat template through its lengths. Does not know which demonstrations are near: whoever calls has ordered
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from dittod.errors import RequestError
from dittod.model.chat import encode_chat
from dittod.model.load import BaseModel
from dittod.types import Demonstration, Message

SHARE = 2  # the context, divided by it: the rest is left for the answer


def examples_room(context_tokens: int) -> int:
    """Tokens that a prompt with demonstrations may have: the same where a recipe is judged and where it is served."""
    return context_tokens // SHARE


def with_examples(
    base: BaseModel, messages: Sequence[Message], examples: Sequence[Demonstration], room: int
) -> tuple[Message, ...]:
    """The conversation with demonstrations before it: prompts as the user's turns, completions as the assistant's.

    The nearest one (first in `examples`) stands last, directly before the conversation; what the system says at the
    beginning stays there. The whole has at most `room` tokens through the chat template: a demonstration that does not
    fit is left out and the next one tried. Without room for any, the conversation is what it was.
    """
    system = _system_turns(messages)
    head, rest = tuple(messages[:system]), tuple(messages[system:])
    taken: tuple[Message, ...] = ()
    for each in examples:
        more = (Message("user", each.prompt), Message("assistant", each.completion), *taken)
        if _fits(base, (*head, *more, *rest), room):
            taken = more
    return (*head, *taken, *rest)


def _system_turns(messages: Sequence[Message]) -> int:
    """How many the conversation begins with."""
    return next((place for place, each in enumerate(messages) if each.role != "system"), len(messages))


def _fits(base: BaseModel, messages: Sequence[Message], room: int) -> bool:
    """False too for what the template or the tokenizer refuses: a demonstration must not cost anybody an answer."""
    try:
        return len(encode_chat(base, messages)) <= room
    except RequestError:
        return False
