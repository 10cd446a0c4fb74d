"""Writes a random Llama of a given shape: a Hugging Face folder and GGUF files of the same weights.

Usage: shape.py FOLDER tied|untied width hidden layers heads kv_heads vocabulary

FOLDER gets `checkpoint/` (config, tokenizer, BF16 safetensors), `q8_0.gguf` and `q4_0.gguf`.
Weights are normal and so small that no sum overflows anything; only their shape matters here.
"""

import json
import struct
import sys
from pathlib import Path

import gguf
import numpy as np

CONTEXT = 1024
EPSILON = 1e-5
THETA = 10_000.0


def tensors(is_tied, width, hidden, layers, heads, kv_heads, vocabulary):
    """Names in both formats, with shapes."""
    head_dim = width // heads
    yield "model.embed_tokens.weight", "token_embd.weight", (vocabulary, width)
    for n in range(layers):
        ours, theirs = f"model.layers.{n}.", f"blk.{n}."
        yield ours + "input_layernorm.weight", theirs + "attn_norm.weight", (width,)
        yield ours + "post_attention_layernorm.weight", theirs + "ffn_norm.weight", (width,)
        for name, there, rows, columns in [
            ("self_attn.q_proj", "attn_q", width, width),
            ("self_attn.k_proj", "attn_k", kv_heads * head_dim, width),
            ("self_attn.v_proj", "attn_v", kv_heads * head_dim, width),
            ("self_attn.o_proj", "attn_output", width, width),
            ("mlp.gate_proj", "ffn_gate", hidden, width),
            ("mlp.up_proj", "ffn_up", hidden, width),
            ("mlp.down_proj", "ffn_down", width, hidden),
        ]:
            yield f"{ours}{name}.weight", f"{theirs}{there}.weight", (rows, columns)
    yield "model.norm.weight", "output_norm.weight", (width,)
    if not is_tied:
        yield "lm_head.weight", "output.weight", (vocabulary, width)


def values(rng, shape):
    """BF16 bit patterns as uint16, and the same as float32."""
    if len(shape) == 1:
        exact = np.ones(shape, np.float32)
    else:
        exact = rng.standard_normal(shape, np.float32) / np.sqrt(np.float32(shape[1]))
    bits = (exact.view(np.uint32) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def alphabet():
    """The characters that stand for bytes in a byte-level vocabulary."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    return [chr(byte) for byte in printed] + [chr(256 + index) for index in range(len(others))]


def write_config(folder, is_tied, width, hidden, layers, heads, kv_heads, vocabulary):
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "tie_word_embeddings": is_tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    names = alphabet() + [f"unused{index}" for index in range(256, vocabulary)]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {name: index for index, name in enumerate(names)},
            "merges": [],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text("{}")


def new_gguf(path, kind, width, hidden, layers, heads, kv_heads, vocabulary):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(THETA)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(kind)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<{index}>" for index in range(vocabulary)])
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types([gguf.TokenType.NORMAL] * vocabulary)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    return writer


def permuted(rows, heads):
    """Rows of queries and keys in the order that GGUF has for Llama: pairs side by side."""
    count, columns = rows.shape
    return rows.reshape(heads, 2, count // heads // 2, columns).swapaxes(1, 2).reshape(count, columns)


def main():
    folder = Path(sys.argv[1])
    is_tied = sys.argv[2] == "tied"
    shape = [int(argument) for argument in sys.argv[3:]]
    heads, kv_heads = shape[3], shape[4]
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    write_config(checkpoint, is_tied, *shape)
    kinds = {
        "q8_0": (gguf.LlamaFileType.MOSTLY_Q8_0, gguf.GGMLQuantizationType.Q8_0),
        "q4_0": (gguf.LlamaFileType.MOSTLY_Q4_0, gguf.GGMLQuantizationType.Q4_0),
    }
    writers = {name: new_gguf(folder / f"{name}.gguf", kind, *shape) for name, (kind, _) in kinds.items()}
    header, offset = {}, 0
    for name, _, dimensions in tensors(is_tied, *shape):
        size = 2 * int(np.prod(dimensions))
        header[name] = {"dtype": "BF16", "shape": list(dimensions), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(7)
    with open(checkpoint / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, there, dimensions in tensors(is_tied, *shape):
            bits, exact = values(rng, dimensions)
            file.write(bits.tobytes())
            if ".q_proj." in name or ".k_proj." in name:
                exact = permuted(exact, heads if ".q_proj." in name else kv_heads)
            for kind, writer in writers.items():
                if len(dimensions) == 1:
                    writer.add_tensor(there, exact)
                else:
                    quantised = gguf.quants.quantize(exact, kinds[kind][1])
                    writer.add_tensor(there, quantised, raw_dtype=kinds[kind][1])
    for writer in writers.values():
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


main()
