#!/bin/bash
# A supernet on several machines of a SLURM cluster, from the folder of this project:
#   sbatch --nodes 4 recipes/clusters/slurm_train.sh --config recipes/imagenet_nasnet.yaml \
#       --batch-size 32 --data-dir IMAGENET --output SHARED/imagenet_nasnet
# Whatever follows the script is for train_supernet.py. --output must be on a disk all nodes share.
#
# A process that dies is started again by torchrun with all others. A job that is preempted or out
# of time gets SIGTERM, saves, and goes back to the queue. Both continue from the last checkpoint.
#SBATCH --job-name=supernet-train
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

GPUS_PER_NODE=${SLURM_GPUS_ON_NODE:-8}
MAX_RESTARTS=${MAX_RESTARTS:-3}
MAX_REQUEUES=20
PORT=${RDZV_PORT:-29500}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1  # restarted ranks must not read addresses of before

status=0
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "$GPUS_PER_NODE" --max-restarts "$MAX_RESTARTS" \
    --rdzv-backend c10d --rdzv-endpoint "$first:$PORT" --rdzv-id "$SLURM_JOB_ID" \
    train_supernet.py "$@" --auto-resume || status=$?
if [ "$status" -ne 0 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$MAX_REQUEUES" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
