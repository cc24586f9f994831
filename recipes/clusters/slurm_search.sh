#!/bin/bash
# A search on a Ray cluster of several machines of a SLURM cluster, from the folder of this project:
#   sbatch --nodes 8 recipes/clusters/slurm_search.sh --supernet SHARED/imagenet_nasnet/last.pt \
#       --algorithm weaknas --num-trials 1000 --batch-size 100 --output SHARED/search
# Whatever follows the script is for search.py. Every node needs this project and its extra ray.
#
# A node that dies costs the candidates it was measuring, which others measure again. A job that is
# preempted or out of time goes back to the queue, and its search continues from its trials.
#SBATCH --job-name=supernet-search
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --no-kill
set -euo pipefail

MAX_REQUEUES=20
PORT=${RAY_PORT:-6379}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
cluster="${nodes[0]}:$PORT"

srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" \
    ray start --head --port="$PORT" --block &
until ray status --address "$cluster" > /dev/null 2>&1; do sleep 1; done
for node in "${nodes[@]:1}"; do
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" ray start --address="$cluster" --block &
done

python search.py "$@" --ray "$cluster" &
search=$!
is_stopped=false
trap 'is_stopped=true; kill -TERM "$search"' TERM
status=0
wait "$search" || status=$?
if $is_stopped; then  # what ended was the first wait
    status=0
    wait "$search" || status=$?
fi
if $is_stopped && [ "$status" -ne 0 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$MAX_REQUEUES" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
