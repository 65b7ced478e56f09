#!/usr/bin/env bash
# Builds spade and runs every test: under AddressSanitizer and UndefinedBehaviorSanitizer, two contexts in two threads under
# ThreadSanitizer, 20 seconds of each fuzz target, then as released together with the checks of the sources. The CUDA backend
# is run on the processor (tests/emu), under the sanitizers and as released; where the CUDA toolkit and cuDNN are installed, the
# release is also compiled and linked with them. Ends with ctest's summary.
#   scripts/test.sh [CTEST OPTION...]     for example: scripts/test.sh -L unit
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --packages-only libcmocka-dev libonnx-testdata g++ clang clang-tidy libclang-rt-14-dev libomp-dev cppcheck binutils \
    python3-onnx python3-torch python3-torchvision \
    python3-numpy python3-pil # onnx.checker; README's export lines; bench/trojan's scenes

jobs=$(nproc)
# Tests run side by side: a thread without work yields the processor instead of spinning.
export OMP_WAIT_POLICY=passive
stage() { # NAME: what begins, and when
    echo "== $1, after $SECONDS s"
}

# Of debugging information the lines: what a report of the sanitizers names. More takes the compiler a fifth longer.
lines="-O2 -g1"
stage "build with AddressSanitizer and UndefinedBehaviorSanitizer"
cmake -S . -B build-sanitize -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_FLAGS_RELWITHDEBINFO="$lines" \
    -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="$lines" -DSPADE_SANITIZE=ON -DSPADE_CUDA=OFF >/dev/null
ninja -C build-sanitize
stage "tests with AddressSanitizer and UndefinedBehaviorSanitizer"
ctest --test-dir build-sanitize --output-on-failure -j "$jobs" -LE 'check|slow' "$@"

stage "release build"
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DSPADE_TESTS=ON -DSPADE_BENCH=ON | grep 'CUDA backend:'
ninja -C build

stage "threads under ThreadSanitizer"
# clang's OpenMP runtime tells ThreadSanitizer which thread waits for which; GCC's does not.
cmake -S . -B build-thread -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DSPADE_SANITIZE=thread -DSPADE_TESTS=ON -DSPADE_CUDA=OFF >/dev/null
ninja -C build-thread unit_test_threads
ctest --test-dir build-thread --output-on-failure -R '^unit.test_threads$'

stage "fuzzing"
scripts/fuzz.sh 20

stage "tests as released, and checks of the sources"
ctest --test-dir build --output-on-failure -j "$jobs" "$@"
