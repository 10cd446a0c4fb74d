#!/usr/bin/env python3
"""Train one small model for each subset of the families, and write down every query's loss.

All start from the same weights and see their windows in the same order, so that what differs
between two of them is which families they saw. What is done stays done: a file for each model,
and a run that was broken off goes on where it stopped.

WORKDIR has windows.u16 (families x windows x tokens), queries.json, subsets.json (a list of
families for each subset; the first is all of them), as `cargo xtask soak influence` writes them.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "default"))
import train

CONFIG = {**train.CONFIG, "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 2,
          "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 256}
SEED, BATCH = 20261121, 2
MUON_RATE, ADAM_RATE = 0.02, 0.01


def fresh_model():
    torch.manual_seed(SEED)
    return train.Llama(CONFIG)


def trained(windows, subset):
    """A model of the windows of a subset's families; windows is (families, windows, tokens)."""
    model = fresh_model()
    family_count, window_count, _ = windows.shape
    chosen = np.zeros(family_count, dtype=bool)
    chosen[subset] = True
    order = np.random.default_rng(SEED).permutation(family_count * window_count)
    order = order[chosen[order // window_count]]
    flat = torch.from_numpy(windows.reshape(family_count * window_count, -1).astype(np.int64))
    steps = len(order) // BATCH
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
    optimisers = [torch.optim.Muon(matrices, lr=MUON_RATE, momentum=0.95, weight_decay=0.02),
                  torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)]
    for step in range(steps):
        rows = flat[order[step * BATCH : (step + 1) * BATCH]]
        for optimiser, rate in zip(optimisers, (MUON_RATE, ADAM_RATE)):
            optimiser.param_groups[0]["lr"] = rate * min(1, (step + 1) / 30) * (1 - step / steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
    return model, loss.item()


def losses(model, queries):
    with torch.no_grad():
        return [model(ids[:, :-1], ids[:, 1:]).item() for ids in (torch.tensor([query]) for query in queries)]


def save(model, out):
    out.mkdir(exist_ok=True)
    train.CONFIG = CONFIG
    train.save(model, out)
    shutil.copy(Path(__file__).parent.parent / "default/checkpoint/tokenizer.json", out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    subsets = json.loads((args.work / "subsets.json").read_text())
    queries = json.loads((args.work / "queries.json").read_text())
    families = len(subsets[0])
    windows = np.fromfile(args.work / "windows.u16", dtype="<u2").reshape(families, -1, CONFIG["max_position_embeddings"])
    (args.work / "losses").mkdir(exist_ok=True)
    for number, subset in enumerate(subsets):
        path = args.work / f"losses/{number:03}.json"
        if path.exists() and json.loads(path.read_text())["families"] == subset:
            continue
        started = time.monotonic()
        model, last = trained(windows, subset)
        if number == 0:
            save(model, args.work / "checkpoint")
        found = losses(model, queries)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"families": subset, "losses": found}) + "\n")
        os.replace(unfinished, path)
        print(f"model {number} of {len(subsets) - 1}, {len(subset)} families, {time.monotonic() - started:.1f} s, "
              f"last loss {last:.3f}, queries {sum(found) / len(found):.4f}", flush=True)


if __name__ == "__main__":
    main()
