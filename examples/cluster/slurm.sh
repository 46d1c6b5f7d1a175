#!/bin/bash
# Train on one machine, or with `sbatch --nodes 4` on several; the arguments are those of `resmlp train`:
#   sbatch examples/cluster/slurm.sh imagenet-s12 --data.root /data/imagenet --out runs/imagenet-s12
# Five minutes before its time is over the run saves a checkpoint, and Slurm starts the same job again, which continues.
# The data and the run folder are on a file system that all machines share.
#SBATCH --job-name=resmlp
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=112
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=resmlp-%j.log

set -euo pipefail

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=1

save_and_requeue() {
    trap '' USR1
    scancel --signal=TERM "$SLURM_JOB_ID.0" # torchrun passes it to its processes, which save once, together
    wait "$step" || true                    # torchrun ends with 1 after a signal
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap save_and_requeue USR1

srun --kill-on-bad-exit=1 torchrun \
    --nnodes="$SLURM_JOB_NUM_NODES" \
    --nproc-per-node="$SLURM_GPUS_ON_NODE" \
    --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="$first:29500" \
    --max-restarts=3 \
    -m resmlp train "$@" &
step=$!
wait "$step"
