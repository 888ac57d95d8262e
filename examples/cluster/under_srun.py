"""Processes that belong together, as `srun` starts them: `sbatch under_srun.sh`.

Each computes its share, all have the whole, and if one fails the others end with its reason. JAX reads from Slurm which
process this is; elsewhere pass jax.distributed.initialize(address, processes, number).
"""

import duffing
import jax

if __name__ == "__main__":
    jax.distributed.initialize()
    runs = duffing.sweep(progress=True)  # the first process shows the bar, of all points
    if jax.process_index() == 0:
        print(runs.summary())
