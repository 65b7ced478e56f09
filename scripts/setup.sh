#!/usr/bin/env bash
# Installs what spade needs (Debian 12 packages, once) and builds it into build/.
#   scripts/setup.sh [--packages-only] [PACKAGE...]     further packages: scripts/test.sh asks for the test tools this way
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    cmake ninja-build g++ libc6-dev pkg-config       # to build
    libdnnl-dev                                      # oneDNN: convolutions, pooling
    libopenblas-openmp-dev liblapacke-dev            # linear algebra, on the same OpenMP threads as oneDNN
    libjpeg62-turbo-dev libpng-dev libwebp-dev       # decoding pictures
    libstb-dev                                       # stb_image: decoding BMP
    librandom123-dev                                 # Philox: random numbers
    libyaml-dev libjansson-dev zlib1g-dev            # configuration, results, PNG
    libxxhash-dev                                    # xxHash: fingerprints of files
    nettle-dev                                       # SHA-256 of a store's shards
    libarchive-dev                                   # libarchive: tars of WebDataset
    libsqlite3-dev                                   # SQLite: which worker has which shard of a store, the store's index
)
build=yes
for argument in "$@"; do
    case $argument in
        --packages-only) build=no ;;
        -*) echo "setup.sh: unknown option $argument" >&2; exit 2 ;;
        *) packages+=("$argument") ;;
    esac
done

missing=()
for package in "${packages[@]}"; do
    # shellcheck disable=SC2016  # ${Status} is dpkg-query's
    [ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "setup.sh: run it once as root, or install: ${missing[*]}" >&2; exit 1; }
        root=(sudo)
    fi
    echo "setup.sh: installing ${missing[*]}"
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

[ $build = yes ] || exit 0
# The tests are configured where what they need is installed (scripts/test.sh sees to that) and built by scripts/test.sh.
tests=OFF
pkg-config --exists cmocka && command -v g++ >/dev/null && tests=ON
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DSPADE_TESTS=$tests >/dev/null
ninja -C build programs
