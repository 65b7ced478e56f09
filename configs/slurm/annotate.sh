#!/usr/bin/env bash
# A store filled by an array of Slurm tasks; each does the shards of its number (docs/store.md):
#   sbatch --array=0-7 configs/slurm/annotate.sh net.onnx pictures.csv store [options of spade annotate]
# The size of the array may differ from one submission to the next: what is done stays done.
#SBATCH --job-name=spade-annotate
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-task=1
#SBATCH --mem=16G
#SBATCH --time=4:00:00
# A task whose node is lost is queued again by itself, and its output is not written over.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=spade-annotate-%A_%a.log
# Three minutes before the time is over, spade is asked to end: it finishes the picture at hand and exits with 4.
#SBATCH --signal=TERM@180
set -euo pipefail

model=${1:?usage: annotate.sh MODEL MANIFEST STORE [options]}
manifest=${2:?usage: annotate.sh MODEL MANIFEST STORE [options]}
store=${3:?usage: annotate.sh MODEL MANIFEST STORE [options]}
shift 3

code=0
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${SPADE:-spade}" annotate "$model" "$manifest" -o "$store" \
    --threads "${SLURM_CPUS_PER_TASK:-1}" "$@" || code=$?

case $code in
    4 | 143) # stopped, or ended by the signal before it listened or by a second one: the rest is done when the task has its turn again
        scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
        ;;
    3) echo "annotate.sh: pictures failed; their names are above and in $store/shard-*.done.json" ;;
esac
[ "$code" = 3 ] || exit "$code"
