"""Small honest stand-ins. Nothing here writes English, learns fast or resembles a real model beyond its interface.

`make_tiny_model` writes a real Hugging Face model folder (two random Llama layers over bytes), so that the loading,
decoding, adapter and learning code under test is the product's own.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dittod.engine.protocol import Improve, Memory, Ready, Update
from dittod.model.load import BaseModel, load_base
from dittod.types import Demonstration, demonstration_id

Step = TypeVar("Step")
Result = TypeVar("Result")

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content | trim }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIALS = ["<|bos|>", "<|eos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]


def byte_tokenizer() -> Any:
    """256 byte tokens and six special ones; every text comes back as it was."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIALS)
    fast: Any = PreTrainedTokenizerFast  # untyped
    return fast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
    )


def make_tiny_model(folder: Path, *, seed: int = 0, config: Any = None) -> Path:
    """A random two-layer Llama with grouped queries and tied embeddings, saved as a model folder; returns it."""
    tokenizer = byte_tokenizer()
    config = config or LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for value in model.parameters():
                if value.dim() == 2:
                    value.mul_(4.0)  # random weights this large make log-probs that differ visibly between tokens
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def wide_config(**changes: Any) -> LlamaConfig:
    """For `make_tiny_model`: every dimension a multiple of 64, as 4-bit blocks want it."""
    plain: dict[str, Any] = {
        "vocab_size": len(byte_tokenizer()),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "pad_token_id": 258,
    }
    return LlamaConfig(**{**plain, **changes})


QWEN3_06B = {  # its config.json, as far as dimensions go
    "model_type": "qwen3",
    "head_dim": 128,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "vocab_size": 151936,
}


def tiny_base(folder: Path, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> BaseModel:
    """The tiny model, loaded by the product's own code and computed in `dtype` (float64 for exact gradients)."""
    from dataclasses import replace

    base = load_base(str(make_tiny_model(folder, seed=seed)), device="cpu")
    base.model.to(dtype)
    return replace(base, dtype=dtype)


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """The same tensors under the same names, bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def finish(work: Generator[Step, None, Result]) -> tuple[list[Step], Result]:
    """Run a generator to its end: what it yielded, and what it returned."""
    seen = []
    try:
        while True:
            seen.append(next(work))
    except StopIteration as end:
        return seen, end.value


def demonstration(prompt: str, completion: str, *, written_at: float = 0.0) -> Demonstration:
    """A demonstration whose source is nobody's document."""
    return Demonstration(demonstration_id(prompt, completion), prompt, completion, "0" * 64, written_at)


class FakeEngine:
    """The parent's handle without a process: keeps what it was sent, and the test speaks for the engine.

    It computes nothing, never dies by itself and never refuses to start unless `refusal` is set.
    """

    def __init__(self) -> None:
        self.ready: Ready | None = Ready("starter", "revision", "template", 512, 1)
        self.memory: Memory | None = None
        self.trouble: str | None = None
        self.last_asked: float | None = None
        self.asked = False
        self.state = "ready"
        self.busy = False
        self.last_used = -1e9  # long ago
        self.updates: list[Any] = []  # and what else it was sent
        self.cancelled: list[str] = []
        self.told: list[Any] = []  # commands that nothing answers by itself
        self.ended = 0  # how often it gave its memory back
        self.refusal: Exception | None = None
        self._listener: Any = None
        self._loads = self.ready

    def start(self) -> Ready:
        """Ready at once, or `refusal`."""
        if self.refusal is not None:
            raise self.refusal
        self.ready = self.ready or self._loads
        assert self.ready is not None
        return self.ready

    def send(self, command: Any) -> None:
        """Remember it."""
        self.told.append(command)

    def stop_if_idle(self, idle_seconds: float) -> bool:
        """Give the memory back, unless clients wait."""
        if self.ready is None or self.asked or (self.busy and idle_seconds):
            return False
        self.ready, self.ended = None, self.ended + 1
        return True

    def submit(self, command: Update | Improve, listener: Any) -> None:
        """Remember it."""
        self.updates.append(command)
        self._listener = listener

    def cancel(self, request_id: str) -> None:
        """Remember that too."""
        self.cancelled.append(request_id)

    def say(self, event: object) -> None:
        """What the engine says about the latest of them."""
        self._listener(event)


def teach(folder: Path, pairs: list[tuple[str, str]], *, steps: int = 150) -> Path:
    """Train the tiny model of a folder on prompts and completions until it ends its answers; returns the folder.

    Seconds on one core: enough that an update on it can be promoted, far from any English.
    """
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = byte_tokenizer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    chats = [[{"role": "user", "content": prompt}, {"role": "assistant", "content": text}] for prompt, text in pairs]
    rows = [tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"] for chat in chats]
    width = max(map(len, rows))
    token_ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])  # (B, T)
    labels = token_ids.masked_fill(token_ids == tokenizer.pad_token_id, -100)
    for _ in range(steps):
        model(input_ids=token_ids, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    return folder
