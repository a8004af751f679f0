"""What versions wrote for the gate, side by side in the terminal, each prompt with its answers under it."""

from __future__ import annotations

from collections.abc import Sequence

from dittod.cli.side_by_side import print_side_by_side, printable
from dittod.cli.terminal import out
from dittod.views.written import Answered

UNKNOWN = "(the prompt is not known any more)"


def print_answered(found: Sequence[Answered]) -> None:
    """Each prompt with its answers under it."""
    for each in found:
        out.print(f"\n> {printable(each.prompt or UNKNOWN)}", style="bold", markup=False, soft_wrap=True)
        print_side_by_side(each.answers)
