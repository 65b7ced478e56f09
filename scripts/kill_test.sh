#!/usr/bin/env bash
# Kills annotate's processes, parent or worker, with SIGKILL at random moments while they fill a store, until there were enough kills;
# then every picture must be in the store once, the checks of `spade merge` must find nothing, no other file may be left, and all shards
# must have the bytes of a run that nobody disturbed.
#   scripts/kill_test.sh [KILLS [PICTURES [SEED]]]     200 kills over 600 pictures take about five minutes on two cores
set -uo pipefail
cd "$(dirname "$0")/.."
kills=${1:-200} pictures=${2:-600} RANDOM=${3:-1}
spade=$PWD/build/spade model=$PWD/tests/golden/data/models/scene_resnet.onnx images=$PWD/tests/golden/data/images
export OMP_WAIT_POLICY=passive
exec 3>&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

{
    echo image,label
    for ((i = 0; i < pictures; i++)); do printf '%s/scene%02d.png,%d\n' "$images" $((i % 12)) $((i % 9)); done
} >"$work/manifest.csv"
options=(--method saliency --no-trace --resize 0 --shard-size 25 --threads 2 --workers 1 -q)

"$spade" annotate "$model" "$work/manifest.csv" -o "$work/whole" "${options[@]}" || exit 1

killed=0 parents=0 rounds=0 code=1
while [ "$killed" -lt "$kills" ] || [ "$code" -ne 0 ]; do
    "$spade" annotate "$model" "$work/manifest.csv" -o "$work/store" "${options[@]}" --workers 2 2>>"$work/err" &
    parent=$!
    while [ "$killed" -lt "$kills" ] && kill -0 $parent 2>/dev/null; do
        sleep "0.$(printf %03d $((RANDOM % 300 + 20)))"
        mapfile -t workers < <(pgrep -P $parent)
        victim=$parent
        [ $((RANDOM % 3)) -eq 0 ] || victim=${workers[$((RANDOM % 2))]:-$parent}
        kill -9 "$victim" 2>/dev/null && killed=$((killed + 1))
    done
    wait $parent 2>/dev/null
    code=$?
    case $code in
        0) ;;
        137) parents=$((parents + 1)) ;; # killed
        *) echo "kill_test.sh: annotate ended with $code:" >&3; tail -3 "$work/err" >&3; exit 1 ;;
    esac
    # Done before there were enough kills: what is there is compared, and some of it is to be made once more.
    if [ $code -eq 0 ]; then
        rounds=$((rounds + 1))
        "$spade" merge "$work/store" -q 2>&3 || exit 1
        for tar in "$work"/whole/*.tar; do cmp "$tar" "$work/store/${tar##*/}" || exit 1; done
        left=$(find "$work/store" -mindepth 1 ! -name '*.tar' ! -name '*.done.json' ! -name store.json ! -name 'ledger.sqlite*' \
            ! -name index.sqlite)
        [ -z "$left" ] || { echo "kill_test.sh: left over: $left" >&3; exit 1; }
        [ "$killed" -ge "$kills" ] || rm -f "$work"/store/shard-00000*
    fi
done 2>/dev/null # the shell tells of every process that was killed
rows=$("$spade" merge "$work/store" --json) || exit 1
echo "$killed kills ($parents of the parent), $rounds times to the end: $rows" | sed "s|$work/||g"
