"""Run by `make dist` in a clean environment, away from the checkout: what was installed works, and says what it lacks.

python installed.py [io]
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import jaxinertia as ji

EXTRA = ("pandas", "sklearn", "xarray", "zarr")


def main(with_io: bool) -> None:
    """AssertionError where something is not as promised."""
    root = Path(ji.__file__).parent
    assert "site-packages" in root.parts, f"{root} is not what was installed"
    assert (root / "py.typed").is_file(), "type checkers need py.typed"
    assert [bool(importlib.util.find_spec(name)) for name in EXTRA] == [with_io] * len(EXTRA)

    traj = ji.simulate(ji.System(ji.potentials.Quadratic(), damping=0.2), np.linspace(0, 10, 51), 1.0, dt=0.1)
    assert abs(traj.balance.total[-1] - (traj.inertia[-1] - traj.inertia[0])) < 1e-5
    result = ji.fit(ji.System(ji.potentials.Quadratic()), ji.Observations(traj.ts, np.asarray(traj.position)))
    assert abs(float(result.system.damping.gamma) - 0.2) < 0.01, result.system
    assert ji.plots.energy(traj).lines
    assert ji.training.to_physical(0.01, 0.9).gamma > 1

    commands = Path(sys.executable).parent
    said = subprocess.run([commands / "jaxinertia", "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["jaxinertia", ji.__version__], said
    doctor = subprocess.run([commands / "jaxinertia", "doctor"], capture_output=True, text=True, check=True).stdout
    assert ("not installed" in doctor) != with_io, doctor

    refused = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            runs = ji.sweep(lambda gamma: 2 * gamma, {"gamma": [0.1, 0.2]}, store=Path(folder) / "run.zarr")
            assert runs.to_xarray().gamma.size == 2
        except ValueError as error:
            refused = str(error)
    assert (refused is None) == with_io, refused
    assert refused is None or "jaxinertia[io]" in refused, refused
    print(f"jaxinertia {ji.__version__} {'with' if with_io else 'without'} [io]: works")


if __name__ == "__main__":
    main("io" in sys.argv[1:])
