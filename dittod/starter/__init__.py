"""The embedded starter model: weights, tokenizer and model card, as package data. Does not import torch."""

from importlib.resources import files
from pathlib import Path


def starter_path() -> Path:
    """The folder of the embedded model, in Hugging Face's layout."""
    return Path(str(files(__name__)))
