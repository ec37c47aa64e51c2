#!/bin/bash
# Train, encode, score and report in one job:  sbatch jobs/train.sh data=h5ad data.path=my.h5ad
# A job that hits its limit or is preempted writes a checkpoint at SIGTERM; submitted again it continues.
#SBATCH --job-name=biosae
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail
exec biosae run "$@"
