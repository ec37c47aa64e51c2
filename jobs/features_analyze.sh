#!/bin/bash
# Features and scores of a trained SAE:  sbatch jobs/features_analyze.sh experiment.number=7
#SBATCH --job-name=biosae-scores
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=04:00:00
set -euo pipefail
biosae features "$@"
biosae analyze "$@"
biosae report "$@"
