#!/usr/bin/env bash
# Runs on a machine with a GPU what tests/gpu/pack.sh packed: every test that goes through the devices on the CUDA
# backend, several at a time; the memory checker on the kernels where the machine allows it; benchmarks beside the peers
# where Python has PyTorch; device time by kernel. In about eight minutes, half a minute of them for the tests.
#   run.sh [--no-bench] [RESULTS]       RESULTS: default results
# RESULTS gets a log of each step, the benchmark's tables and summary.txt, which ends with a table of all steps;
# RESULTS.tar.gz is all of that in at most 16 MiB. No step keeps the others from running. Exit 0: none failed.
set -uo pipefail
bench=yes
if [ "${1:-}" = --no-bench ]; then
    bench=no
    shift
fi
results=$(realpath -m "${1:-"$(dirname "$0")/results"}")
cd "$(dirname "$0")" || exit 1
rm -rf "$results"
mkdir -p "$results"
[ -d lib ] || tar -xJf packed.tar.xz

# CUDA and cuDNN: the system's, and what Python packages bring (site-packages/nvidia/*/lib).
python=$(command -v python3)
libraries=$PWD/lib
for folder in /usr/local/cuda/lib64 /usr/local/cuda/extras/CUPTI/lib64 $("$python" - <<'P' 2>/dev/null
import glob, site, sys
for place in {*site.getsitepackages(), *sys.path}:
    for folder in glob.glob(f"{place}/nvidia/*/lib"):
        print(folder)
P
); do
    if [ -d "$folder" ]; then libraries+=:$folder; fi
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
SPADE_CUDA_LIBRARY=$(ls "$PWD"/build/spade-cuda*.so) # or the emulated one
export SPADE_CUDA_LIBRARY SPADE_TEST_DEVICE=cuda OMP_WAIT_POLICY=passive
jobs=$(nproc)
if [ "$jobs" -gt 7 ]; then jobs=7; fi
limit=240 # seconds of a test
case $SPADE_CUDA_LIBRARY in *emulated*) limit=1800 ;; esac

summary=$results/summary.txt
{
    date -u +%Y-%m-%d
    echo "commit $(cat COMMIT)"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "no nvidia-smi"
    build/spade devices
    build/spade version
} 2>&1 | tee "$summary"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
verdicts=$scratch/verdicts
mkdir "$verdicts"

# NAME VERDICT SECONDS: one row of the table
note() {
    printf '%-22s %8s  %s\n' "$2" "$3" "$1" | tee "$verdicts/$1"
}

# NAME SECONDS COMMAND...: its output into RESULTS/NAME.log; fails as well where there was no device to test
check() {
    local name=$1 seconds=$2 start=$EPOCHREALTIME verdict=passed skipped status=0
    shift 2
    timeout "$seconds" "$@" >"$results/$name.log" 2>&1 || status=$?
    skipped=$(grep -cE '^skipped:|^\[  SKIPPED \] [a-z_]+$' "$results/$name.log")
    if [ "$skipped" -gt 0 ]; then verdict="passed, $skipped skipped"; fi
    if grep -q '^skipped: device cuda' "$results/$name.log"; then verdict="FAILED: no device"; fi
    if [ $status -ne 0 ]; then verdict="FAILED: exit $status"; fi
    if [ $status -eq 124 ]; then verdict="FAILED: $seconds s over"; fi
    note "$name" "$verdict" "$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $start }")"
}

running=0
for test in build/tests/*; do
    if [ $running -eq "$jobs" ]; then
        wait -n
        running=$((running - 1))
    fi
    check "$(basename "$test")" $limit "$test" &
    running=$((running + 1))
done
wait

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$sanitizer" ] && "$sanitizer" --error-exitcode 9 build/spade devices >/dev/null 2>&1; then
    SPADE_TEST_CASES=4 check memcheck 240 "$sanitizer" --error-exitcode 9 build/tests/ops_test_ops_devices
    # the solvers' kernels pass values between the threads of a block
    for tool in racecheck initcheck; do
        SPADE_TEST_CASES=2 check $tool 240 "$sanitizer" --tool $tool --error-exitcode 9 build/tests/unit_test_solve_devices
    done
else
    note sanitizer "does not run here" -
fi

# What TF32 and bfloat16 change: a line of numbers for each picture and precision.
check precision $limit build/bench/bench_precision examples/scene_resnet.onnx examples/pictures/scene0[0-1].png

# The tables are added to bench/results by run.py; they belong to the repository's folder of that name.
if [ $bench = no ]; then
    note benchmark "not asked for" -
elif ! "$python" -c "import torch" 2>/dev/null; then
    note benchmark "no PyTorch here" -
else
    check benchmark 900 "$python" bench/run.py gpu --device cuda --repeat 3 --peer-repeat 1
    cp bench/results/*.md "$results/" 2>/dev/null
fi

# Device time by kernel of one trace: of ResNet-50, where the benchmark has exported it.
model=bench/out/resnet50.onnx
[ -f $model ] || model=examples/scene_resnet.onnx
for precision in fp32 tf32 bf16; do
    if [ -f build/libkernel_times.so ]; then
        check kernels_$precision $limit env CUDA_INJECTION64_PATH="$PWD/build/libkernel_times.so" build/spade trace $model \
            examples/photo.jpg --device cuda --precision $precision -q -o "$scratch/trace.onnx"
    else
        note kernels_$precision "no CUPTI in the pack" -
    fi
done

failed=$(cat "$verdicts"/* | grep -c '^FAILED')
{
    echo
    printf '%-22s %8s  %s\n' verdict seconds step
    cat "$verdicts"/* | sort -k 1,1 -s
    echo "$failed of $(find "$verdicts" -type f | wc -l) failed, all in $SECONDS s"
} | tee -a "$summary"

# One archive that a machine with a limit on files hands back: the largest logs lose all but their ends where it must be.
archive=$results.tar.gz most=$((16 << 20)) kept=$((64 << 10))
copy=$scratch/$(basename "$results")
cp -r "$results" "$copy"
tar -C "$scratch" -czf "$archive" "$(basename "$copy")"
while [ "$(stat -c %s "$archive")" -ge $most ]; do
    largest=$(find "$copy" -type f -size +${kept}c -printf '%s %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
    [ -n "$largest" ] || break
    { echo "(cut by run.sh: the last $kept bytes)"; tail -c $((kept - 100)) "$largest"; } >"$scratch/end"
    mv "$scratch/end" "$largest"
    echo "$archive has only the end of $(basename "$largest")" | tee -a "$summary" "$copy/summary.txt"
    tar -C "$scratch" -czf "$archive" "$(basename "$copy")"
done
echo "$archive: $(($(stat -c %s "$archive") >> 10)) KiB"
[ "$failed" -eq 0 ]
