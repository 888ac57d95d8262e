"""Losses as the laws they are, weights by hand, and SciPy's likeliest parameters of a record with spikes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.optimize import least_squares, minimize

import jaxinertia as ji
from jaxinertia.inference import doubts, free_leaves, weights
from jaxinertia.inference import evidence as errors
from jaxinertia.inference import loss as losses
from jaxinertia.inference.record import on_one_grid

from .records import damped

P = ji.potentials
TS = 0.1 * np.arange(200)
STIFFNESS, GAMMA = 9.01, 0.2
Y = damped(TS, STIFFNESS, GAMMA)
LAWS = {"squares": losses.SQUARES, "soft_l1": losses.SoftL1(), "student": losses.Student(jnp.asarray(3.0))}
EVEN = ji.System(P.Quadratic())


def both(s):
    return s.damping.gamma, s.potential.stiffness


def spiky(rng, share=0.03, size=0.5):
    """Normal errors of 0.02, and a share of spikes."""
    far = rng.random(len(TS)) < share
    return Y + np.where(far, size, 0.02) * rng.normal(size=len(TS))


@pytest.mark.parametrize("name", LAWS)
def test_a_loss_is_minus_the_log_of_a_law(name):
    law = LAWS[name]

    def density(z):
        return float(np.exp(-law.cost(np.asarray(z), np) - law.normaliser()) / np.sqrt(2 * np.pi))

    assert 2 * integrate.quad(density, 0, np.inf, epsabs=1e-12)[0] == pytest.approx(1, abs=1e-9)
    z = jnp.array([-30.0, -1.3, 0.2, 4.0])
    np.testing.assert_allclose(law.pull(z), jax.vmap(jax.grad(law.cost))(z), rtol=1e-12)
    np.testing.assert_allclose(law.stiffness(z), jax.vmap(jax.grad(law.pull))(z), rtol=1e-12)
    exact = {"student": lambda x: stats.t.pdf(x, 3.0), "squares": stats.norm.pdf}
    if name in exact:
        assert density(1.7) == pytest.approx(exact[name](1.7), rel=1e-13)


def test_soft_l1_has_the_scale_of_normal_scatter():
    mean = integrate.quad(lambda z: z * LAWS["soft_l1"].pull(z) * stats.norm.pdf(z), -np.inf, np.inf, epsabs=1e-13)
    assert mean[0] == pytest.approx(1, abs=1e-12)


def students(p, ts, y):
    """Twice Student's -log likelihood of (gamma, stiffness, q, p, log scale, log nu), and the residuals."""
    z = (damped(ts, p[1], p[0], p[2], p[3]) - y) / np.exp(p[4])
    return -2 * np.sum(stats.t.logpdf(z, np.exp(p[5])) - p[4]), z


def test_student_finds_the_likeliest_of_all_its_numbers_and_hubers_errors():
    """SciPy's greatest likelihood over motion, scale and degrees of freedom; <psi^2> / <psi'>^2 (J^T J)^-1."""
    y = spiky(np.random.default_rng(3))
    data = ji.Observations(TS, y)
    result = ji.fit(EVEN, data, both, loss="student")
    start = [GAMMA, STIFFNESS, 1.0, 0.0, np.log(0.02), np.log(3.0)]
    peer = minimize(lambda p: students(p, TS, y)[0], start, method="BFGS", options={"gtol": 1e-6})
    peer = minimize(lambda p: students(p, TS, y)[0], peer.x, method="Nelder-Mead", options={"xatol": 1e-9})
    error = np.sqrt(np.diag(result.covariance_curvature))
    # Scale and place in turn settle to 1e-6; the simplex to 1e-4 of a standard error.
    np.testing.assert_allclose(result.flat, peer.x[:2], rtol=0, atol=2e-4 * error.max())
    scale, nu = np.exp(peer.x[4:])
    # What was fitted of 200 readings widens the scale by (200 / 196)^1/2.
    assert result.position_error == pytest.approx(scale * np.sqrt(200 / 196), rel=1e-4)
    fitted = float(result.posed.likelihood.loss.shape)
    assert fitted == pytest.approx(nu, rel=1e-3)
    assert f"loss 'student' with {fitted:.3g} degrees of freedom" in result.why
    # -2 log L of readings in units of their scatter, less the constants of the normal law that squares leave out too.
    assert result.deviance == pytest.approx(peer.fun - 200 * (np.log(2 * np.pi * y.var()) + 1), abs=1e-3)
    assert result.numbers == 6
    _, z = students(peer.x, TS, y)
    law = losses.Student(np.asarray(nu))
    jacobian = least_squares(lambda p: damped(TS, p[1], p[0], *p[2:]), peer.x[:4], jac="3-point", max_nfev=1).jac
    psi, slope = law.pull(z), law.stiffness(z)
    huber = scale**2 * np.sum(psi**2) / 196 / np.mean(slope) ** 2 * np.linalg.inv(jacobian.T @ jacobian)
    np.testing.assert_allclose(result.covariance_curvature, huber[:2, :2], rtol=1e-3)
    many = ji.fit_many(EVEN, [data], both, loss="student")
    np.testing.assert_allclose(many.flat[0], result.flat, rtol=1e-9)
    np.testing.assert_allclose(many.covariance[0], result.covariance, rtol=1e-6)
    assert result.diagnostics.reduced_chi_square is None
    assert np.isnan(many.reduced_chi_square[0])
    # Squares of the same record: five times the error, and a word on why.
    plain = ji.fit(EVEN, data, both)
    assert plain.stderr[0] > 2 * result.stderr[0]
    assert any("spikes" in said and "loss='student'" in said for said in plain.diagnostics.warnings)
    assert not any("spikes" in said for said in result.diagnostics.warnings)
    table = ji.compare({"squares": plain, "student": result})
    assert table[0][0] == "student"
    assert table[1][-1] > 20


def said_of(r):
    """Of residuals of one run, by squares."""
    one = np.zeros(len(r), int)
    evidence = errors.Evidence(r, r[:, None], r[:, None, None], one, one, np.arange(len(r)) * 1.0, 1.0, len(r), None)
    return list(doubts._of_the_spikes(evidence))


def test_spikes_are_counted_and_scatter_is_not_one():
    """Single readings fifteen errors off are; normal ones, uniform ones, a wave, and a scatter that falls are not."""
    rng = np.random.default_rng(4)
    r = rng.normal(size=(300, 200))
    assert sum(bool(said_of(x)) for x in r) == 0
    assert sum(bool(said_of(np.exp(-0.02 * np.arange(200)) * x)) for x in r) == 0
    assert sum(bool(said_of(x)) for x in rng.uniform(size=(100, 200)) - 0.5) == 0
    assert said_of(np.exp(-0.05 * np.arange(400)) * np.cos(0.3 * np.arange(400))) == []
    one = r[0].copy()
    one[[20, 90, 199]] = 15.0, -16.0, 17.0
    (said,) = said_of(one)
    assert said.startswith("3 of 200 readings are spikes")


def weights_of(scatters, loss="squares", rng=None, n=400):
    """Scales that residuals of such runs, in the record's units, are given, and the law."""
    rng = rng or np.random.default_rng(1)
    ts, segment = np.tile(0.1 * np.arange(n), len(scatters)), np.repeat(np.arange(len(scatters)), n)
    y = np.tile(damped(ts[:n], STIFFNESS, GAMMA), len(scatters))
    records = on_one_grid(EVEN, free_leaves.choose(EVEN, both), [ji.Observations(ts, y, segment=segment)])
    z = np.reshape(scatters, (1, -1, 1, 1)) * rng.normal(size=(1, len(scatters), n, 1))
    new, law = weights.weighed(records, losses.named(loss, 1), z)
    return (records.weight / new.weight)[0, :, 0, 0], law, z


@pytest.mark.parametrize("loss", LAWS)
def test_runs_that_scatter_differently_have_their_own_scales(loss):
    """To their standard errors (800)^-1/2, five of them; runs that scatter alike share one, or for squares none."""
    scales, law, _ = weights_of([0.02, 0.002, 0.01], loss)
    np.testing.assert_allclose(scales, [0.02, 0.002, 0.01], rtol=5 * 800**-0.5)
    if loss == "student":
        assert law.shape[0] > 20
    alike = [weights_of([0.02] * 3, loss, np.random.default_rng(seed))[0] for seed in range(12)]
    assert all(np.ptp(scales) == 0 for scales in alike)
    if loss == "squares":
        assert np.all(np.array(alike) == 1)


def test_a_scale_is_the_likeliest():
    """Of one run of Student's t: SciPy's fit of scale and degrees of freedom."""
    rng = np.random.default_rng(2)
    t = stats.t.rvs(4.0, size=2000, random_state=rng)
    z = SimpleNamespace(normal=lambda size: t[: np.prod(size)].reshape(size))
    scales, law, z = weights_of([0.02], "student", z, 2000)
    nu, _, scale = stats.t.fit(z.ravel(), floc=0.0)
    assert scales[0] == pytest.approx(scale, rel=1e-3)
    assert law.shape[0] == pytest.approx(nu, rel=1e-3)


def test_what_has_no_such_loss_is_refused():
    data = ji.Observations(TS, Y)
    with pytest.raises(ValueError, match=r"loss = 'huber' must be one of .*student"):
        ji.fit(EVEN, data, both, loss="huber")
    driven = ji.System(P.Quadratic(), 0.1, noise=1.0)
    with pytest.raises(ValueError, match="loss = 'student' is for least squares"):
        ji.fit_many(driven, [data], lambda s: s.noise.sigma, loss="student")


def test_residuals_at_rounding_have_a_scale():
    """Of a record without noise the search over the place ends: its residuals are not weighed one by one."""
    for loss in LAWS.values():
        z = 1e-13 * np.random.default_rng(0).normal(size=(1, 1, 200, 1))
        (scale,) = weights._solved(loss, z, np.ones(z.shape, bool), np.array([[[200]]])).ravel()
        assert scale == pytest.approx(1e-9 if loss.name != "squares" else 1e-12)


def covered(system, records, loss="squares"):
    """The fits, and how often the 95 % interval holds gamma."""
    fits = ji.fit_many(system, records, both, loss=loss)
    assert fits.converged.all()
    low, high = fits.interval(0.95)
    return fits, np.mean((low[0] <= GAMMA) & (high[0] >= GAMMA))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["student", "soft_l1"])
def test_three_percent_of_spikes_leave_the_intervals_right(loss):
    """300 records: 95 % by chance to 1.3 %. Errors are as large as the values scatter, to (600)^-1/2, three of them."""
    rng = np.random.default_rng(7)
    fits, share = covered(EVEN, [ji.Observations(TS, spiky(rng)) for _ in range(300)], loss)
    assert 0.92 <= share <= 0.975
    assert np.median(fits.stderr[0]) == pytest.approx(np.std(fits.flat[:, 0]), rel=3 * 600**-0.5)
    one = fits[7]
    np.testing.assert_allclose(one.flat, fits.flat[7], rtol=1e-9)
    np.testing.assert_allclose(one.stderr, [side[7] for side in fits.stderr], rtol=1e-6)


@pytest.mark.slow
def test_runs_of_different_scatter_raise_no_alarm():
    """300 records of two runs that scatter by 0.02 and 0.002: by chance one in a thousand is called correlated."""
    rng = np.random.default_rng(7)
    ts, segment = np.tile(TS, 2), np.repeat([0, 1], len(TS))
    size = np.repeat([0.02, 0.002], len(TS))
    records = [
        ji.Observations(ts, np.tile(Y, 2) + size * rng.normal(size=len(ts)), segment=segment) for _ in range(300)
    ]
    fits, share = covered(EVEN, records)
    assert 0.92 <= share <= 0.975
    assert np.sum(fits.whiteness < 1e-3) <= 3
    one = fits[0]
    assert one.diagnostics.warnings == ()
    assert "each run weighed by its own scatter" in one.why
    np.testing.assert_allclose(one.position_error, [0.02, 0.002], rtol=5 * 400**-0.5)
