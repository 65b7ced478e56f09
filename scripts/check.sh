#!/usr/bin/env bash
# Checks of the sources and of what was built; each is a test with the label "check".
#   scripts/check.sh tree|symbols|tidy|cppcheck|install BUILD
# Exit 0: fine, 1: findings (printed), 77: the tool for it is not installed.
set -euo pipefail
what=${1:?usage: check.sh CHECK BUILD}
build=$(realpath "${2:?usage: check.sh CHECK BUILD}")
cd "$(dirname "$0")/.."
found=0

report() { # FINDING...: one finding a line; nothing for an empty argument
    if [ -n "$*" ]; then
        echo "$*"
        found=1
    fi
}

need() {
    command -v "$1" >/dev/null || { echo "$1 is not installed: skipped"; exit 77; }
}

sources() { find include src tests examples bench -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | sort; }

# What the files of one folder of src/host may include, beside the public headers: folders, or single headers. The order is
# the data flow's; a folder sees nothing that stands behind it.
allowed() {
    local device="base backend/backend.h"
    case $1 in
        base) echo "base" ;;
        backend) echo "base backend kernels/launch.h" ;; # kernels: the CUDA backend's, see below
        onnx | store) echo "base $1" ;;
        picture) echo "$device picture" ;;
        network) echo "$device network" ;;
        import) echo "$device onnx network import" ;; # nothing behind it reads ONNX, but what writes it: trace
        engine) echo "$device onnx/onnx.h network import/import.h engine" ;;
        augment) echo "$device picture augment" ;;
        hessian) echo "$device network engine augment hessian" ;;
        solve) echo "$device backend/least_squares.h backend/partial_select.h solve" ;;
        trace) echo "$device onnx store network engine augment hessian solve trace" ;;
        attribution) echo "$device backend/least_squares.h store network engine attribution" ;;
        metric) echo "$device engine attribution metric" ;;
        visualize) echo "$device network engine attribution/layer_value.h attribution/rules/rules.h visualize" ;;
        config) echo "base config" ;;
        report) echo "base config picture metric attribution report" ;;
        workload) echo "$device network engine picture store config report trace workload" ;;
        cli) echo "base config workload cli" ;;
    esac
}

# Includes in quotes, as "FILE:LINE:INCLUDED"
includes() { grep -rnoE '^#include "[^"]+"' "$@" | sed -E 's/:#include "/:/; s/"$//'; }

check_includes() {
    local folder may target place line
    while IFS=: read -r place line target; do
        folder=${place#src/host/}
        folder=${folder%%/*}
        may=$(allowed "$folder")
        [ -n "$may" ] || { report "$place: folder $folder is not in the architecture"; continue; }
        case " spade $may " in
            *" $target "* | *" ${target%%/*} "*) ;;
            *) report "$place:$line: $folder must not include \"$target\" (may: spade $may)" ;;
        esac
    done < <(includes src/host)
    report "$(includes include | grep -v ':spade/' || true)"
    report "$(includes bench | grep -v ':support/' || true)" # benchmarks use the public headers, as <spade/...>
    report "$(grep -rnE '#include [<"](cuda|cudnn|cublas|cusolver|cufft|nv)' src include --include='*.[ch]' |
        grep -v '^src/host/backend/cuda/' || true)"
    report "$(grep -rn '#include "kernels/' src/host | grep -v '^src/host/backend/cuda/' || true)"
    report "$(grep -rnE '#include [<"](oneapi/|dnnl|lapacke)' src include | grep -v '^src/host/backend/' || true)"
}

check_text() {
    local file
    while read -r file; do
        report "$(awk -v file="$file" '
            length($0) > 140 && !/^ *"/ { print file ":" NR ": longer than 140 characters" }
            /\t/ { print file ":" NR ": a tab" }
            /[ \t]$/ { print file ":" NR ": white space at the end of the line" }
            /^\{/ { start = NR }
            /^\}/ { if (start && NR - start > 75) print file ":" start ": a function of " NR - start " lines"; start = 0 }
            END { if (NR >= 800) print file ": " NR " lines" }' "$file")"
    done < <(sources)
    report "$(grep -rnwE 'T[O]DO|F[I]XME|X[X]X|H[A]CK' CMakeLists.txt README.md cmake include src tests scripts bench examples \
        --include='*.[ch]' --include='*.sh' --include='*.py' --include='*.md' --include='*.txt' --include='*.cmake' || true)"
}

check_tree() {
    check_includes
    check_text
}

# Calls that change something of the whole process under the feet of other threads: the mask of new files, the locale, ...
PROCESS_WIDE='umask|setlocale|chdir|fchdir|setenv|unsetenv|putenv|clearenv|signal|sigaction|srand|rand|setrlimit|exit|atexit'

# No mutable globals in the stages; the library shows its own names only, and leaves what belongs to the process alone.
check_symbols() {
    need objdump
    [ -f "$build/libspade.so" ] || { report "$build/libspade.so: not built"; return; }
    report "$(objdump -t "$build"/libspade_*.a 2>/dev/null |
        awk '/\.o: / { object = $1 } $3 == "O" && $4 ~ /^\.(data|bss|tdata|tbss)/ && $4 !~ /^\.data\.rel\.ro/ { print object " mutable global " $NF }
             $4 == "*COM*" { print object " mutable global " $NF }')"
    report "$(nm -D --defined-only "$build/libspade.so" | awk '$3 !~ /^spade_/ { print "libspade.so exports " $3 }')"
    report "$(comm -23 \
        <(cat include/spade/*.h | tr '\n' ' ' | grep -oE 'SPADE_API[^;(]*\(' | grep -oE 'spade_[a-z0-9_]+ *\($' | tr -d ' (' | sort -u) \
        <(nm -D --defined-only "$build/libspade.so" | awk '{ print $3 }' | sort -u) | sed 's/^/libspade.so lacks /')"
    report "$(nm -D --undefined-only "$build/libspade.so" | awk '{ sub(/@.*/, "", $2); print $2 }' |
        grep -xE "$PROCESS_WIDE" | sed 's/.*/libspade.so calls &(), which is for the whole process/' || true)"
}

check_tidy() {
    need clang-tidy
    compgen -G '/usr/lib/llvm-*/lib/clang/*/include/omp.h' >/dev/null ||
        { echo "clang's omp.h (libomp-dev) is not installed: skipped"; exit 77; }
    report "$(grep -oE '"file": "[^"]*/src/[^"]*\.c"' "$build/compile_commands.json" | cut -d '"' -f 4 | sort -u | tr '\n' '\0' |
        xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p "$build" \
        --extra-arg=-Wno-unknown-warning-option \
        --extra-arg=-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang 2>/dev/null | grep -E ': (warning|error): ' || true)"
}

check_cppcheck() {
    need cppcheck
    # readdir of glibc is safe in threads that have a DIR each, and readdir_r is deprecated.
    cppcheck -q -j "$(nproc)" --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress=missingIncludeSystem --suppress=invalidPointerCast --suppress=memleak --suppress=readdirCalled \
        --suppress=arrayIndexOutOfBoundsCond -D_GNU_SOURCE -DSPADE_LIBEXEC='""' -DSPADE_LIBEXEC_FROM_BIN='""' -DSPADE_LIBEXEC_FROM_LIB='""' -DSPADE_BUILD_DIR='""' \
        --library=posix --library=gnu -I include -I src/host -I bench src examples bench || found=1
}

# What is installed in a folder is whole, and a user of the library can build the example.
check_place() {
    local place=$1 pc
    pc=$(find "$place" -name spade.pc)
    # shellcheck disable=SC2046  # options, to be split
    gcc -std=c11 -Wall -Wextra -Werror examples/explain.c \
        $(PKG_CONFIG_PATH=${pc%/*} pkg-config --cflags --libs spade) -o "$place/explain" ||
        report "$pc: the example is not built with it"
    (cd "$place" && LD_LIBRARY_PATH=$(dirname "$(find "$place" -name libspade.so)") ./explain \
        "$OLDPWD/examples/scene_resnet.onnx" "$OLDPWD/examples/pictures/scene00.png") || found=1
    [ -x "$(find "$place" -path '*libexec/spade/spade-decode')" ] || report "spade-decode is not installed"
    # the command finds the decoder that was installed with it, wherever that is
    "$(find "$place" -path '*bin/spade')" explain examples/scene_resnet.onnx examples/pictures/scene00.png --no-trace -q \
        -o "$place/out" || report "the installed command does not explain"
    "$(find "$place" -path '*bin/spade')" version >/dev/null || report "the installed command does not run"
    [ -f "$(find "$place" -path '*include/spade/spade.h')" ] || report "headers are not installed"
}

# Installs into temporary folders: below one as a package is made, with another prefix, and that one moved.
check_install() {
    need pkg-config
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    DESTDIR=$place/root cmake --install "$build" >/dev/null
    check_place "$place/root"
    cmake --install "$build" --prefix "$place/prefix" >/dev/null
    check_place "$place/prefix"
    mv "$place/prefix" "$place/moved"
    check_place "$place/moved"
    # Its decoder lies with it, or where it was configured for: never in the build folder, which others may have made anew.
    find "$place/moved" -name spade-decode -delete
    [ -z "$(find "$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")" -name spade-decode 2>/dev/null)" ] || return 0
    "$place/moved/bin/spade" explain examples/scene_resnet.onnx examples/pictures/scene00.png --no-trace -q -o "$place/none" \
        2>/dev/null && report "the installed command runs a decoder that was not installed"
    return 0
}

case $what in
    tree | symbols | tidy | cppcheck | install) "check_$what" ;;
    *) echo "check.sh: unknown check $what" >&2; exit 2 ;;
esac
exit $found
