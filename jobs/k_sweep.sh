#!/bin/bash
# One SAE for each k, an array task each:  sbatch jobs/k_sweep.sh data=h5ad data.path=my.h5ad
# The first task extracts the activations, the others wait for it. Afterwards: biosae sweep experiment.number=k_sweep
#SBATCH --job-name=biosae-k
#SBATCH --array=0-4
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=02:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail
k=(8 16 32 64 128)
exec biosae train experiment.number=k_sweep sae.hyperparams.k="${k[SLURM_ARRAY_TASK_ID]}" "$@"
