"""Text to token ids and back, in the engine, for clients that count. Knows the tokenizer; computes nothing."""

from __future__ import annotations

from dittod.engine.prompts import chat_ids, text_ids
from dittod.engine.protocol import Detokenize, Detokenized, Tokenize, Tokenized
from dittod.errors import RequestError
from dittod.model.load import BaseModel


def tokenized(base: BaseModel, command: Tokenize) -> Tokenized:
    """What a Generate of the same would read. Raises RequestError as that does."""
    if command.messages is not None:
        return Tokenized(command.id, tuple(chat_ids(base, command)))
    return Tokenized(command.id, tuple(text_ids(base, command.prompt or "", begun=command.add_special_tokens)))


def detokenized(base: BaseModel, command: Detokenize) -> Detokenized:
    """Their text, special tokens included. Raises RequestError where an id is none of this model's."""
    most = len(base.tokenizer) - 1
    if not all(0 <= each <= most for each in command.token_ids):
        raise RequestError(f"tokens must hold token ids from 0 to {most}", param="tokens")
    return Detokenized(command.id, str(base.tokenizer.decode(list(command.token_ids))))
