"""Many trajectories at once: the product of axes, mapped in chunks over all cores and devices."""
