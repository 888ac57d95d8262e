"""The benchmark of GPUs, as far as it runs without one."""

import numpy as np
import pytest

from benchmarks import gpu


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu.CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_methods_measure_the_same_motion(name, dtype):
    found = {method: call() for method, call in gpu.methods(name, dtype, gpu.SMALL, steps=20).items()}
    assert {"kernel", "plain loop", "ji.sweep"} <= set(found)
    for method, (ms, ends) in found.items():
        assert ms > 0
        assert ends.shape == (gpu.SMALL,)
        if name != "Langevin" or method == "plain loop":
            gpu._check(method, name, dtype, ends, found["kernel"][1])
    with pytest.raises(RuntimeError, match="mean energy"):
        gpu._check("kernel", name, dtype, 1.1 * found["kernel"][1], found["kernel"][1])


def test_without_a_gpu_it_says_so():
    with pytest.raises(SystemExit, match="JAX finds no GPU here"):
        gpu.main()


def test_every_case_has_a_floor():
    assert set(gpu.LEAST) == set(gpu.CASES)
    assert np.all(np.diff(gpu.POINTS) < 0)  # the largest come first: time may run out
