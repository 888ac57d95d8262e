#!/bin/bash
#SBATCH --job-name=duffing
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00

# Killed by the time limit or by a node's failure, it goes on from there when submitted again, with any number of nodes.
srun python under_srun.py
