#!/usr/bin/env bash
# The speed of `spade trace` against a PyTorch peer (bench/peers/), in one run. Results are added to bench/results/.
#   bench/run.sh [--variants N] [--sparsity S] [--threads N] [--repeat N] [--only spade|peer] [--no-record]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh python3-torch python3-torchvision python3-pil
exec /usr/bin/python3 bench/run.py "$@"
