#!/bin/bash
# Batch inference by an array of jobs that share the work; the arguments are those of `resmlp predict`:
#   sbatch --array=0-15 examples/cluster/slurm-predict.sh MODEL /data/images --out predictions.parquet
# The jobs need not run at the same time. A job that fails or is stopped is started again alone, and continues.
#SBATCH --job-name=resmlp-predict
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=14
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=resmlp-predict-%A-%a.log

set -euo pipefail

export OMP_NUM_THREADS=1
export RANK=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))
export WORLD_SIZE=$SLURM_ARRAY_TASK_COUNT

resmlp predict "$@" --workers 13
