#!/usr/bin/env bash
# Builds spade twice and runs every test: under AddressSanitizer and UndefinedBehaviorSanitizer, then as released together with
# the checks of the sources. The CUDA backend is run by both on the processor (tests/emu); where the CUDA toolkit and cuDNN are
# installed, the release is also compiled and linked with them. Ends with ctest's summary.
#   scripts/test.sh [CTEST OPTION...]     for example: scripts/test.sh -L unit
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --packages-only libcmocka-dev libonnx-testdata g++ clang-tidy libomp-dev cppcheck binutils \
    python3-torch python3-torchvision # README's export lines

jobs=$(nproc)
# Tests run side by side: a thread without work yields the processor instead of spinning.
export OMP_WAIT_POLICY=passive

cmake -S . -B build-sanitize -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSPADE_SANITIZE=ON -DSPADE_CUDA=OFF >/dev/null
ninja -C build-sanitize
ctest --test-dir build-sanitize --output-on-failure -j "$jobs" -LE 'check|slow' "$@"

cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DSPADE_TESTS=ON -DSPADE_BENCH=ON | grep 'CUDA backend:'
ninja -C build
ctest --test-dir build --output-on-failure -j "$jobs" "$@"
