"""A fit goes into a file and comes back; what it says of itself in other words; fits side by side."""

import json

import jax
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia import potentials as P
from jaxinertia.inference import derived
from jaxinertia.inference.free_leaves import choose

from .records import damped, langevin

TS = np.linspace(0, 20, 200)


def ringdown(seed=0, gamma=0.2, noise=0.02):
    y = damped(TS, 1.3, gamma) + noise * np.random.default_rng(seed).normal(size=200)
    return ji.Observations(TS, y)


def both(s):
    return s.damping.gamma, s.potential.stiffness


def same(again, result):
    assert again.summary() == result.summary()
    assert again.to_json() == result.to_json()
    assert again.record == result.record
    for level in (0.5, 0.95):
        for a, b in zip(again.interval(level), result.interval(level), strict=True):
            np.testing.assert_array_equal(jax.tree.leaves(a), jax.tree.leaves(b))


@pytest.mark.parametrize("bounds", [((0.25, 0.5), (None, 1.31)), ((0.1, None), None), None])
def test_bounds_come_back(bounds, tmp_path):
    system = ji.System(P.Quadratic())
    result = ji.fit(system, ringdown(), both, bounds=bounds)
    same(ji.Fit.load(result.save(tmp_path / "fit"), system, both), result)


def test_an_interval_of_a_bounded_fit_ends_at_its_bound_after_loading(tmp_path):
    system = ji.System(P.Quadratic())
    result = ji.fit(system, ringdown(), both, bounds=((0.25, 0.5), None))
    again = ji.Fit.load(result.save(tmp_path / "fit"), system, both)
    assert again.interval(0.95)[0][0] == 0.25


def test_an_input_comes_back_where_the_system_was_given_none(tmp_path):
    u = np.sin(0.9 * TS)
    forced = ji.System(P.Quadratic(1.3), 0.2, force=ji.force.Sampled(TS, u, 0.7))
    traj = ji.simulate(forced, TS, 0.0, 0.0, dt=0.01)
    y = np.asarray(traj.position) + 0.01 * np.random.default_rng(1).normal(size=200)
    system = ji.System(P.Quadratic())

    def free(s):
        return s.damping.gamma, s.potential.stiffness, s.force.gain

    result = ji.fit(system, ji.Observations(TS, y, input=u), free)
    again = ji.Fit.load(result.save(tmp_path / "fit"), system, free)
    same(again, result)
    assert float(again.system.force.gain) == result.values[2]
    np.testing.assert_array_equal(again.system.force.u, u)


def test_what_the_data_do_not_say_is_null_in_json_and_infinite_after_loading(tmp_path):
    """The gain of an input that is zero moves nothing: its error is infinite, and JSON has no such number."""
    system = ji.System(P.Quadratic())

    def free(s):
        return s.damping.gamma, s.potential.stiffness, s.force.gain

    result = ji.fit(system, ji.Observations(TS, ringdown().position, input=0 * TS), free)
    assert np.isinf(result.stderr[2])
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert found["parameters"]["force.gain"]["stderr"] is None
    same(ji.Fit.load(result.save(tmp_path / "fit"), system, free), result)


def test_derived_numbers_by_hand():
    """f0, zeta, Q and tau, with errors as partial derivatives times the covariance, written out."""
    result = ji.fit(ji.System(P.Quadratic()), ringdown(), both)
    gamma, k = result.flat
    root, c = np.sqrt(k), result.covariance
    expected = {
        "natural_frequency": (root / (2 * np.pi), [0, 1 / (4 * np.pi * root)]),
        "damping_ratio": (gamma / (2 * root), [1 / (2 * root), -gamma / (4 * k * root)]),
        "quality_factor": (root / gamma, [-root / gamma**2, 1 / (2 * root * gamma)]),
        "decay_time": (2 / gamma, [-2 / gamma**2, 0]),
    }
    assert result.derived.keys() == expected.keys()
    for name, (value, slope) in expected.items():
        assert result.derived[name] == pytest.approx((value, np.sqrt(slope @ c @ np.array(slope))), rel=1e-12)
        assert f"{name.replace('_', ' ')} " in result.summary()
        assert result.to_json()["derived"][name]["value"] == result.derived[name][0]


def test_derived_numbers_of_other_systems():
    """A pendulum's k is its frequency squared, Duffing's its linear coefficient, and drag's gamma its linear part."""
    flat, covariance = np.array([0.3, 2.0]), np.array([[0.01, 0.004], [0.004, 0.09]])
    drag = ji.damping.Drag(0.3, 0.1)
    pendulum = ji.System(P.Pendulum(2.0), drag)
    place = choose(pendulum, lambda s: (s.damping.linear, s.potential.frequency))
    said = derived.of(pendulum, place, flat, covariance)
    assert said["natural_frequency"] == pytest.approx((1 / np.pi, 0.3 / (2 * np.pi)), rel=1e-12)
    slope = np.array([-2.0 / 0.3**2, 1 / 0.3])
    assert said["quality_factor"] == pytest.approx((2.0 / 0.3, np.sqrt(slope @ covariance @ slope)), rel=1e-12)
    duffing = ji.System(P.Duffing(2.0, 0.5), drag)
    said = derived.of(duffing, choose(duffing, lambda s: (s.damping.linear, s.potential.linear)), flat, covariance)
    assert said["damping_ratio"][0] == pytest.approx(0.3 / (2 * np.sqrt(2.0)), rel=1e-12)
    assert derived.of(ji.System(P.DoubleWell(), 0.0), place, flat, covariance) == {}


def test_what_the_data_do_not_say_is_not_known_of_derived_numbers():
    """An infinite variance of the damping leaves the frequency as well known as it is."""
    system = ji.System(P.Quadratic(2.0), 0.3)
    said = derived.of(system, choose(system, both), np.array([0.3, 2.0]), np.diag([np.inf, 0.09]))
    assert said["natural_frequency"][1] == pytest.approx(0.3 / (4 * np.pi * np.sqrt(2.0)), rel=1e-12)
    assert np.isinf(said["quality_factor"][1])


def test_a_number_that_was_held_adds_no_error():
    result = ji.fit(ji.System(P.Quadratic(1.3)), ringdown())
    assert result.derived["natural_frequency"] == pytest.approx((np.sqrt(1.3) / (2 * np.pi), 0.0), rel=1e-7)
    assert result.derived["damping_ratio"][1] == pytest.approx(result.stderr / (2 * np.sqrt(1.3)), rel=1e-7)
    assert "(held)" in result.summary()


def test_an_overdamped_motion_has_no_decay_time_and_an_undamped_one_no_quality():
    y = damped(TS, 1.3, 6.0) + 1e-3 * np.random.default_rng(2).normal(size=200)
    result = ji.fit(ji.System(P.Quadratic()), ji.Observations(TS, y), both)
    assert result.derived["damping_ratio"][0] > 2
    assert "decay_time" not in result.derived
    undamped = ji.fit(ji.System(P.Quadratic()), ringdown(gamma=0.0), lambda s: s.potential.stiffness)
    assert set(undamped.derived) == {"natural_frequency", "damping_ratio"}


def test_two_components_of_their_own_come_back_and_have_no_one_frequency(tmp_path):
    data = ji.Observations(TS, np.stack([ringdown(0).position, ringdown(1, noise=0.1).position], -1))
    system = ji.System(P.Quadratic([1.0, 1.0]), [0.1, 0.1])
    result = ji.fit(system, data, both)
    assert result.derived == {}
    again = ji.Fit.load(result.save(tmp_path / "fit"), system, both)
    same(again, result)
    np.testing.assert_array_equal(again.position_error, result.position_error)


def test_temperature_by_hand():
    """k T = sigma^2 / (2 gamma) = 1."""
    dt = 0.1
    y = langevin(np.random.default_rng(3), 4000, dt) + 0.01 * np.random.default_rng(4).normal(size=4000)
    data = ji.Observations(dt * np.arange(4000), y, position_error=0.01)
    result = ji.fit(ji.System(P.Quadratic(), 1.0, 1.0), data, lambda s: (*both(s), s.noise.sigma))
    gamma, _, sigma = result.flat
    slope = np.array([-(sigma**2) / (2 * gamma**2), 0, sigma / gamma])
    error = np.sqrt(slope @ result.covariance @ slope)
    assert result.derived["temperature"] == pytest.approx((sigma**2 / (2 * gamma), error), rel=1e-12)
    assert abs(result.derived["temperature"][0] - 1) < 4 * error


def test_fits_of_different_records_are_not_compared():
    system = ji.System(P.Quadratic())
    one, other = ringdown(), ringdown(1)
    again = ji.Observations(TS, one.position, position_error=0.02)
    fits = [ji.fit(system, data, both) for data in (one, other, again)]
    with pytest.raises(ValueError, match="different records"):
        ji.compare(fits[:2])
    assert fits[0].record == fits[2].record  # what is known of the error is no part of the record
    table = ji.compare({"both": fits[0], "one": ji.fit(ji.System(P.Quadratic(1.3)), one)})
    assert len(table) == 2
    assert "correlated" not in str(table)


def test_the_comparison_says_that_residuals_are_correlated():
    """Dry friction leaves what neither model has."""
    y = np.where(TS < 12, (1 - TS / 12) * np.cos(1.14 * TS), 0.0) + 0.01 * np.random.default_rng(5).normal(size=200)
    data = ji.Observations(TS, y)
    table = ji.compare([ji.fit(ji.System(P.Quadratic()), data, both), ji.fit(ji.System(P.Quadratic(1.3)), data)])
    assert str(table).endswith("\nresiduals are correlated: the differences are too great")


def test_what_is_not_a_fit_is_named_by_its_type():
    result = ji.fit(ji.System(P.Quadratic()), ringdown(), both)
    for bad in (result, [result], [result, 1], 3):
        with pytest.raises(ValueError, match=r"^fits (is a|has \d entries)") as caught:
            ji.compare(bad)
        assert len(str(caught.value)) < 120
