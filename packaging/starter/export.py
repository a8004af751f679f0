"""Write the trained starter model as package data: bf16 safetensors, tokenizer, chat template, generation settings.

Every file is written beside its place and renamed, the weights last; the tokenizer never changes between exports of one
run. The model card, which holds measured figures, is written by ``evaluate.py --card``.

    python packaging/starter/export.py --work ~/.cache/dittod-starter --out dittod/starter
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch
from tokenizer import load_tokenizer
from train import model_config
from transformers import GenerationConfig, LlamaForCausalLM

MOST_BYTES = 40_000_000


def load_average(work: Path, vocabulary_tokens: int) -> LlamaForCausalLM:
    """The mean weights of the last checkpoint, in bf16."""
    state = torch.load(work / "checkpoint.pt", map_location="cpu", weights_only=True)
    model = LlamaForCausalLM(model_config(vocabulary_tokens))
    missing = model.load_state_dict(state["average"], strict=False)
    if missing.unexpected_keys or set(missing.missing_keys) - {"lm_head.weight"}:
        raise ValueError(f"checkpoint does not fit the model: {missing}")
    print(
        f"step {state['facts']['step']}, {state['facts']['tokens']:,} tokens, {state['facts']['seconds'] / 60:.0f} minutes"
    )
    model.config.trained = {"tokens": state["facts"]["tokens"], "seconds": round(state["facts"]["seconds"])}
    model.bfloat16()
    return model


def save_model(work: Path, folder: Path) -> None:
    """Every file that transformers needs, into an empty folder."""
    tokenizer = load_tokenizer(work)
    tokenizer.save_pretrained(folder)
    model = load_average(work, len(tokenizer))
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=0, eos_token_id=1, pad_token_id=2, do_sample=True, temperature=0.7, max_new_tokens=256
    )
    model.save_pretrained(folder)


def move_files(folder: Path, out: Path) -> None:
    """Rename each file over the old one, weights last."""
    out.mkdir(parents=True, exist_ok=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > MOST_BYTES:
        raise ValueError(f"the export has {size:,} bytes, at most {MOST_BYTES:,} are allowed")
    for path in sorted(folder.iterdir(), key=lambda p: (p.name == "model.safetensors", p.name)):
        path.chmod(0o644)
        os.replace(path, out / path.name)
    print(f"{size / 1e6:.1f} MB in {out}")


def main() -> None:
    """Export the last checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache/dittod-starter")
    parser.add_argument("--out", type=Path, default=Path("dittod/starter"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.out.parent, prefix=".starter-") as folder:
        save_model(arguments.work.expanduser(), Path(folder))
        move_files(Path(folder), arguments.out)


if __name__ == "__main__":
    main()
