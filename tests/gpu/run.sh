#!/usr/bin/env bash
# Runs on a machine with a GPU what tests/gpu/pack.sh packed: op tests and golden tests on the CUDA backend, the memory
# checker on the kernels where the machine allows it, benchmarks beside the peers. In about eight minutes.
#   run.sh [RESULTS]       default: results
# Exit 0: all tests passed. RESULTS gets summary.txt, a log of each test, the benchmark's tables.
set -uo pipefail
cd "$(dirname "$0")"
results=$(realpath -m "${1:-results}")
mkdir -p "$results"
[ -d lib ] || tar -xJf lib.tar.xz

# CUDA and cuDNN: the system's, and what Python packages bring (site-packages/nvidia/*/lib).
python=$(command -v python3)
libraries=$PWD/lib
for folder in /usr/local/cuda/lib64 $("$python" - <<'P' 2>/dev/null
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

summary=$results/summary.txt
{
    date -u +%Y-%m-%d
    echo "commit $(cat COMMIT)"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "no nvidia-smi"
    build/spade devices
    build/spade version
} 2>&1 | tee "$summary"

failed=0
# NAME COMMAND...: its output into RESULTS/NAME.log, one line into the summary
check() {
    local name=$1 start=$SECONDS verdict=passed
    shift
    timeout 240 "$@" >"$results/$name.log" 2>&1 || verdict="FAILED ($?)"
    [ "$verdict" = passed ] || failed=$((failed + 1))
    if grep -q '^skipped: device cuda' "$results/$name.log"; then verdict="FAILED (no CUDA device)" failed=$((failed + 1)); fi
    echo "$verdict $name, $((SECONDS - start)) s" | tee -a "$summary"
}

for test in build/tests/*; do check "$(basename "$test")" "$test"; done

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
if [ -n "$sanitizer" ] && "$sanitizer" --error-exitcode 9 build/spade devices >/dev/null 2>&1; then
    SPADE_TEST_CASES=4 check sanitizer "$sanitizer" --error-exitcode 9 build/tests/ops_test_ops_devices
else
    echo "compute-sanitizer does not run here: skipped" | tee -a "$summary"
fi

# The tables are added to bench/results by run.py; they belong to the repository's folder of that name.
"$python" bench/run.py gpu --device cuda --repeat 3 --peer-repeat 1 >"$results/bench.log" 2>&1 ||
    echo "FAILED benchmark (bench.log)" | tee -a "$summary"
cp bench/results/*.md "$results/" 2>/dev/null
echo "$failed failed" | tee -a "$summary"
[ "$failed" -eq 0 ]
