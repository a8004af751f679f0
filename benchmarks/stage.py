"""What the benchmarks of learning play on: random models, DITTO-shaped steps, and a watch that also weighs.

Models are folders in Hugging Face's format with random weights and a tokenizer that reads "t17" as token 17, so that
every contender can be given the same token ids by its own front door. Knows nothing of who is measured.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from dittod.engine.process import ENVIRONMENT
from dittod.learner.batch import TokenSequence
from dittod.learner.pairs import draw
from dittod.learner.preset import CLEAN
from dittod.types import PreferencePair, Sample

SPECIALS = ("<unk>", "<s>", "</s>", "<pad>")  # token ids 0 to 3
END = 2
RANK, ALPHA, BETA = 16, 32, 0.1
Yielded = TypeVar("Yielded")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's size. Heads are 64 or 128 wide, embeddings tied."""

    name: str
    layers: int
    width: int
    inner: int
    heads: int
    key_value_heads: int
    vocabulary: int
    head_width: int = 64
    tied: bool = True

    def linear_parameters(self) -> int:
        """Of all layers, without embeddings and head."""
        attention = 2 * self.width * self.head_width * (self.heads + self.key_value_heads)
        return self.layers * (attention + 3 * self.width * self.inner)


@dataclass(frozen=True, slots=True)
class Size:
    """A DITTO step's: lengths are in tokens, drawn evenly between their two ends."""

    demonstrations: int = 7
    samples: int = 10  # per demonstration and iteration; two iterations have been drawn
    prompt: tuple[int, int] = (60, 160)
    completion: tuple[int, int] = (120, 305)  # padded with the prompt: about 460 tokens a row


@dataclass(frozen=True, slots=True)
class DittoStep:
    """The demonstrations, and the pairs of one step on them."""

    own: dict[str, TokenSequence]
    samples: dict[int, list[Sample]]  # by iteration: all that were drawn, in pairs or not
    pairs: list[PreferencePair]

    def rows(self) -> list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
        """(prompt, chosen, rejected) of each pair, as every trainer but ours wants them."""
        return [(self.own[p.demonstration_id].prompt_ids, self._chosen(p), p.rejected.token_ids) for p in self.pairs]

    def sequences(self) -> list[TokenSequence]:
        """The distinct ones that stand in a pair."""
        named = [(p.demonstration_id, ids) for p in self.pairs for ids in (self._chosen(p), p.rejected.token_ids)]
        return [TokenSequence(key, self.own[key].prompt_ids, ids) for key, ids in dict.fromkeys(named)]

    def with_reference(self, logps: dict[tuple[str, tuple[int, ...]], float]) -> list[PreferencePair]:
        """The pairs, their samples' reference log-probabilities filled in."""

        def known(sample: Sample) -> Sample:
            return replace(sample, reference_logp=logps[sample.demonstration_id, sample.token_ids])

        return [replace(p, chosen=p.chosen and known(p.chosen), rejected=known(p.rejected)) for p in self.pairs]

    def tokens(self) -> dict[str, int]:
        """How many a forward has: with padding, without it, and with every prompt and completion once."""
        lengths = [len(prompt) + len(each) for prompt, *both in self.rows() for each in both]
        distinct = self.sequences()
        prompts = {each.prompt_ids for each in distinct}
        tree = sum(map(len, prompts)) + sum(len(each.completion_ids) for each in distinct)
        return {"padded": len(lengths) * max(lengths), "rows": sum(lengths), "tree": tree}

    def _chosen(self, pair: PreferencePair) -> tuple[int, ...]:
        return self.own[pair.demonstration_id].completion_ids if pair.chosen is None else pair.chosen.token_ids


def ditto_step(vocabulary: int, size: Size, seed: int = 0) -> DittoStep:
    """A step of the second iteration: 70 % online pairs, 20 % replay, 10 % inter-model, three per demonstration."""
    chance = random.Random(seed)

    def tokens(bounds: tuple[int, int]) -> tuple[int, ...]:
        return tuple(chance.randrange(len(SPECIALS), vocabulary) for _ in range(chance.randint(*bounds) - 1))

    own = {
        f"demonstration {n}": TokenSequence(
            f"demonstration {n}", (1, *tokens(size.prompt)), (*tokens(size.completion), END)
        )
        for n in range(size.demonstrations)
    }
    samples = {
        t: [
            Sample(key, t, (*tokens(size.completion), END), False, 0.0, 0.0) for key in own for _ in range(size.samples)
        ]
        for t in (0, 1)
    }
    completions = {key: each.completion_ids for key, each in own.items()}
    return DittoStep(own, samples, draw(samples, completions, 1, chance, CLEAN.mix, 3 * size.demonstrations))


def make_model(folder: Path, shape: Shape) -> Path:
    """Write the random model and its tokenizer; returns the folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    words = {word: token_id for token_id, word in enumerate(SPECIALS)}
    words |= {f"t{token_id}": token_id for token_id in range(len(SPECIALS), shape.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        AutoModelForCausalLM.from_config(_config(shape), dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def text_of(token_ids: Iterable[int]) -> str:
    """What the tokenizer above reads as these tokens."""
    return " ".join(SPECIALS[each] if each < len(SPECIALS) else f"t{each}" for each in token_ids)


def _config(shape: Shape) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        max_position_embeddings=8192,
        tie_word_embeddings=shape.tied,
        bos_token_id=1,
        eos_token_id=END,
        pad_token_id=3,
    )


class Watch:
    """Seconds and memory of some steps.

    On CPU: the process's CPU seconds on one thread, and its resident memory (Linux). On CUDA: wall seconds of the
    finished work, and what torch's allocator gave out.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._cuda = torch.cuda.is_available()
        self._before = 0
        self._begun = 0.0

    def weigh(self) -> None:
        """From here on memory counts as added."""
        gc.collect()
        if self._cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            return
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is resident now
        self._before = _status_bytes("VmRSS")

    def added_bytes(self) -> int:
        """Peak since `weigh`, over what there was then."""
        return (torch.cuda.max_memory_allocated() if self._cuda else _status_bytes("VmHWM")) - self._before

    def start(self) -> None:
        """A step begins."""
        self._begun = self._now()

    def stop(self) -> None:
        """It has ended."""
        self.seconds.append(self._now() - self._begun)

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()


def _status_bytes(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"/proc/self/status has no {key}"
    return 1024 * int(found[1])


def finish(work: Generator[Yielded, None, Result]) -> Result:
    """Run a generator to its end; what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def in_child(script: str, job: str, scratch: Path) -> str:
    """Run a script of this folder in a process of its own, in the engine's environment; the last line it printed."""
    threads = {} if torch.cuda.is_available() else {"OMP_NUM_THREADS": "1"}
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(scratch), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), job],
        env={**os.environ, **ENVIRONMENT, **threads, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{script} {job} failed:\n{done.stderr[-4000:]}")
    return done.stdout.strip().splitlines()[-1]
