"""Randomness that survives a kill: every draw has a seed of its own, derived from the run's seed and the draw's name.

Nothing has to be carried along or stored: the pairs of step 17 are the same whether the sixteen steps before it
were taken in this process or in one that died. Knows nothing of what is drawn.
"""

from __future__ import annotations

import hashlib
import random


def derived_seed(seed: int, *name: str | int) -> int:
    """A seed of 63 bits for one named draw."""
    label = "/".join(str(part) for part in (seed, *name))
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big") >> 1


def derived_rng(seed: int, *name: str | int) -> random.Random:
    """A generator for one named draw."""
    return random.Random(derived_seed(seed, *name))
