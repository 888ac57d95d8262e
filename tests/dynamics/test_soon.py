"""The first run: one program is compiled, and compiled sooner where numbers are few, which says the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

import jaxinertia as ji
from jaxinertia import _compiler
from jaxinertia._compiler import SOONER, at_top, compiled_under
from jaxinertia.dynamics.one_function import MOST, as_one_function
from jaxinertia.dynamics.soon import FEW, is_short
from jaxinertia.physics.system import prepare

OSCILLATOR = ji.System(ji.potentials.Duffing(), damping=0.1)
TURNED = [[2.0, 0.3], [0.3, 1.0]]


def ended(system, q, ts, **options):
    return ji.simulate(system, ts, q, dt=0.1, **options).position[-1]


@pytest.fixture
def programs():
    """The names of programs that XLA compiles."""
    found: list[str] = []

    def note(event, duration, **more):
        if event.endswith("backend_compile_duration"):
            found.append(more.get("fun_name", ""))

    monitoring.register_event_duration_secs_listener(note)
    yield found
    monitoring.unregister_event_duration_listener(note)


def test_a_first_run_compiles_one_program(programs):
    """At times and of components that no other test has: what is done on the host is NumPy's, and I is of the run."""
    ended(OSCILLATOR, np.ones(2), np.linspace(0, 1, 4))  # after which the compiler's options are known
    programs.clear()
    traj = ji.simulate(OSCILLATOR, np.linspace(0, 1, 38), np.linspace(0, 1, 13), dt=0.1)
    inertia = traj.inertia
    assert programs == ["jit(_integrate)"]
    assert np.array_equal(inertia, np.asarray(traj.kinetic) + np.asarray(traj.potential))


def test_options_that_the_compiler_does_not_know_are_left_out(monkeypatch):
    """Once refused they are not offered again; an error that is not about them is raised."""
    monkeypatch.setattr(_compiler, "_refused", set())
    calls = []

    def double(x):
        calls.append(x)
        return 2 * x

    unknown = (("xla_of_a_later_release", True),)
    fn = compiled_under(unknown, double)
    assert fn(3.0) == 6.0
    assert _compiler._refused == {unknown[0][0]}
    traced = len(calls)
    assert fn(jnp.asarray(4.0)) == 8.0
    assert fn(jnp.asarray(5.0)) == 10.0
    assert len(calls) == traced + 1  # of another type, by the program without options alone

    def fails(x):
        raise jax.errors.JaxRuntimeError("out of memory")

    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        compiled_under(SOONER, fails)(jnp.ones(()))
    assert _compiler._refused == {unknown[0][0]}


def lowered(fn, *args):
    return jax.jit(as_one_function(fn)).lower(*args).as_text()


def test_a_program_becomes_one_function_where_xla_can_make_one():
    """What calls a library, sorts or scatters, and what holds a long array, stays as it is."""
    many = jnp.ones(MOST + 1)

    def loop(x):
        return jax.lax.fori_loop(0, 9, lambda i, x: jnp.where(x > 2, x / 2, jnp.sin(x) + i), x), {"two": 2}

    few = jnp.ones(3)
    assert 'xla_cpu_small_call = "true"' in lowered(lambda x: loop(x)[0], few)
    for other in (jnp.sort, lambda x: x.at[jnp.asarray([0, 0])].add(1.0), lambda x: jnp.linalg.cholesky(jnp.eye(3))):
        assert "xla_cpu_small_call" not in lowered(other, few)
    assert "xla_cpu_small_call" not in lowered(jnp.sin, many)
    (found, rest), (expected, _) = as_one_function(loop)(few), loop(few)
    assert np.array_equal(found, expected)
    assert rest == {"two": 2}


@pytest.mark.optimised
def test_arguments_that_turn_out_not_to_be_read_compile_as_one_function():
    """XLA ends the process where such an argument is left."""
    unread = as_one_function(lambda x, y: 2 * x + jax.lax.select_n(True, y, jnp.ones_like(y)))
    assert np.array_equal(jax.jit(unread)(jnp.ones(3), jnp.zeros(3)), 3 * np.ones(3))
    assert 'xla_cpu_small_call = "true"' in jax.jit(unread).lower(jnp.ones(3), jnp.zeros(3)).as_text()


def test_runs_are_short_where_every_array_is_small():
    data = jnp.ones(FEW + 1)
    hidden = ji.System(lambda q: jnp.sum(data * q**2))
    assert is_short(OSCILLATOR, jnp.ones(FEW), jnp.zeros(()))
    assert not is_short(OSCILLATOR, jnp.ones(FEW + 1), jnp.zeros(()))
    assert not is_short(hidden, jnp.ones(()), jnp.zeros(()))


def test_nothing_is_compiled_by_itself_inside_a_transformation():
    """JAX refuses options of the compiler there, also where only a function has closed over what is traced."""
    seen = []

    def look(x):
        seen.append(at_top() or is_short(OSCILLATOR, jnp.ones(()), jnp.zeros(())))
        return x

    jax.jit(look)(1.0)
    jax.vmap(look)(jnp.ones(2))
    jax.grad(look)(1.0)
    assert seen == [False] * 3
    assert at_top()


def test_a_gradient_by_what_a_potential_has_closed_over():
    ts = np.linspace(0, 1, 3)

    def end(k):
        return ended(ji.System(lambda q: k * q**2 / 2, 0.1), 1.0, ts)

    k = jnp.asarray(2.0)
    by_leaf = jax.grad(lambda k: ended(ji.System(ji.potentials.Quadratic(k), 0.1), 1.0, ts))(k)
    np.testing.assert_allclose(jax.grad(end)(k), by_leaf, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(end)(k[None])[0], end(k), rtol=1e-14)


@pytest.mark.optimised
def test_sooner_is_the_same_to_the_last_bit():
    """As in a jit of one's own, where the compiler is left as it is."""
    ts = np.linspace(0, 3, 7)
    for system in (OSCILLATOR, ji.System(ji.potentials.Pendulum(1.3), damping=0.2)):
        alone, inside = ended(system, 1.0, ts), jax.jit(lambda q, s=system: ended(s, q, ts))(1.0)
        assert alone == inside


@pytest.mark.optimised
@pytest.mark.parametrize("noise", [None, 0.3])
def test_one_function_is_the_same_to_the_last_bit(noise):
    ts, key = np.linspace(0, 3, 7), None if noise is None else jax.random.key(0)
    system = ji.System(ji.potentials.Pendulum(1.3), damping=0.2, noise=noise)

    def run(q):
        traj = ji.simulate(system, ts, q, dt=0.1, key=key)
        return traj.position, traj.momentum, traj.kinetic, traj.potential, traj.balance.friction, traj.balance.noise

    one, apart = (compiled_under(SOONER, fn)(jnp.asarray(1.0)) for fn in (as_one_function(run), run))
    jax.tree.map(np.testing.assert_array_equal, one, apart)


@pytest.mark.parametrize(
    "parts",
    [
        lambda: {"noise": 0.1, "force": lambda t: jnp.stack([jnp.cos(t), t])},
        lambda: {"noise": ji.noise.White([0.1, 0.2]), "damping": ji.damping.Drag([0.1, 0.2], 0.1, 0.1)},
        lambda: {"noise": ji.noise.White(TURNED), "damping": ji.damping.Linear(TURNED)},
        lambda: {"noise": ji.noise.Colored(0.1, 2.0), "damping": ji.damping.PowerLaw(0.1, 1.5)},
        lambda: {"damping": ji.damping.Linear(TURNED, gyroscopic=[[0.0, 1.0], [-1.0, 0.0]])},
        lambda: {"kinetic": ji.kinetic.Relativistic(3.0), "damping": ji.damping.nesterov(3.0)},
        lambda: {"kinetic": ji.kinetic.PowerLaw(1.5), "damping": ji.damping.CurvatureAware(0.5)},
        lambda: {"kinetic": ji.kinetic.Mass(TURNED), "damping": ji.damping.Momentum(0.1)},
    ],
)
def test_checks_of_what_is_known_compile_nothing(programs, parts):
    system = ji.System(ji.potentials.Quadratic(), **parts())
    prepare(system, np.ones(2), None)
    assert set(programs) <= {"jit(inv)"}  # of a mass, which is a number of the run
