"""Runs far from time 0: seconds since 1970 are 1.7e9, where float32 resolves 128 s and float64 2e-7 s."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

FAR = 1.7e9
NEAR = np.linspace(0, 4, 9)
Q0 = np.float32(1.0)
DT = 1 / 16
FREE = ji.System(ji.potentials.Duffing(), damping=0.1)


def driven(origin):
    return ji.System(ji.potentials.Duffing(), damping=0.1, force=lambda t: 0.3 * jnp.cos(1.3 * (t - origin)))


def sampled(origin):
    u = np.cos(1.3 * NEAR)
    return ji.System(ji.potentials.Duffing(), damping=0.1, force=ji.force.Sampled(NEAR + origin, u, 0.3))


TSIT5 = dict(solver=diffrax.Tsit5())
PID = dict(TSIT5, stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-4))
# float64 resolves FAR to 2.4e-7; forces of slope 0.4 over 4 units of time, and float32 roundings of 64 steps.
CLOSE = 4 * 4 * 0.4 * 2.4e-7 + 64 * 8 * 1.2e-7


@pytest.mark.parametrize(
    ("world", "options"), [(driven, {}), (sampled, {}), (driven, PID)], ids=["driven", "sampled", "driven PID"]
)
def test_a_float32_state_under_a_force_far_from_0(world, options):
    here, there = (ji.simulate(world(o), NEAR + o, Q0, dt=DT, **options) for o in (0.0, FAR))
    assert np.abs(here.position - there.position).max() < CLOSE
    assert np.array_equal(there.ts, NEAR + FAR)


def test_traced_times_far_from_0():
    run = jax.jit(lambda ts, o: ji.simulate(driven(o), ts, Q0, substeps=8).position)
    assert np.abs(run(NEAR, 0.0) - run(NEAR + FAR, FAR)).max() < CLOSE


PATHS = {
    "table": lambda o: ji.BrownianPath(o, o + 4.0, 6, like=Q0, key=jax.random.key(0)),
    "tree": lambda o: diffrax.VirtualBrownianTree(o, o + 4.0, 1 / 64, (), jax.random.key(0)),
}


@pytest.mark.parametrize("kind", ["table", pytest.param("tree", marks=pytest.mark.slow)])
def test_paths_far_from_0(kind):
    noisy, make = ji.System(ji.potentials.Duffing(), damping=0.1, noise=0.2), PATHS[kind]
    here, there = (ji.simulate(noisy, NEAR + o, Q0, substeps=8, path=make(o)) for o in (0.0, FAR))
    assert np.abs(here.position - there.position).max() < CLOSE


@pytest.mark.parametrize("options", [{}, PID], ids=["scan", "PID"])
def test_without_x64_an_autonomous_run_does_not_know_the_time(options, tmp_path):
    with jax.enable_x64(False):
        here, there = (ji.simulate(FREE, NEAR + o, Q0, dt=DT, **options) for o in (0.0, FAR))
        assert np.array_equal(here.position, there.position)
        assert there.position.dtype == np.float32
        assert np.array_equal(there.ts, NEAR + FAR)
        loaded = ji.Trajectory.load(there.save(tmp_path / "far"))
        assert loaded.ts.dtype == np.float64
        assert np.array_equal(loaded.ts, NEAR + FAR)


def test_without_x64_whoever_asks_for_the_time_is_refused():
    words = r"{} is told the time; count from the start.*enable x64"
    with jax.enable_x64(False):
        for options in ({}, TSIT5):
            with pytest.raises(ValueError, match=words.format("force")):
                ji.simulate(driven(FAR), NEAR + FAR, Q0, dt=DT, **options)
        event = diffrax.Event(lambda t, y, args, **kwargs: y.position + 5)
        with pytest.raises(ValueError, match=words.format("event")):
            ji.simulate(FREE, NEAR + FAR, Q0, dt=DT, event=event)
        noisy = ji.System(ji.potentials.Duffing(), damping=0.1, noise=0.2)
        path = ji.BrownianPath(FAR, FAR + 512.0, 6, like=Q0, key=jax.random.key(0))
        with pytest.raises(ValueError, match=words.format("path")):
            ji.simulate(noisy, [FAR, FAR + 512.0], Q0, substeps=64, path=path)
        with pytest.raises(ValueError, match=r"force ts reaches 1.7.*does not resolve its steps of 0.5"):
            sampled(FAR)


def test_times_that_even_float64_does_not_resolve():
    ts = 1e12 + np.array([0.0, 1e-3])
    with pytest.raises(ValueError, match="force is told the time; count from the start, as ts - ts"):
        ji.simulate(driven(0.0), ts, Q0, dt=1e-4)


def switched(origin):
    gamma = ji.damping.TimeVarying(lambda t: 0.1 * (1 + jnp.sin(t - origin)))
    return ji.System(ji.potentials.Duffing(), damping=gamma)


def breathing(origin):
    return ji.System(
        ji.potentials.TimeDependent(lambda q, t: 0.5 * q**2 * (1 + 0.3 * jnp.sin(t - origin))), damping=0.1
    )


WORDS = {word: dict(solver=ji.solvers.Splitting(word)) for word in ("BAOAB", "AFA")}


@pytest.mark.parametrize(
    ("world", "options"),
    [(switched, WORDS["BAOAB"]), (switched, WORDS["AFA"]), (breathing, WORDS["AFA"]), (breathing, TSIT5)],
    ids=["damping BAOAB", "damping AFA", "potential AFA", "potential Tsit5"],
)
def test_a_float32_state_whose_system_changes_with_a_time_far_from_0(world, options):
    here, there = (ji.simulate(world(o), NEAR + o, Q0, dt=DT, **options) for o in (0.0, FAR))
    exact = ji.simulate(world(0.0), NEAR, np.float64(Q0), dt=DT, **options)
    for traj in (here, there):
        assert traj.position.dtype == jnp.float32
        assert np.abs(traj.position - exact.position).max() < CLOSE
        assert np.abs(traj.balance.discretization - exact.balance.discretization).max() < CLOSE


def test_the_inertia_of_a_float32_state_at_a_time_far_from_0():
    system = breathing(FAR)
    expected = 0.5 * (1 + 0.3 * np.sin(1.0))
    assert abs(ji.inertia(system, Q0, t=FAR + 1) - expected) < 1e-6
    shadow = ji.modified_inertia(system, Q0, None, 0.0625, solver=ji.solvers.Splitting("BAOAB"), order=0, t=FAR + 1)
    assert abs(shadow - expected) < 1e-6
