#!/usr/bin/env bash
# Builds spade and the programs of bench/, runs benchmarks, adds their tables to bench/results/; bench/README.md has the
# tables and how to read them.
#   bench/run.sh [TABLE...] [--all] [--variants N] [--sparsity S] [--threads N] [--repeat N] [--peer-repeat N]
#                [--no-peer] [--no-record]
# For example, on a quiet machine: bench/run.sh --all
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh python3-torch python3-torchvision python3-pil
cmake -S . -B build -DSPADE_BENCH=ON >/dev/null
ninja -C build benchmarks >/dev/null
exec /usr/bin/python3 bench/run.py "$@"
