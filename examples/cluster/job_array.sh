#!/bin/bash
#SBATCH --job-name=duffing
#SBATCH --array=0-15
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00
#SBATCH --requeue

# One of 16 jobs that know nothing of each other. When all have ended, `python duffing.py` shows the whole; it, and the
# same array again, compute what failed or killed jobs left. PBS: `#PBS -J 0-15`, and PBS_ARRAY_INDEX and 16 instead of
# Slurm's variables.
python job_array.py
