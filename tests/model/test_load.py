"""The base model comes as it is on disk, computes in what the machine multiplies, and is quantised once."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from fakes import CHAT_TEMPLATE, byte_tokenizer, make_tiny_model, wide_config
from transformers import PreTrainedModel

from dittod.errors import ModelError
from dittod.model import load
from dittod.model.load import BaseModel, compute_dtype, load_base

CPU = torch.device("cpu")
WEIGHTS = "model.safetensors"
STOPS = [257, 258, 261]  # three tokens end an answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("bitsandbytes")
    return make_tiny_model(tmp_path / "model", config=wide_config(eos_token_id=STOPS))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Not there yet."""
    return tmp_path / "home" / "models"


@pytest.fixture
def quantised(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Grows by a shape with every weight that bitsandbytes quantises."""
    functional = pytest.importorskip("bitsandbytes").functional
    seen: list[torch.Size] = []
    quantise = functional.quantize_4bit

    def spy(weight: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(weight.shape)
        return quantise(weight, *args, **kwargs)

    monkeypatch.setattr(functional, "quantize_4bit", spy)
    return seen


def load_4bit(folder: Path, cache: Path | None) -> BaseModel:
    return load_base(str(folder), quantisation="nf4", device="cpu", cache=cache)


def the_copy(cache: Path) -> Path:
    (copy,) = cache.iterdir()
    return copy


def same_model(one: BaseModel, other: BaseModel) -> bool:
    """Bit by bit, and in everything that is known of it."""
    facts = [each.name for each in fields(BaseModel) if each.name not in ("model", "tokenizer")]
    weights, others = one.model.state_dict(), other.model.state_dict()
    return (
        [getattr(one, each) for each in facts] == [getattr(other, each) for each in facts]
        and weights.keys() == others.keys()
        and all(torch.equal(weights[each], others[each]) for each in weights)
        and one.model.generation_config.to_dict() == other.model.generation_config.to_dict()
    )


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "expected"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_a_cpu_computes_in_bf16_only_if_it_multiplies_it(
    avx512_bf16: bool, amx: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert compute_dtype(CPU) is expected


def test_the_second_start_quantises_nothing_and_has_the_same_model(
    folder: Path, cache: Path, quantised: list[torch.Size]
) -> None:
    first = load_4bit(folder, cache)
    assert len(quantised) == 14
    second = load_4bit(folder, cache)
    assert len(quantised) == 14
    assert same_model(first, second)
    assert same_model(load_4bit(folder, None), second)
    assert second.stop_token_ids == {257, 258, 261}
    assert not any(value.requires_grad for value in second.model.parameters())
    assert not second.model.training
    assert not any(getattr(each, "support_avx512bf16_for_cpu", False) for each in second.model.modules())


def test_the_copy_is_private_and_nothing_else_lies_beside_it(folder: Path, cache: Path) -> None:
    load_4bit(folder, cache)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(the_copy(cache).stat().st_mode) == 0o700


def test_without_quantisation_nothing_is_kept(folder: Path, cache: Path) -> None:
    load_base(str(folder), device="cpu", cache=cache)
    assert not cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda copy: os.truncate(copy / WEIGHTS, (copy / WEIGHTS).stat().st_size // 2),
        lambda copy: (copy / WEIGHTS).write_bytes(bytes((copy / WEIGHTS).stat().st_size)),
        lambda copy: (copy / WEIGHTS).unlink(),
        lambda copy: (copy / "config.json").write_text("{"),
        lambda copy: (copy / "config.json").unlink(),
    ],
    ids=["torn", "zeros", "no weights", "config torn", "no config"],
)
def test_a_damaged_copy_is_made_anew(
    damage: Callable[[Path], object],
    folder: Path,
    cache: Path,
    quantised: list[torch.Size],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = load_4bit(folder, cache)
    damage(the_copy(cache))
    assert same_model(load_4bit(folder, cache), first)
    assert len(quantised) == 28
    assert "damaged" in caplog.text
    assert same_model(load_4bit(folder, cache), first)
    assert len(quantised) == 28, "healed"


def test_how_answers_end_is_never_read_from_the_copy(folder: Path, cache: Path) -> None:
    """transformers takes a torn generation_config.json for none at all, and says nothing."""
    (folder / "generation_config.json").write_text('{"eos_token_id": [257, 259]}')  # not what config.json says
    load_4bit(folder, cache)
    (the_copy(cache) / "generation_config.json").write_text("{")
    assert load_4bit(folder, cache).stop_token_ids == {257, 259}


def test_what_a_killed_process_left_is_never_read_and_goes(folder: Path, cache: Path) -> None:
    load_4bit(folder, cache)
    copy = the_copy(cache)
    copy.rename(copy.with_name(f".{copy.name}"))
    (copy.with_name(f".{copy.name}") / WEIGHTS).write_bytes(b"half")
    load_4bit(folder, cache)
    assert the_copy(cache) == copy


def test_another_revision_takes_the_place_of_the_copy_and_another_model_does_not(
    folder: Path, cache: Path, tmp_path: Path, quantised: list[torch.Size]
) -> None:
    other = make_tiny_model(tmp_path / "other", config=wide_config(eos_token_id=STOPS), seed=1)
    load_4bit(other, cache)
    load_4bit(folder, cache)
    before = set(cache.iterdir())
    make_tiny_model(folder, config=wide_config(eos_token_id=STOPS), seed=2)
    changed = load_4bit(folder, cache)
    assert len(quantised) == 3 * 14
    assert len(before & set(cache.iterdir())) == 1
    assert len(set(cache.iterdir())) == 2
    assert same_model(load_4bit(folder, None), changed)
    load_4bit(other, cache)
    assert len(quantised) == 4 * 14, "from the copy"


def test_a_local_model_that_changed_where_its_revision_does_not_look_is_read_anew(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision is a hash over the beginnings of files."""
    monkeypatch.setattr(load, "_revision", lambda folder: "the same")
    load_4bit(folder, cache)
    make_tiny_model(folder, config=wide_config(eos_token_id=STOPS), seed=2)
    assert same_model(load_4bit(folder, cache), load_4bit(folder, None))


@pytest.mark.parametrize("part", ["bitsandbytes", "transformers", "dtype", "quantisation"])
def test_whatever_decides_the_content_decides_the_name(
    part: str, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, quantised: list[torch.Size]
) -> None:
    load_4bit(folder, cache)
    version = load.importlib.metadata.version
    if part == "dtype":
        other = torch.float32 if compute_dtype(CPU) is torch.bfloat16 else torch.bfloat16
        monkeypatch.setattr(load, "compute_dtype", lambda device: other)
    elif part == "quantisation":
        plain = load._nf4_config(torch.float32)
        plain.bnb_4bit_use_double_quant = False
        monkeypatch.setattr(load, "_nf4_config", lambda dtype: plain)
    else:
        monkeypatch.setattr(load.importlib.metadata, "version", lambda n: "9.9.9" if n == part else version(n))
    load_4bit(folder, cache)
    assert len(quantised) == 28


def test_a_patch_release_of_a_library_keeps_the_copy(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, quantised: list[torch.Size]
) -> None:
    load_4bit(folder, cache)
    version = load.importlib.metadata.version
    monkeypatch.setattr(load.importlib.metadata, "version", lambda n: ".".join([*version(n).split(".")[:2], "99"]))
    load_4bit(folder, cache)
    assert len(quantised) == 14


def _full(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_only_means_that_there_is_no_copy(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", _full)
    assert same_model(load_4bit(folder, cache), load_4bit(folder, None))
    assert list(cache.iterdir()) == []
    assert "No space left" in caplog.text


def test_a_disk_that_is_nearly_full_is_not_filled(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The store of what the user wrote lies on it."""
    usage = load.shutil.disk_usage(folder)
    monkeypatch.setattr(load.shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    load_4bit(folder, cache)
    assert list(cache.iterdir()) == []
    assert [each.levelno for each in caplog.records if each.name == "dittod.engine"] == [logging.WARNING]


def test_a_model_that_is_damaged_itself_is_said_to_be(folder: Path, cache: Path) -> None:
    os.truncate(folder / WEIGHTS, 1000)
    for quantisation in ("none", "nf4"):
        with pytest.raises(ModelError, match="could not be loaded"):
            load_base(str(folder), quantisation=quantisation, device="cpu", cache=cache)  # type: ignore[arg-type]


def test_a_copy_serves_the_computation_that_the_model_does(folder: Path, cache: Path) -> None:
    tokens = torch.arange(20, 60)[None]
    with torch.no_grad():
        logits = [load_4bit(folder, cache).model(tokens).logits for _ in range(2)]
    assert torch.equal(*logits)


def test_a_model_may_have_several_chat_templates(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    tokenizer = byte_tokenizer()
    hashes = set()
    for tool_use in ("a", "b"):
        tokenizer.chat_template = {"default": CHAT_TEMPLATE, "tool_use": tool_use}
        tokenizer.save_pretrained(folder)
        base = load_base(str(folder), device="cpu")
        assert base.end_of_turn_id == tokenizer.eos_token_id
        hashes.add(base.template_sha256)
    assert len(hashes) == 2
