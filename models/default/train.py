#!/usr/bin/env python3
"""Train the default model: a small Llama on the corpus that prepare.py wrote.

Writes a Hugging Face folder (config.json, model.safetensors in BF16, tokenizer.json,
tokenizer_config.json with the chat template) and loss.csv, the loss curve.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|end|>", "<|begin|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "<|begin|>"
    "{% if tools %}<|system|>{% if messages[0].role == 'system' %}{{ messages[0].content }}\n\n{% endif %}"
    "# Tools\n\nFunctions within <tools></tools>:\n<tools>\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}</tools>\n\n"
    'Call one with a JSON object:\n<tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call><|end|>{% endif %}'
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{% if not (tools and loop.first) %}<|system|>{{ message.content }}<|end|>{% endif %}"
    "{% elif message.role == 'user' %}<|user|>{{ message.content }}<|end|>"
    "{% elif message.role == 'assistant' %}<|assistant|>{{ message.content }}"
    "{% for call in message.tool_calls %}{% if message.content or not loop.first %}{{ '\\n' }}{% endif %}"
    '<tool_call>\n{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|end|>"
    "{% elif message.role == 'tool' %}<|user|><tool_response>\n{{ message.content }}\n</tool_response><|end|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 4096, "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "bos_token_id": 1, "eos_token_id": 0, "torch_dtype": "bfloat16",
}


class Block(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        d, h, kv, hd, f = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["intermediate_size"]
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = linear(d, h * hd), linear(d, kv * hd), linear(d, kv * hd), linear(h * hd, d)
        self.gate_proj, self.up_proj, self.down_proj = linear(d, f), linear(d, f), linear(f, d)
        self.norm1, self.norm2 = torch.nn.Parameter(torch.ones(d)), torch.nn.Parameter(torch.ones(d))
        self.h, self.kv, self.hd, self.eps = h, kv, hd, c["rms_norm_eps"]

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        y = F.rms_norm(x, (d,), self.norm1.to(x.dtype), self.eps)
        q = self.q_proj(y).view(b, t, self.h, self.hd).transpose(1, 2)
        k = self.k_proj(y).view(b, t, self.kv, self.hd).transpose(1, 2)
        v = self.v_proj(y).view(b, t, self.kv, self.hd).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        repeat = self.h // self.kv
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o_proj(o.transpose(1, 2).reshape(b, t, -1))
        y = F.rms_norm(x, (d,), self.norm2.to(x.dtype), self.eps)
        return x + self.down_proj(F.silu(self.gate_proj(y)) * self.up_proj(y))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class Llama(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = torch.nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = torch.nn.ModuleList(Block(c) for _ in range(c["num_hidden_layers"]))
        self.norm = torch.nn.Parameter(torch.ones(c["hidden_size"]))
        inverse = c["rope_theta"] ** (-torch.arange(0, c["head_dim"], 2).float() / c["head_dim"])
        angle = torch.outer(torch.arange(c["max_position_embeddings"]).float(), inverse)
        self.register_buffer("cos", angle.cos()), self.register_buffer("sin", angle.sin())
        for name, p in self.named_parameters():
            if p.dim() == 2:
                scale = 1 / math.sqrt(2 * c["num_hidden_layers"]) if "o_proj" in name or "down_proj" in name else 1.0
                torch.nn.init.normal_(p, std=0.02 if "embed" in name else scale / math.sqrt(p.shape[1]))

    def forward(self, ids, targets):
        x = self.embed(ids)
        t = ids.shape[1]
        for layer in self.layers:
            x = layer(x, self.cos[:t], self.sin[:t])
        x = F.rms_norm(x, (x.shape[-1],), self.norm.to(x.dtype), self.c["rms_norm_eps"])
        return F.cross_entropy(F.linear(x, self.embed.weight).float().view(-1, self.c["vocab_size"]), targets.reshape(-1))


def tokenizer_of(records, out):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"], special_tokens=SPECIAL,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator((r["plain"] for r in records), trainer)
    tokenizer.save(str(out / "tokenizer.json"))
    return tokenizer


def tokens_of(records, tokenizer):
    """Plain documents and chats, shuffled by a fixed seed, joined into one stream of ids."""
    end, begin, _, user, assistant = range(len(SPECIAL))
    encode = lambda texts: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    pieces = [[begin] + ids + [end] for ids in encode([r["plain"] for r in records])]
    pairs = [p for r in records for p in r["chats"]]
    asks, answers = encode([q for q, _ in pairs]), encode([a for _, a in pairs])
    pieces += [[begin, user] + q + [end, assistant] + a + [end] for q, a in zip(asks, answers)]
    order = np.random.default_rng(20261120).permutation(len(pieces))
    return torch.from_numpy(np.concatenate([np.array(pieces[i], dtype=np.int64) for i in order]))


def batches(stream, batch, length, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        starts = torch.randint(0, len(stream) - length - 1, (batch,), generator=generator)
        rows = torch.stack([stream[s : s + length + 1] for s in starts])
        yield rows[:, :-1], rows[:, 1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", type=Path, default=Path(__file__).parent / "corpus")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoint")
    parser.add_argument("--minutes", type=float, default=45, help="the learning rate reaches zero at this wall time")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--length", type=int, default=384)
    parser.add_argument("--seed", type=int, default=20261120)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    read = lambda name: [json.loads(line) for line in open(args.corpus / name)]
    train, heldout = read("train.jsonl"), read("heldout.jsonl")
    tokenizer = tokenizer_of(train, args.out)
    stream, held = tokens_of(train, tokenizer), tokens_of(heldout, tokenizer)
    model = Llama(CONFIG)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(stream):,} training tokens, {len(held):,} held out", flush=True)
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
    optimisers = [torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.02),
                  torch.optim.AdamW(rest, lr=0.004, betas=(0.9, 0.95), weight_decay=0.0)]
    rates = [o.param_groups[0]["lr"] for o in optimisers]
    curve = open(args.out / "loss.csv", "w")
    curve.write("step,tokens,seconds,train_loss,heldout_loss\n")
    started, held_batches = time.monotonic(), list(batches(held, 16, args.length, 4, 1))
    mean, step = 0.0, 0
    for step, (ids, targets) in enumerate(batches(stream, args.batch, args.length, 10**9, args.seed)):
        progress = (time.monotonic() - started) / (60 * args.minutes)
        if progress >= 1:
            break
        factor = min(1, (step + 1) / 50) * min(1, (1 - progress) / 0.6)
        for optimiser, rate in zip(optimisers, rates):
            optimiser.param_groups[0]["lr"] = rate * factor
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        mean = loss.item() if step == 0 else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 0:
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                heldout_loss = sum(model(i, t).item() for i, t in held_batches) / len(held_batches)
            seconds = time.monotonic() - started
            line = f"{step},{(step + 1) * args.batch * args.length},{seconds:.0f},{mean:.4f},{heldout_loss:.4f}"
            curve.write(line + "\n"), curve.flush()
            print(line, flush=True)
            if step % 500 == 0:
                save(model, args.out)
    save(model, args.out)
    (args.out / "recipe.json").write_text(json.dumps({
        "parameters": sum(p.numel() for p in model.parameters()), "steps": step,
        "tokens": step * args.batch * args.length, "corpus_tokens": len(stream), "minutes": args.minutes,
        "batch": args.batch, "length": args.length, "seed": args.seed, "torch": torch.__version__,
        "optimiser": "Muon 0.02 (matrices), AdamW 0.004 (embedding, norms), linear decay over the last 60 % of time",
    }, indent=1) + "\n")


def save(model, out):
    names = {"q_proj": "self_attn.q_proj.weight", "k_proj": "self_attn.k_proj.weight", "v_proj": "self_attn.v_proj.weight",
             "o_proj": "self_attn.o_proj.weight", "gate_proj": "mlp.gate_proj.weight", "up_proj": "mlp.up_proj.weight",
             "down_proj": "mlp.down_proj.weight", "norm1": "input_layernorm.weight", "norm2": "post_attention_layernorm.weight"}
    tensors = {"model.embed_tokens.weight": model.embed.weight, "model.norm.weight": model.norm}
    for i, layer in enumerate(model.layers):
        for name, parameter in layer.named_parameters():
            tensors[f"model.layers.{i}.{names[name.split('.')[0]]}"] = parameter
    save_file({k: v.detach().to(torch.bfloat16).contiguous() for k, v in tensors.items()},
              str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps({
        "bos_token": "<|begin|>", "eos_token": "<|end|>", "chat_template": TEMPLATE, "model_max_length": 512}, indent=1) + "\n")


if __name__ == "__main__":
    main()
