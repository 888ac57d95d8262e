"""The first run: one program is compiled, and compiled sooner where numbers are few, which says the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

import jaxinertia as ji
from jaxinertia._compiler import at_top
from jaxinertia.dynamics.soon import FEW, is_short

OSCILLATOR = ji.System(ji.potentials.Duffing(), damping=0.1)


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
    """At times and of components that no other test has: what is done on the host is NumPy's."""
    ended(OSCILLATOR, np.ones(2), np.linspace(0, 1, 4))  # what is asked of the compiler once
    programs.clear()
    ji.simulate(OSCILLATOR, np.linspace(0, 1, 38), np.linspace(0, 1, 13), dt=0.1)
    assert programs == ["jit(_integrate)"]


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
