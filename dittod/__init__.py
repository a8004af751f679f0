"""dittod: an on-device personalisation daemon. The core: no HTTP in here."""

from importlib.metadata import version

__version__ = version("dittod")
