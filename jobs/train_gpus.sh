#!/bin/bash
# Train one SAE with all GPUs of a node:  sbatch jobs/train_gpus.sh data=h5ad data.path=my.h5ad training.batch_size=16384
# Then encode with them all, and score with one. srun hands SIGTERM on to torchrun. Requeued, the job continues, and an SAE that
# is trained is not trained again.
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
root=runs shared=(experiment.number="gpus-$SLURM_JOB_ID")
for word in "$@"; do
    case $word in experiment.root=*) root=${word#*=} ;; esac
    case $word in experiment.root=* | buffer.*=*) shared+=("$word") ;; esac # later stages read what training stored
done
if ! compgen -G "$root/gpus-$SLURM_JOB_ID/*/run.json" > /dev/null; then
    "${processes[@]}" train "$@" experiment.number="gpus-$SLURM_JOB_ID"
fi
"${processes[@]}" features "${shared[@]}"
biosae analyze "${shared[@]}"
biosae report "${shared[@]}"
