#!/usr/bin/env bash
# Do two builds of spade give the same numbers, to the last bit? Maps and traces of the networks in tests/golden and of the
# demo: every .npy of `explain` and every weight of `trace` of one build is compared with the other's.
#   scripts/compare_results.sh OLD_COMMAND NEW_COMMAND [--device DEVICE]
# Exit 0: all the same; 1: a file differs or is missing (each is named). For changes that must move no number: build the commit
# before in a clone of its own, and give both commands.
set -euo pipefail
export OMP_WAIT_POLICY=passive # whatever else runs beside
old=$(realpath "${1:?usage: compare_results.sh OLD_COMMAND NEW_COMMAND}")
new=$(realpath "${2:?usage: compare_results.sh OLD_COMMAND NEW_COMMAND}")
shift 2
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data=tests/golden/data
methods=saliency,input_x_gradient,integrated_gradients,smoothgrad

# COMMAND FOLDER: the results of one build
results() {
    local command=$1 out=$2 model
    shift 2
    mkdir -p "$out"
    for model in "$data"/models/*.onnx; do
        local name
        name=$(basename "$model" .onnx)
        # A network that this build cannot load yet is compared by what is said of it.
        if ! "$command" trace "$model" $data/images/scene01.png --resize 0 --variants 24 --sparsity 0.6 "$@" --quiet \
            -o "$out/$name.safetensors" >/dev/null 2>"$out/$name.message"; then
            continue
        fi
        "$command" trace "$model" $data/images/scene02.png --resize 0 --variants 16 --sparsity 0.5 --nm 2:4 "$@" --quiet \
            -o "$out/${name}_nm.safetensors" >/dev/null
        "$command" explain "$model" "$data"/images/scene0[0-3].png --resize 0 --variants 24 --steps 10 --samples 10 \
            --method $methods "$@" --quiet -o "$out/$name" >/dev/null
    done
    "$command" explain examples/scene_resnet.onnx examples/pictures --mask examples/masks --labels examples/labels.txt \
        --config examples/demo.yaml "$@" --quiet -o "$out/demo" >/dev/null
    "$command" trace examples/scene_resnet.onnx examples/pictures/scene00.png --resize 0 --variants 16 --solver exact \
        --layers 'layer3.*' "$@" --quiet -o "$out/exact.safetensors" >/dev/null
}

results "$old" "$work/old" "$@"
results "$new" "$work/new" "$@"
count=$(cd "$work/old" && find . -name '*.npy' -o -name '*.safetensors' | wc -l)
[ "$count" -gt 0 ] || { echo "compare_results.sh: there is nothing to compare" >&2; exit 1; }
different=0
while read -r file; do
    cmp -s "$work/old/$file" "$work/new/$file" || { echo "differs: $file"; different=$((different + 1)); }
done < <(cd "$work" && find old new \( -name '*.npy' -o -name '*.safetensors' -o -name '*.png' \) -printf '%P\n' | sort -u)
echo "$count arrays, $different different; SHA-256 of all: $(cd "$work/new" &&
    find . -name '*.npy' -o -name '*.safetensors' | sort | xargs cat | sha256sum | cut -c 1-16)"
[ "$different" -eq 0 ]
