#!/bin/bash
# One SAE for each layer:  sbatch --array=0-11 jobs/layer_sweep.sh scfm=geneformer-v2 scfm.model_dir=... data=h5ad ...
# One task can do all: biosae train sae.target_layer=[0,1,2,3] runs the model once and trains one layer after the other.
# With buffer.also_layers=[0,1,2,3] the first task stores all four in one pass, and the others wait for it and read them.
# Afterwards: biosae sweep experiment.number=layer_sweep
#SBATCH --job-name=biosae-layer
#SBATCH --array=0-3
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=02:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail
exec biosae train experiment.number=layer_sweep sae.target_layer="$SLURM_ARRAY_TASK_ID" "$@"
