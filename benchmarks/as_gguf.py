"""A folder of transformers' files as one GGUF file, so that llama.cpp serves the very weights that we do.

Knows Llama's architecture with a byte-level BPE tokenizer, such as the starter's, and refuses everything else by name:
llama.cpp's own converter knows the others. Matrices are written in bf16, which is what the starter is stored in;
llama.cpp wants the vectors in fp32.

    python benchmarks/as_gguf.py FOLDER FILE.gguf
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf.quants import quantize
from safetensors.torch import load_file

WORDS = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
PRE_TOKENIZERS = {  # how a text is cut before pairs are merged: llama.cpp's name for it
    json.dumps({"type": "Sequence", "pretokenizers": [DIGITS, WORDS]}): "smollm",
    json.dumps(WORDS): "gpt-2",
}


def write_gguf(folder: Path, file: Path) -> None:
    """Raises ValueError where the model is not of the kind that is known here."""
    config = _read(folder / "config.json")
    if config["model_type"] != "llama" or config.get("attention_bias") or config.get("mlp_bias"):
        raise ValueError(f"a model of type {config['model_type']} with these biases is not known here")
    writer = gguf.GGUFWriter(file, "llama")
    _write_shape(writer, config)
    _write_tokenizer(writer, folder, config)
    _write_weights(writer, folder, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    rope = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)}
    if rope["rope_type"] != "default":
        raise ValueError(f"rotary positions of type {rope['rope_type']} are not known here")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)


def _write_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    tokenizer = _read(folder / "tokenizer.json")
    model, special = tokenizer["model"], {each["id"]: each["content"] for each in tokenizer["added_tokens"]}
    cutting = json.dumps(tokenizer["pre_tokenizer"])
    if model["type"] != "BPE" or tokenizer["normalizer"] or cutting not in PRE_TOKENIZERS:
        raise ValueError("a tokenizer that cuts texts in this way is not known here")
    by_id = {index: token for token, index in model["vocab"].items()} | special
    ids = range(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZERS[cutting])
    writer.add_token_list([by_id.get(index, f"<unused {index}>") for index in ids])
    writer.add_token_types([_kind(index, by_id, special) for index in ids])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)  # the chat template writes it
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))


def _kind(index: int, by_id: dict[int, str], special: dict[int, str]) -> gguf.TokenType:
    if index in special:
        return gguf.TokenType.CONTROL
    return gguf.TokenType.NORMAL if index in by_id else gguf.TokenType.UNUSED


def _write_weights(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            layer = name.split(".")[-2]
            if layer in heads:
                tensor = _interleaved(tensor, heads[layer])
            if (written := names.get_name(name, try_suffixes=(".weight",))) is None:
                raise ValueError(f"the tensor {name} is not known here")
            kind = gguf.GGMLQuantizationType.F32 if tensor.ndim == 1 else gguf.GGMLQuantizationType.BF16
            writer.add_tensor(written, quantize(tensor.float().numpy(), kind), raw_dtype=kind)


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows (heads · size, in) of one head lie as (first half, second half) for transformers, in pairs for llama.cpp:
    what rotary positions turn together."""
    rows, columns = weight.shape
    halves = weight.view(heads, 2, rows // heads // 2, columns)
    return halves.transpose(1, 2).reshape(rows, columns)


def _head_size(config: dict[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    write_gguf(Path(sys.argv[1]), Path(sys.argv[2]))
