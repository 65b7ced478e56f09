#!/usr/bin/env bash
# A store filled by real Slurm on this machine, with configs/slurm/annotate.sh: slurmctld and two slurmd, each in a process namespace
# and under a host name of its own, in a folder of its own; an array of 8 tasks. Shown is that after
#   1. a node that is lost in mid-work with all that runs on it,
#   2. a node that is lost to Slurm while its tasks stand still, and go on when others have done their shards; and a time limit before which tasks
#      are asked to end, and queue themselves again,
# all shards are done, with the bytes of a run on one machine, and `spade merge` finds nothing. It needs root, and namespaces, but no cgroups.
#   scripts/slurm_test.sh [PICTURES]       160 pictures take about three minutes on two cores
set -euo pipefail
trap 'echo "slurm_test.sh: line $LINENO: $BASH_COMMAND: exit code $?" >&2' ERR
cd "$(dirname "$0")/.."

# ---- Slurm, and namespaces with which nothing is left running, whatever happens

install_slurm() {
    local policy=/usr/sbin/policy-rc.d own=no
    # the packages' services are not started: the daemons here have their own configuration
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && own=yes; }
    scripts/setup.sh --packages-only slurmctld slurmd slurm-client munge procps
    [ $own = no ] || rm -f $policy
}

if [ "${SPADE_SLURM_TEST:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "slurm_test.sh: needs root" >&2; exit 2; }
    [ -x build/spade ] || { echo "slurm_test.sh: build/spade is not built: scripts/setup.sh" >&2; exit 2; }
    install_slurm
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    SPADE_SLURM_TEST=inside unshare --mount --pid --fork --mount-proc --kill-child "$0" "$work" "${1:-160}"
    exit
fi

work=$1 pictures=$2
spade=$PWD/build/spade script=$PWD/configs/slurm/annotate.sh model=$PWD/tests/golden/data/models/scene_resnet.onnx
images=$PWD/tests/golden/data/images
export OMP_WAIT_POLICY=passive SLURM_CONF=$work/slurm.conf SPADE=$spade
started=$SECONDS

say() { printf '%4d s  %s\n' $((SECONDS - started)) "$*"; }

fail() {
    say "FAILED: $*"
    tail -n "${SPADE_LINES:-20}" "$work"/*.log >&2 || true
    exit 1
}

within() { # SECONDS WHAT COMMAND...: until it succeeds
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what did not come"
        sleep 0.1
    done
}

configure() {
    mkdir -p "$work/state" "$work/spool/n1" "$work/spool/n2"
    touch "$work/gpu0" "$work/gpu1" # the script asks for a GPU a task; these are counted and not used
    cat >"$SLURM_CONF" <<END
ClusterName=spade
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=26817
SlurmUser=root
AuthInfo=socket=$work/munge.socket,cred_expire=5 # a job of a lost node waits for as long; else 120
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool/%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd-%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides # the nodes are as big as it is said here
ReturnToService=2
SlurmdTimeout=5
SchedulerParameters=sched_interval=2,bf_interval=2
KillWait=2
MpiDefault=none
GresTypes=gpu
NodeName=n1 NodeAddr=127.0.0.1 Port=26818 CPUs=2 RealMemory=4000 Gres=gpu:2
NodeName=n2 NodeAddr=127.0.0.1 Port=26819 CPUs=2 RealMemory=4000 Gres=gpu:2
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
END
    echo "NodeName=n[1-2] Name=gpu File=$work/gpu[0-1]" >"$work/gres.conf"
    dd if=/dev/urandom of="$work/munge.key" bs=1024 count=1 status=none
    chmod 600 "$work/munge.key"
    munged --foreground --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munge.pid" \
        --seed-file="$work/munge.seed" --log-file="$work/munge.log" 2>"$work/munge.err.log" &
    within 10 "munge's socket" test -S "$work/munge.socket"
    slurmctld -D 2>"$work/slurmctld.err.log" &
}

declare -A node # the process whose death ends all that runs on the node
start_node() {
    # shellcheck disable=SC2016  # the inner shell's
    unshare --mount --pid --uts --fork --mount-proc --kill-child bash -c \
        'hostname "$1"; slurmd -D -N "$1"; exec sleep infinity' node "$1" 2>>"$work/slurmd-$1.err.log" &
    node[$1]=$!
    disown $! # nobody needs to be told that it was killed
}

running() { # JOB NODE: its tasks
    squeue -h -r -j "$1" -w "$2" -t R -o %K | sort -n | paste -sd' '
}

count() { # TEXT: lines that have it in what the tasks of the job said
    cat "$work"/spade-annotate-"$job"_*.log | grep -c "$1" || true
}

ended() { # PROCESS...
    local process
    for process in "$@"; do ! kill -0 "$process" || return 1; done
}

is_idle() { [ "$(sinfo -h -n "$1" -o %T)" = idle ]; }

# Both of the node's tasks have written rows of a shard.
at_work() { # STORE NODE
    [ "$(find "$1" -name "*.part.$2-*" -size +30k | wc -l)" = 2 ]
}

all_done() { # JOB
    [ -z "$(squeue -h -r -j "$1" 2>/dev/null)" ]
}

submit() { # STORE [OPTION...]: an array of 8
    sbatch --parsable --array=0-7 --chdir="$work" --cpus-per-task=1 --mem=1G "${@:2}" "$script" "$model" "$work/manifest.csv" "$1" \
        "${options[@]}"
}

compare() { # STORE: with that of one machine
    "$spade" merge "$1" | sed "s|$work/||g; s/^/        /"
    local tar left
    for tar in "$work"/one/*.tar; do cmp "$tar" "$1/${tar##*/}" || fail "bytes differ"; done
    [ "$(find "$1" -name '*.tar' | wc -l)" = "$(find "$work/one" -name '*.tar' | wc -l)" ] || fail "shards too many or too few"
    left=$(find "$1" -mindepth 1 ! -name '*.tar' ! -name '*.done.json' ! -name store.json ! -name index.sqlite )
    [ -z "$left" ] || fail "left over: $left"
    say "$(find "$1" -name '*.tar' | wc -l) shards, byte for byte those of one machine; nothing else is left in the store"
}

finish() { # JOB STORE TIMES: requeued at least; what Slurm says of the tasks, and whether the store is as it must be
    within 300 "the end of the array" all_done "$1"
    local states restarts
    states=$(scontrol show job "$1" | grep -o 'JobState=[A-Z_]*' | sort | uniq -c | tr -s ' \n' ' ')
    restarts=$(scontrol show job "$1" | grep -o 'Restarts=[0-9]*' | awk -F= '{ sum += $2 } END { print sum }')
    say "array of 8:$states, tasks requeued $restarts times"
    [ "$states" = " 8 JobState=COMPLETED " ] || fail "tasks ended otherwise"
    [ "$restarts" -ge "$3" ] || fail "tasks were not requeued $3 times"
    compare "$2"
}

# ---- the run on one machine

{
    echo image,label
    for ((i = 0; i < pictures; i++)); do printf '%s/scene%02d.png,%d\n' "$images" $((i % 12)) $((i % 9)); done
} >"$work/manifest.csv"
options=(--method smoothgrad:samples=128 --no-trace --resize 0 --shard-size 10 --device cpu --workers 1 -q)
"$spade" annotate "$model" "$work/manifest.csv" -o "$work/one" "${options[@]}" || fail "the run on one machine"
say "one machine: $pictures pictures"

configure
start_node n1
start_node n2
within 30 "node n1" is_idle n1
within 30 "node n2" is_idle n2
say "$(slurmctld -V): slurmctld, two slurmd, munge"

# ---- 1: a lost node

job=$(submit "$work/lost")
within 60 "work on n1" at_work "$work/lost" n1
say "tasks $(running "$job" n1) run on n1, which is killed with them in mid-work"
kill -9 "${node[n1]}"
within 10 "n1's end" ended "${node[n1]}"
[ -n "$(find "$work/lost" -name '*.part.n1-*')" ] || fail "n1 left no shard in the making"
finish "$job" "$work/lost" 2

# ---- 2: a node that Slurm loses sight of, and that wakes up when others have done its work; tasks whose time is up

start_node n1
within 30 "node n1" is_idle n1
job=$(submit "$work/unseen" --time=1 --signal=TERM@30)
within 60 "work on n1" at_work "$work/unseen" n1
within 60 "work on n2" at_work "$work/unseen" n2
mapfile -t asleep < <(pgrep --ns "$(pgrep -P "${node[n1]}")" --nslist pid -x spade)
kill -STOP "${asleep[@]}"
kill -9 "$(pgrep -P "$(pgrep -P "${node[n1]}")" -x slurmd)"
say "tasks $(running "$job" n1) run on n1; slurmd is killed there, and they stand still"
finish "$job" "$work/unseen" 3
say "before their time was over tasks finished the picture at hand $(count 'stops after the input') times, and were ended before they listened" \
    "$(count 'task 0: Terminated') times"
kill -CONT "${asleep[@]}"
say "the $(echo "${asleep[@]}" | wc -w) processes on n1 go on with what is done by now"
within 60 "their end" ended "${asleep[@]}"
compare "$work/unseen"
say "done"
