"""Memory of reverse mode against the number of steps."""

import jax
import numpy as np

import jaxinertia as ji

from .timing import write_table

STEPS = (10**3, 10**4, 10**5, 10**6)


def temporary_bytes(steps: int) -> int:
    """What XLA allots for the gradient of a final position with respect to gamma."""

    def final(gamma):
        system = ji.System(ji.potentials.Duffing(), damping=gamma)
        return ji.simulate(system, np.array([0.0, 0.01 * steps]), 1.0, dt=0.01).position[-1]

    return jax.jit(jax.grad(final)).lower(0.1).compile().memory_analysis().temp_size_in_bytes


def main() -> None:
    """The table, and the exponent of growth."""
    sizes = [temporary_bytes(n) for n in STEPS]
    power = np.polyfit(np.log(STEPS), np.log(sizes), 1)[0]
    write_table(
        "reverse_memory",
        "Reverse mode: memory against steps",
        f"One Duffing trajectory, BAOAB, float64: the gradient of the final position with respect to gamma. "
        f"Grows as steps^{power:.2f}.",
        ["steps", "kB"],
        [[f"{n:,}", size / 1e3] for n, size in zip(STEPS, sizes, strict=True)],
    )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
