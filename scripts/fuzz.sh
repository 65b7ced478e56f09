#!/usr/bin/env bash
# Builds the fuzz targets (tests/fuzz) with clang and libFuzzer and lets each look for inputs that break spade.
#   scripts/fuzz.sh [SECONDS [TARGET...]]     SECONDS: for each target, 600 as before a release; continuous integration gives 20;
#                                             0: only what earlier runs found is tried again
# Goes on with the inputs that earlier runs found (build-fuzz/corpus). Exit 1: there are findings, in build-fuzz/findings;
# make them smaller (fuzz_TARGET -minimize_crash=1 -exact_artifact_path=SMALL FILE), mend their cause, and keep them in
# tests/fuzz/crashers/TARGET, whose files every run of the tests replays.
#   COVERAGE=1 scripts/fuzz.sh ...     afterwards: which lines all inputs together reach, each replayed once by a build that counts
#                                      them (build-coverage), by folder and by file in build-fuzz/coverage.txt
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(network picture settings results report array manifest tar)
coverage=${COVERAGE:-}
packages=(clang libclang-rt-14-dev libomp-dev)
[ -z "$coverage" ] || packages+=(llvm)
scripts/setup.sh --packages-only "${packages[@]}"
build=build-fuzz
jobs=$(nproc) # which would say what OMP_NUM_THREADS says
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1

build_targets() { # FOLDER CMAKE_OPTION...
    cmake -S . -B "$1" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DSPADE_FUZZ=ON -DSPADE_TESTS=OFF -DSPADE_EXAMPLES=OFF -DSPADE_CUDA=OFF "${@:2}" >/dev/null
    ninja -C "$1" fuzz
}
mkdir -p $build/findings
[ "$seconds" -eq 0 ] && [ -n "$coverage" ] || build_targets $build # the build that counts tries them again as well
if [ -x build/spade ]; then tests/fuzz/seeds.sh build $build/seeds; fi
build/spade operators --json 2>/dev/null | grep -oE '"name":"[A-Za-z]+"' | cut -d '"' -f 4 | sed 's/.*/"&"/' >$build/operators.dict || true

export LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0 ASAN_OPTIONS=allocator_may_return_null=1

run() { # TARGET
    local target=$1 length=16384 extra=()
    case $target in
        network) length=131072 extra=(-dict=$build/operators.dict) ;;
        picture) length=65536 ;;
        results | tar) length=65536 ;;
    esac
    local known=tests/fuzz/crashers/$target limit=-max_total_time=$seconds # of 0: no limit
    [ "$seconds" -gt 0 ] || limit=-runs=0
    mkdir -p "$build/corpus/$target" "$build/seeds/$target"
    if [ -d "$known" ]; then extra+=("$known"); fi
    if "$build/tests/fuzz/fuzz_$target" "$build/corpus/$target" "$build/seeds/$target" \
        "$limit" -max_len=$length -timeout=30 -rss_limit_mb=2560 -malloc_limit_mb=1024 -print_final_stats=1 \
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
in_turn() { # FUNCTION: for each target, as many side by side as there are processors
    printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I {} bash -c "set -euo pipefail; $1 {}"
}
[ "$seconds" -eq 0 ] && [ -n "$coverage" ] || in_turn run || found=1

# ---- coverage

# llvm-cov's table of files on standard input, its eighth and ninth columns being lines and lines missed: the sum of each folder
# of src/host and of all, then the files.
list_coverage() {
    awk '
        function line(name, all, missed) { printf "%-44s %6d lines %7.2f %%\n", name, all, 100 * (all - missed) / all }
        $1 ~ /\.(c|h)$/ && $8 > 0 {
            folder = $1
            sub(/\/[^\/]*$/, "", folder)
            if (!(folder in lines)) folders[++folder_count] = folder
            lines[folder] += $8; missing[folder] += $9
            files[++file_count] = $1; file_lines[file_count] = $8; file_missing[file_count] = $9
            all += $8; missed += $9
        }
        END {
            if (!all) exit 1
            for (i = 1; i <= folder_count; i++) line(folders[i] "/", lines[folders[i]], missing[folders[i]])
            line("all", all, missed)
            print ""
            for (i = 1; i <= file_count; i++) line(files[i], file_lines[i], file_missing[i])
        }'
}

# Every input that is kept, once: the seeds, what libFuzzer found worth keeping, and the crashers.
replay_for_coverage() { # TARGET
    local target=$1 inputs=() folder
    for folder in "$build/seeds/$target" "$build/corpus/$target" "tests/fuzz/crashers/$target"; do
        if [ -d "$folder" ]; then inputs+=("$folder"); fi
    done
    LLVM_PROFILE_FILE=$counts/$target.profraw "$counts/tests/fuzz/fuzz_$target" -runs=0 -timeout=120 -rss_limit_mb=4096 \
        -malloc_limit_mb=1024 -artifact_prefix="$build/findings/$target-" "${inputs[@]}" >"$counts/$target.log" 2>&1 ||
        { tail -n 40 "$counts/$target.log"; echo "$target: a finding among the inputs kept, see $counts/$target.log"; return 1; }
    echo "$target: $(find "${inputs[@]}" -type f | wc -l) inputs replayed"
}

if [ -n "$coverage" ]; then
    counts=build-coverage
    rm -f $counts/*.profraw
    build_targets $counts -DCMAKE_C_FLAGS="-fprofile-instr-generate -fcoverage-mapping"
    export counts
    export -f replay_for_coverage
    in_turn replay_for_coverage || found=1
    llvm-profdata merge -sparse $counts/*.profraw -o $counts/all.profdata
    programs=()
    for target in "${targets[@]}"; do programs+=(-object "$counts/tests/fuzz/fuzz_$target"); done
    llvm-cov report "${programs[@]:1}" -instr-profile=$counts/all.profdata -ignore-filename-regex='/tests/|/usr/' |
        list_coverage >$build/coverage.txt
    echo "coverage: $(grep '^all ' $build/coverage.txt), by folder and file in $build/coverage.txt"
fi
exit $found
