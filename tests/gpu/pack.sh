#!/usr/bin/env bash
# Makes one folder that proves the CUDA backend on a machine with a GPU and nothing else: driver, CUDA and cuDNN (or the
# Python packages that bring them), Python with PyTorch for the peer. Nothing is built there, and nothing in the folder
# knows where it was made: the tests and programs find each other and their data from the folder that run.sh runs in.
#   tests/gpu/pack.sh [FOLDER]        default: build-gpu/pack; at most 64 MiB
#   FOLDER/run.sh [RESULTS]           there: tests, checks of the kernels, benchmarks; results under RESULTS
# Builds in build-gpu/ (CUDA toolkit and cuDNN needed). tests/gpu/pack.sh --emulated packs the emulated backend in place of
# CUDA's, to try the scripts on a machine without a GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
cuda=ON backend=spade_cuda plugin=spade-cuda.so
if [ "${1:-}" = --emulated ]; then
    cuda=OFF backend=spade_cuda_emulated plugin=tests/emu/spade-cuda-emulated.so
    shift
fi
pack=$(realpath -m "${1:-build-gpu/pack}")
# Every test that goes through the devices.
tests=()
for source in tests/*/test_*_devices.c; do
    tests+=("$(basename "$(dirname "$source")")_$(basename "$source" .c)")
done
benchmarks=(stages pictures peak precision)

scripts/setup.sh --packages-only libcmocka-dev g++ xz-utils
# No path of this machine: names of sources (assertions, messages) are relative to the tree, libraries of the tree are
# found from the program, all others in the folder that the program runs in.
sources=-ffile-prefix-map=$PWD/=
cmake -S . -B build-gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DSPADE_TESTS=ON -DSPADE_BENCH=ON -DSPADE_CUDA=$cuda \
    -DCMAKE_C_FLAGS="$sources" -DCMAKE_CXX_FLAGS="$sources" -DCMAKE_CUDA_FLAGS="-Xcompiler=$sources" \
    -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON -DSPADE_BUILD_DIR=build \
    -DSPADE_TEST_DATA=tests/golden/data -DSPADE_TEST_SOURCE=. -DSPADE_TEST_COMMAND=build/spade >/dev/null
ninja -C build-gpu spade spade-decode spade_shared $backend "${benchmarks[@]/#/bench_}" "${tests[@]}" >/dev/null

rm -rf "$pack"
mkdir -p "$pack"/{build/bench,build/tests,tests/golden,lib}
install -s build-gpu/spade build-gpu/spade-decode "$pack/build/"
install -s "build-gpu/$plugin" "$pack/build/"
for benchmark in "${benchmarks[@]}"; do install -s "build-gpu/bench/bench_$benchmark" "$pack/build/bench/"; done
install -s "build-gpu/$(readlink build-gpu/libspade.so)" "$pack/lib/" # under the name that programs look for
for test in "${tests[@]}"; do install -s "build-gpu/tests/$test" "$pack/build/tests/"; done
# Device time by kernel, where the toolkit has CUPTI.
cuda_home=$(dirname "$(dirname "$(realpath -m "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")")
for cupti in "$cuda_home"/extras/CUPTI "$cuda_home"; do
    [ -f "$cupti/include/cupti.h" ] || continue
    cc -O2 -shared -fPIC -s -I"$cupti/include" -I"$cuda_home/include" tests/gpu/kernel_times.c -L"$cupti/lib64" -L"$cupti/lib" -lcupti \
        -lpthread -o "$pack/build/libkernel_times.so"
    break
done
cp -r tests/golden/data "$pack/tests/golden/"
cp -r bench examples "$pack/"
rm -rf "$pack/bench/"{out,results,*.c,support} "$pack"/bench/__pycache__ "$pack"/bench/*/__pycache__
cp tests/gpu/run.sh "$pack/"
echo "$(git rev-parse --short=12 HEAD)$(git diff --quiet HEAD || echo ' with changes')" >"$pack/COMMIT"

# What the programs need beyond the C library, the driver, CUDA and cuDNN.
for program in "$pack"/build/spade "$pack"/build/spade-decode "$pack"/build/bench/* "$pack"/build/tests/* "$pack"/build/*.so; do
    ldd "$program"
done | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libspade|libcuda|libcudart|libcublas|libcublasLt|libcusolver|libcusparse|libcupti|libnvJitLink|libnvjitlink|libcudnn[a-z_]*)\.so' |
    while read -r library; do install -s "$library" "$pack/lib/$(basename "$library")"; done
if grep -rlF "$PWD" "$pack"; then
    echo "pack.sh: these files name $PWD" >&2
    exit 1
fi
# Two of the libraries are large, and every test has a copy of spade in it: they pack well.
tar -C "$pack" -cJf "$pack/packed.tar.xz" lib build/tests
rm -rf "${pack:?}"/{lib,build/tests}

size=$(du -sm "$pack" | cut -f 1)
echo "$pack: $size MiB"
[ "$size" -le 64 ] || { echo "pack.sh: more than 64 MiB" >&2; exit 1; }
