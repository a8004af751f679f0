"""dittod: an on-device personalisation daemon. The core: no HTTP in here."""

__version__ = "0.1.0"  # pyproject.toml reads it here
