#!/usr/bin/env bash
# Makes the pictures of docs/methods.md, docs/methods/METHOD.png: what each method shows of a picture of examples/ on the network
# there; those of transformers on the tests' own, which learned from pictures of the same kind.
#   scripts/method_pictures.sh [SPADE]
set -euo pipefail
cd "$(dirname "$0")/.."
spade=${1:-build/spade}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

explain() { # NETWORK METHOD...
    local network=$1 methods
    shift
    methods=$(IFS=,; echo "$*")
    "$spade" explain "$network" examples/pictures/scene02.png -o "$folder/out" --restart --no-trace --no-report -q --method "$methods"
    for method in "$@"; do cp "$folder/out/scene02/dense_$method.png" "docs/methods/$method.png"; done
}

mkdir -p docs/methods
mapfile -t all < <("$spade" methods --markdown | awk -F '`' '/^## Metrics/ { exit } /^### / { print $2 }')
convolutional=() attention=()
for method in "${all[@]}"; do
    case $method in
        attention_* | attnlrp) attention+=("$method") ;;
        *) convolutional+=("$method") ;;
    esac
done
explain examples/scene_resnet.onnx "${convolutional[@]}"
explain tests/golden/data/models/scene_vit.onnx "${attention[@]}"
