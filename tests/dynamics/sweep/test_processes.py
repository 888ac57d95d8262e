"""Devices and processes change who computes a point, not what it is."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.optimised

FOLDER = Path(__file__).parent
DEVICES = """
import jax, numpy as np, sys
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import jaxinertia as ji
def energy(gamma, q0, key):
    system = ji.System(ji.potentials.Duffing(), damping=gamma, noise=0.2)
    return ji.simulate(system, np.array([0.0, 2.0]), q0, dt=0.1, key=key).inertia[-1]
axes = {"gamma": np.linspace(0, 1, 20), "q0": np.linspace(-1, 1, 30)}
assert len(jax.devices()) == int(sys.argv[1])
np.save(sys.argv[2], ji.sweep(energy, axes, key=jax.random.key(0), chunk_size=100).values)
"""


def test_device_counts_agree_to_rounding(tmp_path):
    values = []
    for devices in (1, 2, 4):
        file = tmp_path / f"{devices}.npy"
        subprocess.run([sys.executable, "-c", DEVICES, str(devices), str(file)], check=True)
        values.append(np.load(file))
    # The same random bits; 20 steps round apart by a few units in the last place.
    np.testing.assert_allclose(values[1], values[0], rtol=1e-12)
    np.testing.assert_allclose(values[2], values[0], rtol=1e-12)


def test_two_processes_share_the_chunks_of_one_store(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    store = tmp_path / "run.zarr"
    command = [sys.executable, str(FOLDER / "process.py")]
    both = [
        subprocess.Popen([*command, str(rank), str(port), str(store)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    lines = [process.communicate(timeout=180)[0].splitlines()[-1].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [int(line[1]) for line in lines] == [600, 600]
    assert lines[0][2] == lines[1][2]
    file = tmp_path / "alone.npy"
    subprocess.run([sys.executable, "-c", DEVICES, "1", str(file)], check=True)
    alone = np.load(file)
    np.testing.assert_allclose(float(lines[0][2]), alone.sum(), rtol=1e-12)
    np.testing.assert_allclose(float(lines[0][3]), alone.mean(0).sum(), rtol=1e-12)
    np.testing.assert_allclose(float(lines[1][3]), alone.mean(0).sum(), rtol=1e-12)
