#!/usr/bin/env python3
"""Make small random checkpoints of every architecture, and what `transformers` computes from them.

Writes one folder per checkpoint, in the form in which such models are published, with
  config.json, tokenizer.json, model*.safetensors   the checkpoint, or model.gguf instead of them
  expected.safetensors                               tokens and lengths of some texts, and
      log-probs    (positions, vocabulary) F16       of a decoder: logits less their log-sum-exp
      embeddings   (texts, width) F32                of an encoder

`transformers` reads the very files that are written, in binary32. Weights are random, so no gap
between the likeliest tokens can be expected but the one that is made here: logits have a standard
deviation of at least 3, or nothing is written.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

import tiny_gguf
import tiny_tokenizer

VOCABULARY = 128
LENGTHS = (176, 160, 128, 47, 1)
DEVIATION_MIN = 3.0
DEVIATION = 3.3
# How much louder than its deviation the logit of the announced token is, about.
ANNOUNCED = 1.4

DECODER = {
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "bos_token_id": 1,
    "eos_token_id": 0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
LLAMA = {**DECODER, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
QWEN2 = {
    **DECODER,
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "rope_theta": 1000000.0,
    "sliding_window": 128,
    "use_sliding_window": False,
    "max_window_layers": 2,
}
ENCODER = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "type_vocab_size": 2,
    "max_position_embeddings": 192,
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 0,
    "torch_dtype": "float32",
}

# name -> (config.json, type of the elements, number of files)
FOLDERS = {
    "llama2": ({**LLAMA, "num_key_value_heads": 4, "torch_dtype": "float32"}, torch.float32, 1),
    "llama3": (
        {**LLAMA, "rope_theta": 500000.0, "rope_scaling": LLAMA3_SCALING},
        torch.bfloat16,
        3,
    ),
    "llama-linear": (
        {**LLAMA, "rope_scaling": {"type": "linear", "factor": 4.0}},
        torch.bfloat16,
        1,
    ),
    "mistral": (
        {
            **DECODER,
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            "sliding_window": 24,
            "torch_dtype": "float16",
        },
        torch.float16,
        1,
    ),
    "qwen2": (QWEN2, torch.bfloat16, 1),
    "qwen3": (
        {
            **DECODER,
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "head_dim": 32,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "attention_bias": False,
            "use_sliding_window": False,
            "sliding_window": None,
            "max_window_layers": 2,
        },
        torch.bfloat16,
        1,
    ),
    # Three heads on one, tied, as the smallest SmolLM; the rotation is stated in the newer form.
    "smollm": (
        {
            **{key: value for key, value in LLAMA.items() if key != "rope_theta"},
            "hidden_size": 96,
            "num_attention_heads": 6,
            "num_hidden_layers": 3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
            "tie_word_embeddings": True,
        },
        torch.bfloat16,
        1,
    ),
    "phi3": (
        {
            **DECODER,
            "architectures": ["Phi3ForCausalLM"],
            "model_type": "phi3",
            "original_max_position_embeddings": 256,
            "sliding_window": 40,
            "rope_scaling": None,
            "pad_token_id": 0,
        },
        torch.bfloat16,
        1,
    ),
    "bert-mean": (ENCODER, torch.float32, 1),
    "bert-cls": ({**ENCODER, "num_hidden_layers": 2}, torch.float16, 1),
}

# name -> (config.json, gguf type of matrices, gguf type of value and down)
GGUFS = {
    "gguf-llama-f16": ({**LLAMA, "rope_scaling": LLAMA3_SCALING}, "F16", "F16"),
    "gguf-llama-q8_0": (LLAMA, "Q8_0", "Q8_0"),
    "gguf-qwen2-q4_0": (QWEN2, "Q4_0", "Q4_0"),
    "gguf-llama-q4_k": (
        {**LLAMA, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1},
        "Q4_K",
        "Q6_K",
    ),
}


def uniform(generator, shape, deviation):
    """Even values: their largest magnitude is only √3 of their deviation."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * (deviation * 3**0.5)


def random_tensor(name, shape, generator):
    """A tensor whose part in the result is large enough that its misuse shows."""
    fan_in = shape[-1] ** 0.5
    if name.endswith("norm.weight") or "LayerNorm.weight" in name or "_layernorm.weight" in name:
        gain = 1.2 if "q_norm" in name or "k_norm" in name else 1.0
        return gain * (1 + uniform(generator, shape, 0.3))
    if name.endswith("bias"):
        return uniform(generator, shape, 0.3)
    if "embed" in name:
        # Small, so that the norms' epsilon is felt.
        return uniform(generator, shape, 0.04)
    if any(part in name for part in ("q_proj", "k_proj", ".query.", ".key.")):
        return uniform(generator, shape, 1.3 / fan_in)
    if "qkv_proj" in name:
        return uniform(generator, shape, 1.2 / fan_in)
    if "o_proj" in name:
        return uniform(generator, shape, 0.035 / fan_in)
    if "down_proj" in name:
        return uniform(generator, shape, 0.05 / fan_in)
    return uniform(generator, shape, 1 / fan_in)


def texts(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, VOCABULARY, (length,), generator=generator) for length in LENGTHS]


def randomise(model, seed, dtype):
    """Fills every parameter with values that `dtype` holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = random_tensor(name, tuple(parameter.shape), generator)
            parameter.copy_(value.to(dtype).to(torch.float32))
        if not getattr(model.config, "tie_word_embeddings", True):
            # Each token has one that it announces, as in trained models: else the likeliest tokens
            # of random weights would be so near each other that any rounding exchanged them.
            embedding = torch.nn.functional.normalize(model.model.embed_tokens.weight)
            head = model.lm_head.weight + ANNOUNCED * embedding.roll(1, dims=0)
            model.lm_head.weight.copy_(head.to(dtype).to(torch.float32))


def logits_of(model, sequences):
    with torch.no_grad():
        return torch.cat([model(each[None]).logits[0].float() for each in sequences])


def spread(model, sequences, dtype):
    """Scales the last matrix or gain until the logits have the wanted deviation."""
    factor = DEVIATION / logits_of(model, sequences).std()
    is_tied = model.config.tie_word_embeddings
    last = model.model.norm.weight if is_tied else model.lm_head.weight
    with torch.no_grad():
        last.copy_((last * factor).to(dtype).to(torch.float32))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_weights(folder, tensors, files):
    """One safetensors file, or several with an index."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if files == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for index in range(files):
        file = f"model-{index + 1:05}-of-{files:05}.safetensors"
        part = {name: tensors[name] for name in names[index::files]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / "model.safetensors.index.json", index)


def write_expected(folder, sequences, **results):
    expected = {
        "tokens": torch.cat(sequences).to(torch.int32),
        "lengths": torch.tensor(LENGTHS, dtype=torch.int32),
    }
    save_file(expected | results, folder / "expected.safetensors")


def expect_logits(folder, logits, sequences):
    deviation = float(logits.std())
    assert deviation >= DEVIATION_MIN, f"{folder.name}: logits deviate by {deviation}"
    log_probs = torch.log_softmax(logits, dim=-1)
    write_expected(folder, sequences, **{"log-probs": log_probs.to(torch.float16)})
    print(f"{folder.name:<18} {len(logits)} positions, logits deviate by {deviation:.3f}")


def make_decoder(folder, config, dtype, files, seed):
    write_json(folder / "config.json", config)
    tiny_tokenizer.write_bytes(folder, VOCABULARY)
    sequences = texts(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).float().eval()
    randomise(model, seed, dtype)
    spread(model, sequences, dtype)
    tensors = {name: value.to(dtype) for name, value in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        del tensors["lm_head.weight"]
    write_weights(folder, tensors, files)
    read = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    expect_logits(folder, logits_of(read.eval(), sequences), sequences)


def make_encoder(folder, config, dtype, seed):
    write_json(folder / "config.json", config)
    tiny_tokenizer.write_words(folder, VOCABULARY)
    is_mean = folder.name.endswith("mean")
    tiny_tokenizer.write_sentence_folder(folder, config["hidden_size"], is_mean)
    # Many short texts: each is one result.
    generator = torch.Generator().manual_seed(seed)
    sequences = [
        torch.randint(5, VOCABULARY, (int(length),), generator=generator)
        for length in torch.randint(3, 40, (64,), generator=generator)
    ]
    model = AutoModel.from_config(AutoConfig.from_pretrained(folder), add_pooling_layer=False)
    randomise(model.float().eval(), seed, dtype)
    write_weights(folder, {key: value.to(dtype) for key, value in model.state_dict().items()}, 1)
    read = AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", add_pooling_layer=False
    ).eval()
    with torch.no_grad():
        hidden = [read(each[None]).last_hidden_state[0] for each in sequences]
    pooled = torch.stack([each.mean(dim=0) if is_mean else each[0] for each in hidden])
    if is_mean:
        pooled = torch.nn.functional.normalize(pooled)
    expected = {
        "tokens": torch.cat(sequences).to(torch.int32),
        "lengths": torch.tensor([len(each) for each in sequences], dtype=torch.int32),
        "embeddings": pooled,
    }
    save_file(expected, folder / "expected.safetensors")
    print(f"{folder.name:<18} {len(sequences)} texts")


def make_gguf(folder, config, matrix_type, value_type, seed):
    """Weights are those that the file's own blocks stand for, by the `gguf` package."""
    sequences = texts(seed)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(**config), attn_implementation="eager"
    )
    randomise(model.float().eval(), seed, torch.float32)
    spread(model, sequences, torch.float32)
    tiny_gguf.write(
        folder / "model.gguf",
        model,
        config,
        getattr(gguf.GGMLQuantizationType, matrix_type),
        getattr(gguf.GGMLQuantizationType, value_type),
        np.random.default_rng(seed),
    )
    expect_logits(folder, logits_of(model, sequences), sequences)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    for index, name in enumerate([*FOLDERS, *GGUFS]):
        if arguments.names and name not in arguments.names:
            continue
        folder, seed = arguments.folder / name, arguments.seed * 1000 + index
        folder.mkdir(parents=True, exist_ok=True)
        if name in GGUFS:
            make_gguf(folder, *GGUFS[name], seed)
        elif name.startswith("bert"):
            config, dtype, _ = FOLDERS[name]
            make_encoder(folder, config, dtype, seed)
        else:
            make_decoder(folder, *FOLDERS[name], seed)


if __name__ == "__main__":
    main()
