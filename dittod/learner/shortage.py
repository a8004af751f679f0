"""What is done where memory runs out in the middle of learning: the same again, in smaller pieces.

Knows generators of micro-steps; what a smaller piece is says who calls. The memory that a failed step has held is gone
before the next begins. Does not cover the optimiser's own step, nor the writing of a checkpoint: what fails there ends
the update for now: it is sent again later, and goes on from the checkpoint before.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from dittod.model.footprint import give_memory_back, ran_out

Step = TypeVar("Step")
Result = TypeVar("Result")


def retried(
    work: Callable[[], Generator[Step, None, Result]], make_do: Callable[[], None]
) -> Generator[Step, None, Result]:
    """Run some work to its end, from its beginning again whenever memory runs out. `make_do`, which goes before, leaves
    less to be held at a time, or raises where it cannot."""
    while True:
        try:
            return (yield from work())
        except Exception as error:
            if not ran_out(error):
                raise
        give_memory_back()  # not before the exception is gone: its traceback holds on to the step's tensors
        make_do()
