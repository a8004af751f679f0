"""LoRA adapters over the one base: made, loaded, switched, copied, saved in PEFT's format.

Several adapters live beside each other on the same frozen weights; which one computes, or which computes which row of a
batch, is global state of the model, so it is only ever set for the length of a `with adapters.active(...)` block. PEFT
manages them; lowrank.py computes.
Knows nothing of learning or requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.utils.hooks import RemovableHandle

from dittod.errors import ModelError
from dittod.model.load import BaseModel
from dittod.model.lowrank import LowRankForward, groups_of, install

ALL_LINEAR = "all-linear"  # every linear layer but the head; attention alone learns less (LoRA Without Regret, 2025)
WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
_BASE = "__base__"  # PEFT's name for no adapter, where it is told one for each row


@dataclass(frozen=True, slots=True)
class LoraShape:
    """What an adapter looks like. Scaling of B·A is alpha / rank."""

    rank: int = 16
    alpha: int = 32
    targets: str | tuple[str, ...] = ALL_LINEAR


class LoraAdapters:
    """The adapters that are in memory, by name."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._model = base.model  # linear layers are wrapped in place: calling it computes the active adapter
        self._peft: Any = None  # PEFT's own handle on the same model, made with the first adapter
        self._configs: dict[str, LoraConfig] = {}
        self._active: str | None = None
        self._layers: list[Any] = []  # of PEFT, kept at hand: switching happens twice per decoded token
        self._forwards: list[LowRankForward] = []  # of those layers that have our own
        self._left_to_peft: list[Any] = []  # the other layers
        self._weights: dict[str, list[torch.nn.Parameter]] = {}  # by adapter

    def __contains__(self, name: str) -> bool:
        return name in self._configs

    def names(self) -> list[str]:
        """The adapters in memory."""
        return list(self._configs)

    def create(self, name: str, shape: LoraShape, *, seed: int) -> None:
        """A fresh adapter in fp32: A uniform as in Kaiming, B zero, so that it computes what the base computes."""
        targets = shape.targets if isinstance(shape.targets, str) else list(shape.targets)
        if targets == ALL_LINEAR:
            targets = _linear_layer_names(self._model)
        config = LoraConfig(
            r=shape.rank,
            lora_alpha=shape.alpha,
            target_modules=targets,
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
            base_model_name_or_path=self._base.name,
            revision=None,
        )
        self._inject(name, config)
        generator = torch.Generator().manual_seed(seed)
        for key, value in sorted(self._own_parameters(name).items()):
            if "lora_A" in key:
                bound = value.shape[1] ** -0.5  # kaiming_uniform with a = sqrt(5): U(-1/sqrt(in), 1/sqrt(in))
                fresh = (torch.rand(value.shape, generator=generator) * 2 - 1) * bound
                _overwrite(value, fresh)
            else:
                _overwrite(value, torch.zeros(()))

    def load(self, name: str, path: Path) -> None:
        """Read an adapter from a folder in PEFT's format. Raises ModelError where it does not fit the base."""
        try:
            config = LoraConfig.from_pretrained(str(path))
            tensors = load_file(path / WEIGHTS_FILE)
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            raise ModelError(f"adapter {path.name} cannot be read", "roll back to an earlier version") from error
        if not _is_plain(config):
            raise ModelError(f"adapter {path.name} is not plain LoRA", "give one without DoRA and without biases")
        try:
            self._inject(name, config)
            self.load_state(name, tensors)
        except (ValueError, TypeError, AttributeError, re.error, ModelError) as error:  # PEFT checks no field's type
            if name in self:
                self.drop(name)
            raise ModelError(
                f"adapter {path.name} was made for another base model", "roll back, or update from this base"
            ) from error

    def drop(self, name: str) -> None:
        """Take an adapter out of memory."""
        del self._configs[name]
        for layer in self._layers:  # else PEFT warns that what it deletes was active
            layer._active_adapter = []
        self._peft.delete_adapter(name)
        self._look_up()

    def copy(self, source: str, target: str) -> None:
        """Make `target` equal to `source`, creating it if need be."""
        if target not in self:
            self._inject(target, self._configs[source])
        self.load_state(target, self.state(source))

    def state(self, name: str) -> dict[str, torch.Tensor]:
        """The weights under PEFT's names, detached copies on the CPU."""
        live = get_peft_model_state_dict(self._peft, adapter_name=name)
        return {key: value.detach().cpu().clone() for key, value in live.items()}

    def load_state(self, name: str, tensors: dict[str, torch.Tensor]) -> None:
        """Overwrite the weights. Raises ModelError if a tensor is missing, left over or of another shape."""
        expected = get_peft_model_state_dict(self._peft, adapter_name=name)
        if tensors.keys() != expected.keys() or any(tensors[k].shape != expected[k].shape for k in tensors):
            raise ModelError("the adapter was made for another base model", "roll back, or update from this base")
        set_peft_model_state_dict(self._peft, tensors, adapter_name=name)

    def save(self, name: str, folder: Path) -> None:
        """Write PEFT's two files; the folder is complete only when this returns."""
        folder.mkdir(parents=True, exist_ok=True)
        config = self._configs[name]
        config.inference_mode = True
        config.save_pretrained(str(folder))
        _put_in_order(folder / CONFIG_FILE)
        save_file(self.state(name), folder / WEIGHTS_FILE, metadata={"format": "pt"})

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        """The adapter's weights, in a fixed order: what an optimiser gets, which writes into them in place.

        Who would rather write through `.data`, unseen by autograd, asks for them each time before he does.
        """
        self._forget_casts()
        return self._in_order(name)

    @contextmanager
    def active(self, name: str | None) -> Iterator[None]:
        """Compute with this adapter (None: the bare base) inside the block. Only its weights want gradients."""
        before = self._active
        if name != before:
            self._switch(name)
        try:
            yield
        finally:
            if self._active != before:
                self._switch(before)

    @contextmanager
    def active_rows(self, names: Sequence[str | None]) -> Iterator[None]:
        """Compute each row of a batch with its own adapter inside the block. For decoding: nothing gets gradients."""
        some = next((name for name in names if name is not None), None)
        with self.active(some):
            if len(set(names)) == 1:
                yield
                return
            hooks = self._mix(names)
            try:
                yield
            finally:
                for forward in self._forwards:
                    forward.groups = None
                for hook in hooks:
                    hook.remove()

    def _mix(self, names: Sequence[str | None]) -> list[RemovableHandle]:
        """Tell every layer whose adapter each row is to have. PEFT's own forward takes it as an argument."""
        groups = groups_of(names, self._base.device)
        for forward in self._forwards:
            forward.groups = groups
        hook = partial(_with_names, [_BASE if name is None else name for name in names])
        return [layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in self._left_to_peft]

    def _switch(self, name: str | None) -> None:
        """What PEFT's enable_adapters and set_adapter do, in 0.05 ms instead of 2.6: no walk over all modules, and
        past torch's own __setattr__."""
        for layer in self._layers:
            object.__setattr__(layer, "_disable_adapters", name is None)
            if name is not None:
                object.__setattr__(layer, "_active_adapter", [name])
        for owner, weights in self._weights.items():
            for weight in weights:
                weight.requires_grad_(owner == name)
        self._active = name

    def _inject(self, name: str, config: LoraConfig) -> None:
        if name in self:
            self.drop(name)
        if self._peft is None:
            self._peft = PeftModel(self._model, config, adapter_name=name)
        else:
            self._peft.add_adapter(name, config)
        for value in self._own_parameters(name).values():
            value.data = value.data.float()
        self._configs[name] = config
        self._look_up()

    def _look_up(self) -> None:
        """After adapters have come or gone: find PEFT's layers and every adapter's weights, and switch anew."""
        self._layers = [module for module in self._model.modules() if isinstance(module, BaseTunerLayer)]
        installed = [(layer, install(layer)) for layer in self._layers]
        self._forwards = [own for _, own in installed if own is not None]
        self._left_to_peft = [layer for layer, own in installed if own is None]
        self._forget_casts()
        self._weights = {name: self._in_order(name) for name in self._configs}
        self._switch(self._active)

    def _forget_casts(self) -> None:
        for forward in self._forwards:
            forward.forget()

    def _in_order(self, name: str) -> list[torch.nn.Parameter]:
        return [value for _, value in sorted(self._own_parameters(name).items())]

    def _own_parameters(self, name: str) -> dict[str, torch.nn.Parameter]:
        return {
            key: value
            for key, value in self._model.named_parameters()
            if f".lora_A.{name}." in key or f".lora_B.{name}." in key
        }


def _is_plain(config: PeftConfig) -> bool:
    """lowrank.py would leave out the rest without a word, and PEFT would leave other modules changed."""
    if not isinstance(config, LoraConfig):
        return False
    return not (config.use_dora or config.lora_bias or config.modules_to_save)


@torch.no_grad()
def _overwrite(parameter: torch.nn.Parameter, value: torch.Tensor) -> None:
    """In place and seen by autograd's version counter, which `.data` hides from: casts of the old value end."""
    parameter.copy_(value)


def _with_names(names: list[str], _layer: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return args, {**named, "adapter_names": names}


def _put_in_order(path: Path) -> None:
    """PEFT keeps its targets in a set, whose order differs from process to process: equal adapters, equal bytes."""
    config = json.loads(path.read_text(encoding="utf-8"))
    ordered = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
    path.write_text(json.dumps(ordered, indent=2, sort_keys=True), encoding="utf-8")


def _linear_layer_names(model: Any) -> list[str]:
    """Last names of all linear layers but the output head (4-bit layers are linear layers too).

    A layer that carries adapters already is PEFT's, and the linear layer is its `base_layer`.
    """
    head = model.get_output_embeddings()
    return sorted(
        {
            key.removesuffix(".base_layer").rsplit(".", 1)[-1]
            for key, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head and "lora_" not in key
        }
    )
