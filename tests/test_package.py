"""What importing the package does, and does not do; and what it promises to have."""

import subprocess
import sys
from pathlib import Path

import jaxinertia as ji

FUNCTIONS = (
    "System",
    "simulate",
    "Trajectory",
    "Balance",
    "inertia",
    "modified_inertia",
    "shadow_inertia",
    "noether",
    "Charge",
    "ensemble",
    "explain",
    "Ensemble",
    "BrownianPath",
    "modes",
    "Modes",
)
MEMBERS = {
    "potentials": "Quadratic Duffing DoubleWell Pendulum Rosenbrock Himmelblau Loss",
    "damping": "Linear",
    "noise": "White Colored thermal",
    "kinetic": "Euclidean AbstractKinetic",
    "solvers": "Splitting yoshida4 suzuki4 kahan_li6 terms initial Phase",
    "analytic": "quadratic damped_invariant mean_inertia decay_rate linear_sde oscillator_law stationary "
    "inertia_moments colored_power modified_loss heavy_ball_variance heavy_ball_edge nesterov_edge diagonal_laws "
    "nesterov_lyapunov",
    "generators": "momentum angular_momentum rotation rescaling",
    "fluctuations": "rolling_variance temperature detect Alarm",
    "plots": "energy phase_portrait decay_rates landscape discrete heat_map basins training accounts modes "
    "stabilization fit",
    "training": "to_physical to_optax as_optimizer monitor readout velocity scalars postfix history History diagnose "
    "instability stall underdamping quality_factor damped_invariant rotation_charges energy_conserving_descent "
    "energy_restart relativistic_heavy_ball inertia_controlled inertia_penalty",
}


def python(program):
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_citation_has_this_version():
    """The version's one place is the package; what cannot read it there must agree."""
    citation = (Path(__file__).parents[1] / "CITATION.cff").read_text()
    assert f"\nversion: {ji.__version__}\n" in citation


def test_import_loads_neither_matplotlib_nor_optax():
    """And fits load little of SciPy, most of which takes longer to import than they take."""
    heavy = ("matplotlib", "optax", "typer", "sklearn", "xarray", "pandas")
    parts = [f"scipy.{part}" for part in ("stats", "signal", "optimize", "integrate", "interpolate")]
    loaded = "print(*[m for m in {!r} if m in sys.modules])"
    program = f"import sys, jaxinertia as ji; {loaded.format(heavy)}; ji.fit; {loaded.format(parts)}"
    assert python(program) == []


def test_import_does_not_change_jax():
    program = (
        "import jax; before = dict(jax.config.values); import jaxinertia; print(before == dict(jax.config.values))"
    )
    assert python(program) == ["True"]


def test_plots_load_on_first_use():
    assert python("import sys, jaxinertia as ji; ji.plots; print('matplotlib' in sys.modules)") == ["True"]


def test_public_names_are_there():
    assert {*FUNCTIONS, *MEMBERS, "Ensemble", "BrownianPath"} <= set(dir(ji))
    for name, members in MEMBERS.items():
        module = getattr(ji, name)
        assert [member for member in members.split() if not hasattr(module, member)] == []


def test_dir_shows_what_is_offered_and_no_imports():
    program = "import sys, jaxinertia as ji; print(*dir(ji), 'matplotlib' in sys.modules)"
    *names, loaded = python(program)
    assert loaded == "False"
    assert not {"importlib", "Any", "TYPE_CHECKING", "dynamics", "physics"} & set(names)
    for name, members in MEMBERS.items():
        shown = dir(getattr(ji, name))
        assert set(members.split()) <= set(shown)
        assert not {"Any", "jax", "jnp", "np", "offered", "annotations"} & set(shown)


def test_without_x64_all_is_float32_and_no_warning_is_raised():
    """As most users run it: noise, adaptive steps, uneven times, closed forms, gradients; -W error.

    All but `Trajectory.ts`, which stay NumPy's float64, as they were given.
    """
    program = """
import diffrax, jax, jax.numpy as jnp, numpy as np, jaxinertia as ji
system = ji.System(ji.potentials.Duffing(), damping=np.float64(0.3), noise=0.2, force=jnp.cos)
uneven = np.array([0.0, 0.1, 0.35, 1.0])
key = jax.random.key(0)
runs = [ji.simulate(system, ts, np.ones(2), dt=0.01, key=key) for ts in (np.linspace(0, 1, 5), uneven)]
calm = system.without_noise()
runs.append(ji.simulate(calm, uneven, np.ones(2), substeps=7))
controller = diffrax.PIDController(rtol=1e-4, atol=1e-4)
runs.append(ji.simulate(calm, uneven, np.ones(2), solver=diffrax.Tsit5(), stepsize_controller=controller))
runs.append(ji.simulate(system, uneven, np.ones(2), dt=0.01, solver=diffrax.ShARK(), key=key))
coupled = ji.System(ji.potentials.Pendulum(), [[1, 0.5], [0.5, 1]], 0.1)
runs.append(ji.simulate(coupled, uneven, np.ones(2), dt=0.01, key=key))
late = lambda gamma: ji.simulate(ji.System(ji.potentials.Duffing(), gamma), uneven, 1.0, dt=0.01).inertia[-1]
runs.append(jax.grad(late)(0.0))
runs.append(ji.analytic.quadratic(uneven, 1.0, 0.0, 1.0, 2.0))
runs.append(ji.analytic.mean_inertia(uneven, 1.0, 0.0, 1.0, 0.0, 0.3))
runs.append(ji.modified_inertia(calm, 1.0, 0.5, 0.1, solver="OBA"))
runs.append(ji.shadow_inertia(ji.System(ji.potentials.Duffing()), 1.0, 0.5, 0.1, solver="BAB", steps=20)[1])
assert all(isinstance(x.ts, np.ndarray) for x in runs if isinstance(x, ji.Trajectory))
print(*{str(leaf.dtype) for leaf in jax.tree.leaves(runs) if isinstance(leaf, jax.Array)})
assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((runs[:4], runs[5:])))
"""
    assert python(program) == ["float32"]
