"""The loop over rows as one CUDA kernel: a trajectory a thread, its state in registers."""
