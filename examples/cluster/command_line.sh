#!/bin/bash
#SBATCH --job-name=duffing
#SBATCH --array=0-15
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00

# The same without Python: Slurm tells the command which of how many parts it is. PBS: `#PBS -J 0-15`, and `--shard /16`.
# The whole, when all have ended: jaxinertia sweep duffing.toml --shard 0/1 --figure duffing.png
jaxinertia sweep duffing.toml
