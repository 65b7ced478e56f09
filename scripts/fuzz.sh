#!/usr/bin/env bash
# Builds the fuzz targets (tests/fuzz) with clang and libFuzzer and lets each look for inputs that break spade.
#   scripts/fuzz.sh [SECONDS [TARGET...]]     SECONDS: for each target, 600 as before a release; continuous integration gives 30
# Goes on with the inputs that earlier runs found (build-fuzz/corpus). Exit 1: there are findings, in build-fuzz/findings;
# make them smaller (fuzz_TARGET -minimize_crash=1 -exact_artifact_path=SMALL FILE), mend their cause, and keep them in
# tests/fuzz/crashers/TARGET, whose files every run of the tests replays.
#   COVERAGE=1 scripts/fuzz.sh ...     afterwards: which lines the inputs reach (llvm-cov), in build-fuzz/coverage.txt
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(network picture settings results report array)
scripts/setup.sh --packages-only clang libclang-rt-14-dev libomp-dev
build=build-fuzz
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1

cmake -S . -B $build -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSPADE_FUZZ=ON -DSPADE_TESTS=OFF \
    -DSPADE_EXAMPLES=OFF -DSPADE_CUDA=OFF >/dev/null
ninja -C $build fuzz
if [ -x build/spade ]; then tests/fuzz/seeds.sh build $build/seeds; fi
build/spade operators --json 2>/dev/null | grep -oE '"name":"[A-Za-z]+"' | cut -d '"' -f 4 | sed 's/.*/"&"/' >$build/operators.dict || true

run() { # TARGET
    local target=$1 length=16384 extra=()
    case $target in
        network) length=131072 extra=(-dict=$build/operators.dict) ;;
        picture) length=65536 ;;
        results) length=65536 ;;
    esac
    local known=tests/fuzz/crashers/$target
    mkdir -p "$build/corpus/$target" "$build/seeds/$target" $build/findings
    if [ -d "$known" ]; then extra+=("$known"); fi
    export LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0 ASAN_OPTIONS=allocator_may_return_null=1
    if "$build/tests/fuzz/fuzz_$target" "$build/corpus/$target" "$build/seeds/$target" \
        -max_total_time="$seconds" -max_len=$length -timeout=30 -rss_limit_mb=2560 -malloc_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$build/findings/$target-" "${extra[@]}" >"$build/$target.log" 2>&1; then
        echo "$target: $(awk '/number_of_executed_units/ { print $2 }' "$build/$target.log") inputs, no finding"
    else
        tail -n 40 "$build/$target.log"
        echo "$target: a finding, see $build/$target.log"
        return 1
    fi
}

# The files that the targets write are small and many.
[ -w /dev/shm ] && export TMPDIR=/dev/shm
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
found=0
export -f run
export build seconds
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I {} bash -c 'set -euo pipefail; run {}' || found=1
exit $found
