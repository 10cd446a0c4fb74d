"""A GGUF file of a small model, whose weights become those that the file's blocks stand for."""

import math

import gguf
import numpy as np
import torch

from tiny_tokenizer import MERGE, ascii_tokens

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    if name in NAMES:
        return NAMES[name]
    _, _, index, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{index}.{LAYER_NAMES[part]}.{kind}"


def permuted(rows, heads):
    """The order of rows in which llama.cpp turns neighbours instead of halves."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def restored(rows, heads):
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def random_blocks(rng, kind, shape, deviation):
    """Blocks of a type that the package reads and does not write: every bit of them random, but
    for the scales, which give the values this deviation."""
    block_len, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (shape[0], shape[1] // block_len, block_bytes), dtype=np.uint8)
    one = np.array([1.0], dtype=np.float16).view(np.uint8)
    scales = [slice(0, 2), slice(2, 4)] if kind.name == "Q4_K" else [slice(-2, None)]
    for scale in scales:
        blocks[..., scale] = one
    blocks = blocks.reshape(shape[0], -1)
    values = gguf.quants.dequantize(blocks, kind)
    for scale in scales:
        # The least of a Q4_K block is subtracted: half its largest value centres it.
        factor = deviation / values.std() * (1 if scale.start != 2 else 7.5)
        jitter = rng.uniform(0.8, 1.2, blocks.reshape(shape[0], -1, block_bytes).shape[:2])
        scaled = (factor * jitter).astype(np.float16)[..., None].view(np.uint8)
        blocks.reshape(shape[0], -1, block_bytes)[..., scale] = scaled
    return blocks


def blocks_of(values, kind, rng):
    if kind.name in ("Q4_K", "Q6_K"):
        return random_blocks(rng, kind, values.shape, values.std())
    return gguf.quants.quantize(values, kind)


def add_metadata(writer, config):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    if config["model_type"] == "llama":
        writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
        writer.add_vocab_size(config["vocab_size"])
    is_qwen = config["model_type"] == "qwen2"
    tokens = ascii_tokens(config["vocab_size"])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if is_qwen else "llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types([control if index < 2 else normal for index in range(len(tokens))])
    writer.add_token_merges([" ".join(MERGE)])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


def rope_factors(config):
    """What the speed of each pair is divided by, as llama.cpp's converter writes it."""
    scaling = config["rope_scaling"]
    dim = config["hidden_size"] // config["num_attention_heads"]
    speeds = config["rope_theta"] ** -(np.arange(0, dim, 2, dtype=np.float64) / dim)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    factors = []
    for speed in speeds:
        turns = scaling["original_max_position_embeddings"] * speed / (2 * math.pi)
        if turns > high:
            factors.append(1.0)
        elif turns < low:
            factors.append(scaling["factor"])
        else:
            smooth = (turns - low) / (high - low)
            factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write(path, model, config, matrix_type, value_type, rng):
    is_llama = config["model_type"] == "llama"
    writer = gguf.GGUFWriter(path, config["model_type"])
    add_metadata(writer, config)
    if config.get("rope_scaling"):
        writer.add_tensor("rope_freqs.weight", rope_factors(config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = parameter.numpy()
            if values.ndim == 1:
                writer.add_tensor(gguf_name(name), values)
                continue
            heads = {
                "q_proj": config["num_attention_heads"],
                "k_proj": config["num_key_value_heads"],
            }.get(name.split(".")[-2]) if is_llama else None
            if heads:
                values = permuted(values, heads)
            kind = value_type if "v_proj" in name or "down_proj" in name else matrix_type
            if kind.name == "Q4_K" and ("embed" in name or "lm_head" in name):
                # What the tokens mean to each other must stay, so no random blocks.
                kind = gguf.GGMLQuantizationType.Q8_0
            if kind is gguf.GGMLQuantizationType.F16:
                stored = values.astype(np.float16)
                writer.add_tensor(gguf_name(name), stored)
                meant = stored.astype(np.float32)
            else:
                stored = blocks_of(values, kind, rng)
                writer.add_tensor(gguf_name(name), stored, raw_dtype=kind)
                meant = gguf.quants.dequantize(stored, kind).reshape(values.shape)
            if heads:
                meant = restored(meant, heads)
            parameter.copy_(torch.from_numpy(meant.copy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
