#!/usr/bin/env bash
# Builds spade and explains the pictures in examples/: what did the network look at, dense and on each picture's trace?
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
build/spade explain examples/scene_resnet.onnx examples/pictures --mask examples/masks --labels examples/labels.txt \
    --config examples/demo.yaml --restart -o demo
echo
echo "The report: $PWD/demo/report.html"
