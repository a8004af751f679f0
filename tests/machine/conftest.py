"""What the tests of several probes share."""

from __future__ import annotations

from .buses import bus

__all__ = ["bus"]
