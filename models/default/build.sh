#!/usr/bin/env bash
# Make the default model's checkpoint from Debian packages: download, extract, prepare, train, plot.
# Needs Debian 12, apt, Python 3.11 with venv, and about an hour and a half on two cores.
# Usage: models/default/build.sh WORKDIR [MINUTES]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${1:?usage: build.sh WORKDIR [MINUTES]}
minutes=${2:-62}
mkdir -p "$work/packages" "$work/root"
cd "$work/packages"
apt-get download python3.11-doc postgresql-doc-15 rust-doc jargon-text
for package in *.deb; do dpkg -x "$package" "$work/root"; done
for package in *.deb; do dpkg-deb -W --showformat='${Package} ${Version}\n' "$package"; done > "$work/versions.txt"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet -r "$here/requirements.txt"
"$work/venv/bin/python" "$here/prepare.py" --root "$work/root" --versions "$work/versions.txt" --out "$work"
# Large allocations stay mapped: returning them after every step costs half of the time.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456
"$work/venv/bin/python" "$here/train.py" --corpus "$work/corpus" --out "$work/checkpoint" --minutes "$minutes"
"$work/venv/bin/python" "$here/plot.py" "$work/checkpoint/loss.csv" "$work/checkpoint/loss.svg"
echo "checkpoint in $work/checkpoint; copy it to $here/checkpoint, then run: cargo xtask default-model"
