"""Keys and values of the last conversations, so that one that goes on is not computed from its beginning.

Bounded in bytes; what was used longest ago goes first. Knows nothing of models: whoever changes the weights of an
adapter, or puts other ones under its name, must say so by `forget`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dittod.model.batch import Layers, States

_MOST_CONVERSATIONS = 256  # they are looked through one by one


class Known(NamedTuple):
    """The beginning of a text that need not be computed again."""

    tokens: int
    layers: Layers  # (1, heads, tokens, size): views of what is kept, not to be written into; empty for no tokens


@dataclass(frozen=True, slots=True, eq=False)
class _Conversation:
    adapter: str | None
    token_ids: Tensor  # (tokens,)
    layers: Layers
    size_bytes: int


class PrefixCache:
    """The last conversations by adapter and tokens, at most `limit_bytes` together. With 0, nothing is ever kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: list[_Conversation] = []  # the latest used last

    @property
    def size_bytes(self) -> int:
        """Of all keys and values that are kept."""
        return sum(each.size_bytes for each in self._kept)

    @property
    def limit_bytes(self) -> int:
        """The most that is kept. A lower one drops what no longer fits at once."""
        return self._limit_bytes

    @limit_bytes.setter
    def limit_bytes(self, most_bytes: int) -> None:
        self._limit_bytes = most_bytes
        self._drop_until(most_bytes)

    def spare(self, size_bytes: int) -> None:
        """Drop what was used longest ago, so much of it or all."""
        if size_bytes > 0:
            self._drop_until(max(0, self.size_bytes - size_bytes))

    def find(self, adapter: str | None, token_ids: Sequence[int]) -> Known:
        """The longest beginning of `token_ids` that is known under this adapter."""
        wanted = torch.tensor(token_ids, dtype=torch.long)
        candidates = [(_common(each.token_ids, wanted), each) for each in self._kept if each.adapter == adapter]
        tokens, best = max(candidates, key=lambda pair: pair[0], default=(0, None))
        if best is None or tokens == 0:
            return Known(0, [])
        self._use(best)
        return Known(tokens, [_beginning(states, tokens) for states in best.layers])

    def keep(self, adapter: str | None, token_ids: Sequence[int], layers: Layers) -> None:
        """Remember the keys and values of all these tokens, (1, heads, tokens, size); views of larger tensors are
        copied. Takes the place of what is its own beginning; what a longer one begins with is known already."""
        size_bytes = sum(state.nbytes for states in layers for state in states or ())
        if not token_ids or size_bytes > self._limit_bytes:
            return
        wanted = torch.tensor(token_ids, dtype=torch.long)
        for each in [each for each in self._kept if each.adapter == adapter]:
            common = _common(each.token_ids, wanted)
            if common == len(wanted):
                self._use(each)
                return
            if common == len(each.token_ids):
                self._kept.remove(each)
        self._drop_until(self._limit_bytes - size_bytes)
        try:
            own = [_own(states) for states in layers]
        except (
            MemoryError,
            RuntimeError,
        ):  # torch's kinds on GPU and CPU; what is kept here is what can be spared first
            self._kept.clear()
            return
        self._kept.append(_Conversation(adapter, wanted, own, size_bytes))

    def forget(self, adapter: str | None) -> None:
        """Drop everything that was computed with this adapter."""
        self._kept = [each for each in self._kept if each.adapter != adapter]

    def _use(self, conversation: _Conversation) -> None:
        self._kept.remove(conversation)
        self._kept.append(conversation)

    def _drop_until(self, most_bytes: int) -> None:
        while self._kept and (self.size_bytes > most_bytes or len(self._kept) >= _MOST_CONVERSATIONS):
            self._kept.pop(0)


def _common(some: Tensor, others: Tensor) -> int:
    """How many tokens two texts have in common at their beginning."""
    most = min(len(some), len(others))
    same = some[:most] == others[:most]
    return most if bool(same.all()) else int(same.int().argmin())


def _beginning(states: States | None, tokens: int) -> States | None:
    return states and States(*(state[:, :, :tokens] for state in states))


def _own(states: States | None) -> States | None:
    """In memory that nothing else shares."""
    return states and States(*(s.clone() if s.untyped_storage().nbytes() > s.nbytes else s for s in states))
