#!/usr/bin/env bash
# What annotate says, and what becomes of its store, when things go wrong: a poisoned picture every 50, a full disk, a store that cannot be
# written, one of another configuration or manifest, several runs on one store, a clock that was set back. Each is one clear line, which is
# printed here; nothing is damaged, and the same command goes on to the bytes of a run that nobody disturbed. (Kills: scripts/kill_test.sh.)
#   scripts/trouble_test.sh [PICTURES]     needs root, for small disks in a namespace of its own; 600 pictures take a minute on two cores
set -uo pipefail
cd "$(dirname "$0")/.." || exit
exec 3>&2

if [ "${SPADE_TROUBLE_TEST:-}" != inside ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    SPADE_TROUBLE_TEST=inside unshare --mount "$0" "$work" "${1:-600}"
    exit
fi

work=$1 pictures=$2
model=$PWD/tests/golden/data/models/scene_resnet.onnx images=$PWD/tests/golden/data/images
export OMP_WAIT_POLICY=passive
options=(--method saliency --no-trace --resize 0 --threads 2 --shard-size 10 --workers 1 -q)

fail() {
    echo "trouble_test.sh: FAILED: $*" >&3
    tail -n 5 "$work/err" >&3
    exit 1
}

# The exit code and the lines of standard error, of which equal ones are printed once.
expect() { # CODE LINES STORE MANIFEST [OPTION...]
    local code=$1 lines=$2 got=0
    "$work/spade" annotate "$model" "$4" -o "$3" "${options[@]}" "${@:5}" >"$work/out" 2>"$work/err" || got=$?
    sed "s|$work/||g" "$work/err" | sort | uniq -c
    [ "$got" = "$code" ] || fail "code $got, not $code"
    [ "$(wc -l <"$work/err")" = "$lines" ] || fail "not $lines lines"
}

same() { # STORE OTHER
    local tar left
    "$work/spade" merge "$1" -q || [ $? = 3 ] || fail "merge of $1"
    for tar in "$2"/*.tar; do cmp "$tar" "$1/${tar##*/}" || fail "bytes differ"; done
    left=$(find "$1" -mindepth 1 ! -name '*.tar' ! -name '*.done.json' ! -name store.json ! -name 'ledger.sqlite*' ! -name index.sqlite \
        ! -name lost+found)
    [ -z "$left" ] || fail "left over: $left"
}

state() { find "$1" -type f ! -name 'ledger.sqlite*' -exec sha256sum {} + | sort; }

unchanged() { # STORE, since $before
    [ "$(state "$1")" = "$before" ] || fail "$1 was changed"
}

list() { # COUNT: a manifest
    echo image,label
    for ((i = 0; i < $1; i++)); do printf '%s/scene%02d.png,%d\n' "$images" $((i % 12)) $((i % 9)); done
}

# ---- a decoder that dies of one picture, which a decoder without faults does not: a stand-in beside a copy of spade

cp build/spade "$work/spade"
cat >"$work/spade-decode" <<END
#!/bin/bash
case \$(readlink /proc/self/fd/0) in */killer*) kill -SEGV \$\$ ;; esac
exec "$PWD/build/spade-decode" "\$@"
END
chmod +x "$work/spade-decode"

echo "A poisoned picture every 50 of $pictures: cut off, of a huge declared size, the decoder's death"
head -c $(($(stat -c %s "$images/scene00.png") / 2)) "$images/scene00.png" >"$work/cut.png"
printf 'P6\n100000 100000\n255\nabc' >"$work/huge.ppm"
cp "$images/scene00.png" "$work/killer.png"
list "$pictures" | awk -v at="$work" -F, 'NR > 1 && (NR - 1) % 50 == 0 {
    split("cut.png huge.ppm killer.png", bad, " "); $0 = at "/" bad[1 + (NR - 1) / 50 % 3] "," $2 } { print }' >"$work/poisoned.csv"
poisoned=$((pictures / 50))
expect 3 $poisoned "$work/poisoned" "$work/poisoned.csv"
"$work/spade" merge "$work/poisoned" | sed "s|$work/||g; s/^/    /"
[ "$(cat "$work"/poisoned/shard-*.done.json | grep -o '"error"' | wc -l)" = $poisoned ] || fail "the done records do not name all"
expect 3 $poisoned "$work/poisoned2" "$work/poisoned.csv" --workers 2 >/dev/null
same "$work/poisoned2" "$work/poisoned"
echo "    two workers: the same bytes"

# ---- one line each

list 60 >"$work/m.csv"
expect 0 0 "$work/whole" "$work/m.csv"

echo "A full disk (2 MB): one process, two workers"
for workers in 1 2; do
    mkdir "$work/small$workers"
    mount -t tmpfs -o size=2m none "$work/small$workers"
    expect 1 1 "$work/small$workers" "$work/m.csv" --workers $workers
    expect 1 1 "$work/small$workers" "$work/m.csv" --workers $workers >/dev/null
    mount -o remount,size=20m "$work/small$workers"
    expect 0 0 "$work/small$workers" "$work/m.csv" --workers $workers
    same "$work/small$workers" "$work/whole"
done

echo "A store on a disk without room for anything: one process, two workers"
for workers in 1 2; do
    mkdir "$work/none$workers"
    mount -t tmpfs -o size=4k none "$work/none$workers"
    expect 1 1 "$work/none$workers" "$work/m.csv" --workers $workers
done

echo "A read-only store that is not finished: one process, two workers; one that is finished"
cp -r "$work/whole" "$work/half"
rm "$work"/half/shard-00000[345]*
mkdir "$work/frozen"
mount --bind "$work/half" "$work/frozen"
mount -o remount,bind,ro "$work/frozen"
before=$(state "$work/frozen")
expect 1 1 "$work/frozen" "$work/m.csv"
expect 1 1 "$work/frozen" "$work/m.csv" --workers 2
"$work/spade" merge "$work/frozen" -q 2>&1 | sed "s|$work/||g; s/^/        /"
unchanged "$work/frozen"
mkdir "$work/frozen2"
mount --bind "$work/whole" "$work/frozen2"
mount -o remount,bind,ro "$work/frozen2"
expect 0 0 "$work/frozen2" "$work/m.csv"

echo "Another configuration, another manifest (one more row; a label changed), another model, other values"
before=$(state "$work/half")
expect 2 1 "$work/half" "$work/m.csv" --seed 3
list 61 >"$work/longer.csv"
expect 2 1 "$work/half" "$work/longer.csv"
sed '7s/,.*/,8/' "$work/m.csv" >"$work/changed.csv"
expect 2 1 "$work/half" "$work/changed.csv"
cp "$model" "$work/other.onnx" && printf '\x32\x04note' >>"$work/other.onnx"
model_was=$model model=$work/other.onnx
expect 2 1 "$work/half" "$work/m.csv"
model=$model_was
expect 2 1 "$work/half" "$work/m.csv" --values png
unchanged "$work/half"

echo "A store.json that is damaged, and one that is gone while shards are there"
cp -r "$work/half" "$work/damaged"
head -c 100 "$work/half/store.json" >"$work/damaged/store.json"
before=$(state "$work/damaged")
expect 1 1 "$work/damaged" "$work/m.csv"
unchanged "$work/damaged"
rm "$work/damaged/store.json"
expect 0 0 "$work/damaged" "$work/m.csv"
same "$work/damaged" "$work/whole"

echo "Three runs on one store at once: each does all that is left"
for i in 1 2 3; do "$work/spade" annotate "$model" "$work/m.csv" -o "$work/shared" "${options[@]}" 2>>"$work/err3" & done
wait
sed 's/^/    /' "$work/err3"
same "$work/shared" "$work/whole"

echo "A second run with workers on the same store"
list 600 >"$work/long.csv"
"$work/spade" annotate "$model" "$work/long.csv" -o "$work/two" "${options[@]}" --workers 2 2>>"$work/err2" &
first=$!
until [ -e "$work/two/shard-000001.done.json" ]; do sleep 0.05; done
expect 1 1 "$work/two" "$work/long.csv" --workers 2
wait $first || fail "the first run"

# ---- the clock, set back by two days for one program

cat >"$work/back.c" <<'END'
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
enum { BACK = 2 * 86400 };
int clock_gettime(clockid_t clock, struct timespec *to)
{
    const long result = syscall(SYS_clock_gettime, clock, to);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) { to->tv_sec -= BACK; }
    return (int)result;
}
time_t time(time_t *to)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return to ? *to = now.tv_sec : now.tv_sec;
}
int gettimeofday(struct timeval *to, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return 0;
}
END
cc -shared -fPIC -O1 -o "$work/back.so" "$work/back.c" || exit 1

echo "A clock that was set back by two days, in the middle of a store: one process, two workers; a second run then"
for workers in 1 2; do
    "$work/spade" annotate "$model" "$work/m.csv" -o "$work/clock$workers" "${options[@]}" --workers $workers 2>>"$work/err" &
    until [ -e "$work/clock$workers/shard-000001.done.json" ]; do sleep 0.01; done
    kill -9 $! && wait $! 2>/dev/null
    LD_PRELOAD=$work/back.so expect 0 0 "$work/clock$workers" "$work/m.csv" --workers $workers
    grep -ho '"finished": *"[^"T]*' "$work/clock$workers"/*.done.json | sort | uniq -c | sed 's/^/    /'
    LD_PRELOAD=$work/back.so "$work/spade" status "$work/clock$workers" | sed "s|$work/||g; s/^/    /"
    same "$work/clock$workers" "$work/whole"
done 2>/dev/null
rm "$work"/two/shard-0000[3-5]*
"$work/spade" annotate "$model" "$work/long.csv" -o "$work/two" "${options[@]}" --workers 2 2>>"$work/err2" &
first=$!
until [ -n "$(find "$work/two" -name '*.part.*')" ]; do sleep 0.01; done
LD_PRELOAD=$work/back.so expect 1 1 "$work/two" "$work/long.csv" --workers 2
wait $first || fail "the first run"
echo "All as it must be"
