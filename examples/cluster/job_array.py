"""One job of a Slurm array: `sbatch job_array.sh`, then `python duffing.py` for the whole."""

import os

import duffing

if __name__ == "__main__":
    part = int(os.environ["SLURM_ARRAY_TASK_ID"]), int(os.environ["SLURM_ARRAY_TASK_COUNT"])
    print(f"part {part[0]} of {part[1]}: {duffing.sweep(shard=part).computed} points")
