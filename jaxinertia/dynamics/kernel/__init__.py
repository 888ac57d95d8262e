"""The loop over rows as one CUDA kernel: a trajectory a thread, its state in registers.

To be read in this order: `wish`, whether there is to be one; `program`, what a thread does, in no machine's language;
`moves`, `arithmetic` and `components`, how a step's jaxpr becomes such a program, number by number; `layout`, what a
thread reads and stores around it; `together`, several trajectories in one thread; `cuda`, the program as text;
`launch`, the text compiled, and called by XLA.
"""
