"""The embedded starter model, shipped as package data so that a machine without a model hub can do the main job.

It knows where the files are and nothing else; it does not import torch. What the model is and is not stands in
``MODEL_CARD.md`` beside this file, how it was made in ``packaging/starter/README.md``.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def starter_path() -> Path:
    """The folder that ``AutoModelForCausalLM`` and ``AutoTokenizer`` load."""
    return Path(str(files(__name__)))
