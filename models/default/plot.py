#!/usr/bin/env python3
"""Draw the loss curve (loss.csv) as an SVG file."""

import csv
import sys

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 300, 50, 40


def main(source, target):
    rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(open(source))][1:]
    tokens_max = max(row["tokens"] for row in rows)
    low, high = 2.0, 7.0
    x = lambda tokens: LEFT + tokens / tokens_max * (WIDTH - LEFT - 20)
    y = lambda loss: 20 + (high - min(loss, high)) / (high - low) * (HEIGHT - 20 - BOTTOM)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for loss in range(int(low), int(high) + 1):
        parts.append(f'<path d="M{LEFT} {y(loss):.1f}H{WIDTH - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss}</text>')
    step = 5e6 if tokens_max > 8e6 else 1e6
    for i in range(int(tokens_max // step) + 1):
        parts.append(f'<text x="{x(i * step):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{i * step / 1e6:.0f}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">training tokens, millions</text>')
    for name, colour, label, row_y in (("train_loss", "#c60", "training (running mean)", 36), ("heldout_loss", "#06c", "held out", 54)):
        points = " ".join(f"{x(row['tokens']):.1f},{y(row[name]):.1f}" for row in rows)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - 30}" y="{row_y}" text-anchor="end" fill="{colour}">{label}: {rows[-1][name]:.3f} nats per token</text>')
    open(target, "w").write("\n".join(parts + ["</svg>"]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
