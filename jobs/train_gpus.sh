#!/bin/bash
# Train one SAE with all GPUs of a node:  sbatch jobs/train_gpus.sh data=h5ad data.path=my.h5ad training.batch_size=16384
# Then encode with them all, and score with one. srun hands SIGTERM on to torchrun; requeued, the job continues.
#SBATCH --job-name=biosae-gpus
#SBATCH --nodes=1
#SBATCH --gpus=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=512G
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail
processes=(srun --ntasks=1 torchrun --standalone --nproc-per-node="$SLURM_GPUS_ON_NODE" -m biosae)
number="gpus-$SLURM_JOB_ID"
"${processes[@]}" train experiment.number="$number" "$@"
"${processes[@]}" features experiment.number="$number"
biosae analyze experiment.number="$number"
biosae report experiment.number="$number"
