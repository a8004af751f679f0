"""Figures as JSON can hold them. Knows nothing of what they measure."""

from __future__ import annotations

import math
from collections.abc import Mapping


def finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """What is no number, or without end, as in a step that went astray, is None."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
