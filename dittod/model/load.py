"""The base model: loaded once, frozen, quantised if asked, with what is needed to talk to it.

What was quantised is kept on disk, if it is told where: the next start reads a quarter of the bytes, and never has the
weights in memory as they were. Knows Hugging Face's formats and bitsandbytes' traps; knows nothing of adapters,
requests or learning.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from dittod.errors import ModelError
from dittod.model.shape import config_path
from dittod.types import Quantisation

log = logging.getLogger("dittod.engine")

STARTER = "starter"  # the name of the embedded model
_UNUSABLE = (OSError, ValueError, SafetensorError)  # what transformers raises over files that are missing or damaged


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The untouched weights with their tokenizer. There is one of it in the engine, and nobody trains it."""

    name: str  # as the user gave it: 'starter', a hub id or a folder
    revision: str  # the hub's commit, or a hash of the weight files' names, sizes and heads
    quantisation: Quantisation
    model: Any  # PreTrainedModel in eval mode, every parameter frozen
    tokenizer: Any  # PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype  # of the computation
    context_tokens: int
    end_of_turn_id: int  # the token that the chat template puts after an answer: trained, and ends sampling
    stop_token_ids: frozenset[int]  # every token that ends an answer
    template_sha256: str


def load_base(
    name: str = STARTER,
    *,
    quantisation: Quantisation = "none",
    device: str | None = None,
    cache: Path | None = None,
) -> BaseModel:
    """Load a causal model by folder or hub id. Raises ModelError, saying what is missing and what to do.

    `cache` is a folder for quantised copies, private to the user; it need not exist.
    """
    source = str(config_path(name).parent)  # also of a hub id: nothing asks the hub when it is given a folder
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = compute_dtype(place)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        revision = _revision(Path(source))
        options = {
            "dtype": dtype,
            "device_map": {"": place},
            "attn_implementation": _attention(config),
            "use_safetensors": True,
            "trust_remote_code": False,
        }
        if quantisation == "nf4":
            copy = None if cache is None else cache / _copy_name(name, revision, source, dtype, place)
            model = _quantised(source, copy, config, options)
        else:
            model = AutoModelForCausalLM.from_pretrained(source, **options)
    except _UNUSABLE as error:
        raise ModelError(
            f"base model {name!r} could not be loaded: {_first_line(error)}",
            "give base_model a folder with a causal model in safetensors, a hub id that was downloaded, or 'starter'",
        ) from error
    model.eval().requires_grad_(False)
    _keep_4bit_layers_differentiable(model)
    stops = _stop_token_ids(model, tokenizer)
    return BaseModel(
        name=name,
        revision=revision,
        quantisation=quantisation,
        model=model,
        tokenizer=tokenizer,
        device=place,
        dtype=dtype,
        context_tokens=int(getattr(config.get_text_config(), "max_position_embeddings", 2048)),
        end_of_turn_id=_end_of_turn_id(tokenizer, stops),
        stop_token_ids=stops,
        template_sha256=hashlib.sha256(_template_text(tokenizer).encode()).hexdigest(),
    )


def compute_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the hardware multiplies it, else fp32: emulated bf16 ran 4 times slower than fp32 on AVX2."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def _attention(config: Any) -> str:
    """Scaled-dot-product attention, but for models that cap the scores inside it (Gemma 2), which it cannot."""
    return "eager" if getattr(config.get_text_config(), "attn_logit_softcapping", None) else "sdpa"


def _quantised(source: str, copy: Path | None, config: Any, options: dict[str, Any]) -> Any:
    """From the copy on disk, where there is a whole one; else anew, leaving a copy."""
    model = None if copy is None else _from_copy(copy, source, config, options)
    if model is None:
        quantisation = _nf4_config(options["dtype"])
        model = AutoModelForCausalLM.from_pretrained(source, quantization_config=quantisation, **options)
        if copy is not None:
            _keep_copy(model, copy)
    return model


def _from_copy(copy: Path, source: str, config: Any, options: dict[str, Any]) -> Any:
    """The model, or None where there is no copy or it was damaged. Only weights are believed to it."""
    if not copy.is_dir():
        return None
    try:
        model = AutoModelForCausalLM.from_pretrained(copy, local_files_only=True, **options)
    except _UNUSABLE as error:
        log.warning("the quantised copy of the base model is damaged (%s): making it anew", type(error).__name__)
        shutil.rmtree(copy, ignore_errors=True)
        return None
    try:
        model.generation_config = GenerationConfig.from_pretrained(source)
    except OSError:  # the model came without; so does transformers itself then
        model.generation_config = GenerationConfig.from_model_config(config)
    return model


def _keep_copy(model: Any, copy: Path) -> None:
    """Written beside and renamed, so that no half of it is ever read. A full disk only means that there is no copy."""
    unfinished = copy.with_name(f".{copy.name}")
    try:
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in copy.parent.glob(f"*{copy.name.split('-')[0]}-*"):  # of the same model: other versions, torn ones
            shutil.rmtree(old, ignore_errors=True)
        needed = 2 * int(model.get_memory_footprint())  # the store and the runs live on this disk too
        if shutil.disk_usage(copy.parent).free < needed:
            raise OSError("the disk is nearly full")
        unfinished.mkdir(mode=0o700)
        model.save_pretrained(unfinished)
        for path in unfinished.iterdir():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
        unfinished.rename(copy)
    except _UNUSABLE as error:
        log.warning("the quantised base model is not kept on disk: %s", _first_line(error))
        shutil.rmtree(unfinished, ignore_errors=True)


def _copy_name(name: str, revision: str, source: str, dtype: torch.dtype, place: torch.device) -> str:
    """Of a folder: the model's name, its revision, and a hash over everything else that decides the content.

    A local model may change where its revision does not look, so the times of its files count.
    """
    makers = [importlib.metadata.version(each).split(".")[:2] for each in ("bitsandbytes", "transformers")]
    files = [[path.name, path.stat().st_mtime_ns] for path in sorted(Path(source).glob("*.safetensors"))]
    how = [_nf4_config(dtype).to_dict(), str(dtype), place.type]
    rest = json.dumps([revision, files, how, makers], sort_keys=True)
    whole = hashlib.sha256(rest.encode()).hexdigest()
    return f"{hashlib.sha256(name.encode()).hexdigest()[:12]}-{revision[:12]}-nf4-{whole[:12]}"


def _nf4_config(dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,  # also spares us the corruption of plain NF4 by state_dict() on CPU
        bnb_4bit_compute_dtype=dtype,
    )


def _keep_4bit_layers_differentiable(model: torch.nn.Module) -> None:
    """Stop bitsandbytes 0.50 from repacking weights in the first evaluation forward on AVX512-BF16 CPUs.

    A repacked layer goes through an operation without autograd: after one served request, gradients of everything
    below it vanish with nothing but a warning (norm 0.88 to 0.23, measured).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _stop_token_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    declared = model.generation_config.eos_token_id
    ids = set(declared if isinstance(declared, list) else [] if declared is None else [declared])
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    if not ids:
        raise ModelError("the base model declares no end-of-text token", "choose a model with an eos_token_id")
    return frozenset(int(i) for i in ids)


def _template_text(tokenizer: Any) -> str:
    """Some models have several, by name."""
    template = tokenizer.chat_template or ""
    return template if isinstance(template, str) else json.dumps(template, sort_keys=True)


def _end_of_turn_id(tokenizer: Any, stops: frozenset[int]) -> int:
    """The stop token that the template writes after an answer (Gemma's is not its eos_token), else the eos."""
    if tokenizer.chat_template is not None:
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        for token_id in reversed(tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]):
            if token_id in stops:
                return int(token_id)
    return int(tokenizer.eos_token_id if tokenizer.eos_token_id in stops else min(stops))


def _revision(folder: Path) -> str:
    """The hub's commit, by which its cache names the folder; else a hash over the weight files: names, sizes, first MiB
    each."""
    if folder.parent.name == "snapshots":
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
    return digest.hexdigest()[:40]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
