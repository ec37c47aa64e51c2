#!/bin/bash
# Steering, its integration benchmark and the report:  sbatch jobs/steer_benchmark.sh experiment.number=7
#SBATCH --job-name=biosae-steer
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=04:00:00
set -euo pipefail
biosae steer "$@"
biosae benchmark "$@"
biosae report "$@"
