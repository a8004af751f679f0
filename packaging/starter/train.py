"""Train the starter model from scratch on packed shards; one command for CPU and for one GPU.

One run in two phases. *Steady*: natural text and chats mixed, loss on every token, constant learning rate. *Decay*: the
rate falls linearly to zero, mostly chats, loss on answers only. The decay begins when the time budget says so or when the
file ``decay-now`` appears in the work folder, and has as many steps as fit into its minutes; so a run can be cut short at
any time and still end well. An exponential mean of the weights is kept and exported. ``--resume`` continues exactly: the
weights, the optimisers' state, the place in the data and the seconds used are all in the checkpoint.

    python packaging/starter/train.py --work ~/.cache/dittod-starter --minutes 90 --resume
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

BLOCK_TOKENS = 512
TEXT_WEIGHTS = {"wiki": 0.36, "textbooks": 0.14, "gutenberg": 0.18, "blogs": 0.1, "oasst": 0.22}
TEXT_SHARE = {"steady": 0.375, "decay": 0.125}  # of the rows of a batch
ECHO_SHARE = 0.3  # of the text rows of the steady phase
NATURAL_CHATS = 0.12  # of the chat rows
WARMUP_STEPS = 150
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 4e-3, 3e-3, 0.05
EMA_DECAY = 0.995


def model_config(vocabulary_tokens: int, context: int = 1024) -> LlamaConfig:
    """A small Llama: grouped-query attention, tied embeddings."""
    return LlamaConfig(
        vocab_size=vocabulary_tokens,
        hidden_size=256,
        intermediate_size=576,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )


class Rows:
    """Batches from the shards; ``state`` is all that must be saved to go on with the next batch."""

    def __init__(self, work: Path, rows: int, seed: int = 0) -> None:
        self.rows = rows
        self.text = {name: np.load(work / f"text-{name}.npy", mmap_mode="r") for name in TEXT_WEIGHTS}
        self.chats = {name: dict(np.load(work / f"chats-{name}.npz")) for name in ("written", "natural")}
        self.state: dict[str, int] = {"written": 0, "natural": 0, "batch": 0, "seed": seed}

    def batch(self, phase: str) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both (rows, BLOCK_TOKENS); -100 where no loss counts."""
        rng = np.random.default_rng((self.state["seed"], self.state["batch"]))
        self.state["batch"] += 1
        texts = round(TEXT_SHARE[phase] * self.rows)
        names = rng.choice(list(TEXT_WEIGHTS), size=texts, p=list(TEXT_WEIGHTS.values()))
        rows = [self._text_row(rng, str(name), phase) for name in names]
        for _ in range(self.rows - texts):
            rows.append(self._chat_row("natural" if rng.random() < NATURAL_CHATS else "written", phase))
        inputs, targets = (torch.from_numpy(np.stack(side)) for side in zip(*rows, strict=True))
        return inputs, targets

    def _text_row(self, rng: np.random.Generator, name: str, phase: str) -> tuple[np.ndarray, np.ndarray]:
        stream = self.text[name]
        start = int(rng.integers(len(stream) - BLOCK_TOKENS - 1))
        row = np.asarray(stream[start : start + BLOCK_TOKENS + 1], dtype=np.int64)
        if phase == "steady" and rng.random() < ECHO_SHARE:
            row = echo(row, int(rng.integers(8, 100)))
        return row[:-1], row[1:]

    def _chat_row(self, name: str, phase: str) -> tuple[np.ndarray, np.ndarray]:
        shard = self.chats[name]
        index = self.state[name] % len(shard["rows"])
        self.state[name] += 1
        row = shard["rows"][index].astype(np.int64)
        keep = shard["masks"][index] == 1 if phase == "decay" else row != 2
        return row[:-1], np.where(keep, row, -100)[1:]


def echo(row: np.ndarray, period: int) -> np.ndarray:
    """The row with every piece of ``period`` tokens said twice, so that copying is learnt early; same length."""
    pieces = [row[i : i + period] for i in range(0, len(row) // 2 + period, period)]
    return np.concatenate([np.concatenate([piece, piece]) for piece in pieces])[: len(row)]


def token_loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token that counts; inputs and targets are (B, T)."""
    hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state  # type: ignore[operator]
    logits = model.lm_head(hidden).float()  # type: ignore[operator]  # (B, T, V)
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def make_optimisers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""
    matrices = [
        p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name and "lm_head" not in name
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.01),
    ]


class Run:
    """The state of one training run and its checkpoint."""

    def __init__(self, work: Path, vocabulary_tokens: int, rows: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.work, self.device = work, device
        model: nn.Module = LlamaForCausalLM(model_config(vocabulary_tokens))
        self.model = model.to(device)
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.optimisers = make_optimisers(self.model)
        self.rows = Rows(work, rows)
        self.facts: dict[str, Any] = {
            "step": 0,
            "seconds": 0.0,
            "decay_from": -1,
            "decay_steps": 0,
            "tokens": 0,
        }

    def save(self) -> None:
        """Write the checkpoint beside the old one and rename it, so that there is always a whole one."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimisers": [o.state_dict() for o in self.optimisers],
            "rows": self.rows.state,
            "facts": self.facts,
        }
        torch.save(state, self.work / "checkpoint.new")
        os.replace(self.work / "checkpoint.new", self.work / "checkpoint.pt")

    def load(self) -> None:
        """Go on from the last checkpoint."""
        state = torch.load(self.work / "checkpoint.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.rows.state, self.facts = state["rows"], state["facts"]

    def phase(self) -> str:
        """steady or decay."""
        return "decay" if self.facts["decay_from"] >= 0 else "steady"

    def rate(self) -> float:
        """The factor on the learning rates: warm-up, then one, then linearly to zero."""
        step = int(self.facts["step"])
        if self.phase() == "steady":
            return min(1.0, (step + 1) / WARMUP_STEPS)
        return max(0.0, 1.0 - (step - int(self.facts["decay_from"])) / max(1, int(self.facts["decay_steps"])))

    def finished(self) -> bool:
        """Whether the decay has come to its end."""
        return self.phase() == "decay" and self.facts["step"] >= self.facts["decay_from"] + self.facts["decay_steps"]

    def begin_decay(self, seconds_left: float) -> None:
        """Fix the number of steps that fit into the seconds left, at the speed last measured."""
        speed = self.facts.get("pace", self.facts["step"] / max(self.facts["seconds"], 1.0))  # steps a second
        self.facts["decay_from"] = self.facts["step"]
        self.facts["decay_steps"] = max(20, math.floor(seconds_left * speed))
        print(f"decay over {self.facts['decay_steps']} steps", flush=True)

    def update_average(self) -> None:
        """The exponential mean of the weights that is exported."""
        decay = min(EMA_DECAY, (1 + self.facts["step"]) / (10 + self.facts["step"]))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                self.average[name].lerp_(parameter.detach(), 1 - decay)


def held_out_loss(model: nn.Module, work: Path, autocast: Any) -> float:
    """Nats per answer token on chats of a seed that is not trained on."""
    shard = np.load(work / "chats-held-out.npz")
    device = next(model.parameters()).device
    row = torch.from_numpy(shard["rows"][:16].astype(np.int64))
    target = torch.where(torch.from_numpy(shard["masks"][:16]) == 1, row, -100)
    with torch.no_grad(), autocast:
        return float(token_loss(model, row[:, :-1].to(device), target[:, 1:].to(device)))


def train(run: Run, arguments: argparse.Namespace) -> None:
    """Steps until the decay is over; prints one line every 50 steps."""
    kind = run.device.type
    autocast = torch.autocast(kind, dtype=torch.bfloat16) if not arguments.fp32 else nullcontext()
    loss_of = torch.compile(token_loss) if arguments.compile else token_loss
    saved = last = time.monotonic()
    losses: list[Tensor] = []
    decay_seconds = arguments.decay_minutes * 60
    while not run.finished():
        left = arguments.minutes * 60 - run.facts["seconds"]
        if run.phase() == "steady" and (left < decay_seconds or (arguments.work / "decay-now").exists()):
            run.begin_decay(min(decay_seconds, max(left, 60.0)))
        inputs, targets = (side.to(run.device) for side in run.rows.batch(run.phase()))
        with autocast:
            loss = loss_of(run.model, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        for optimiser, base in zip(run.optimisers, (MUON_RATE, ADAM_RATE), strict=True):
            optimiser.param_groups[0]["lr"] = base * run.rate()
            optimiser.step()
            optimiser.zero_grad()
        run.update_average()
        losses.append(loss.detach())
        now = time.monotonic()
        run.facts["step"] += 1
        run.facts["tokens"] += inputs.numel()
        run.facts["seconds"] += now - last
        last = now
        if run.facts["step"] % 50 == 0:
            report(run, losses)
            losses.clear()
        if run.facts["step"] % 200 == 0:
            print(
                f"held-out mails: {held_out_loss(run.model, arguments.work, autocast):.3f} nats a token",
                flush=True,
            )
        if now - saved > 180:
            run.save()
            saved = now
    run.save()


def report(run: Run, losses: list[Tensor]) -> None:
    """One line: step, phase, loss, rate, speed, tokens."""
    facts, mean = run.facts, float(torch.stack(losses).mean())
    window = facts.setdefault("window", [0.0, 0])
    speed = (facts["tokens"] - window[1]) / max(facts["seconds"] - window[0], 1e-9)
    facts["pace"] = len(losses) / max(facts["seconds"] - window[0], 1e-9)
    facts["window"] = [facts["seconds"], facts["tokens"]]
    line = {"step": facts["step"], "phase": run.phase(), "loss": round(mean, 4), "rate": round(run.rate(), 3)}
    line |= {
        "tokens_per_second": round(speed),
        "tokens": facts["tokens"],
        "minutes": round(facts["seconds"] / 60, 1),
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache/dittod-starter")
    parser.add_argument("--minutes", type=float, default=90.0, help="training time in all, resumed runs included")
    parser.add_argument("--decay-minutes", type=float, default=22.0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--rows", type=int, default=6, help="rows of 512 tokens in a step")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work = arguments.work.expanduser()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vocabulary = json.loads((arguments.work / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    run = Run(arguments.work, len(vocabulary), arguments.rows, device)
    if arguments.resume and (arguments.work / "checkpoint.pt").exists():
        run.load()
    print(f"{sum(p.numel() for p in run.model.parameters()):,} parameters on {device}", flush=True)
    train(run, arguments)


if __name__ == "__main__":
    main()
