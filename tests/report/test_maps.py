"""Maps of a sweep: the values at their coordinates, and each start in the basin of its minimum."""

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxinertia as ji
from jaxinertia.report import maps

matplotlib.use("Agg")

X, Y, Z = np.linspace(0, 1, 4), np.linspace(2, 3, 5), np.array([0.0, 10.0])


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def cube():
    return ji.sweep(lambda x, y, z: {"sum": x + y + z, "pair": np.ones(2) * x}, {"x": X, "y": Y, "z": Z})


def colours(ax):
    """(x, y) -> value, as drawn."""
    mesh = ax.collections[0]
    return mesh.get_array().reshape(mesh._coordinates.shape[0] - 1, -1).T


def test_heat_map_draws_the_cut(ax, cube):
    assert ji.plots.heat_map(cube, ax, output="sum", at={"z": 8.0}) is ax
    np.testing.assert_array_equal(colours(ax), X[:, None] + Y + 10.0)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "output = None must be one of"),
        ({"output": "sum"}, "at leaves the axes"),
        ({"output": "sum", "at": {"w": 1.0}}, "at names 'w'"),
        ({"output": "pair", "at": {"z": 0.0}}, "has shape"),
    ],
)
def test_what_is_no_map_is_refused(ax, cube, options, message):
    with pytest.raises(ValueError, match=message):
        ji.plots.heat_map(cube, ax, **options)


def test_zipped_axes_have_no_coordinate(ax):
    zipped = ji.sweep(lambda x, y, z: x + y + z, {("x", "y"): (X, X), "z": Z})
    with pytest.raises(ValueError, match="zipped ones have none"):
        ji.plots.heat_map(zipped, ax)


def test_basins_of_the_double_well(ax):
    """Overdamped, a ball ends on the side where it starts, the crest itself settles nowhere, and a NaN is masked."""

    def end(gamma, q0):
        system = ji.System(ji.potentials.DoubleWell(), damping=gamma)
        final = ji.simulate(system, np.array([0.0, 80.0]), q0, dt=0.02).position[-1]
        return jnp.where(q0 > 2, jnp.nan, final)

    starts = np.array([-1.7, -0.5, 0.0, 0.5, 1.7, 2.9])
    runs = ji.sweep(end, {"gamma": np.array([5.0, 6.0]), "q0": starts})
    ji.plots.basins(runs, [-1.0, 1.0, 5.0], ax)
    drawn = np.ma.masked_array(colours(ax))
    np.testing.assert_array_equal(drawn[:, [0, 1, 3, 4]].filled(9), [[0, 0, 1, 1]] * 2)
    assert np.ma.getmaskarray(drawn)[:, 5].all()
    with pytest.raises(ValueError, match="minima have 2 components"):
        ji.plots.basins(runs, np.ones((2, 2)), ax)


def test_a_point_far_from_all_minima_is_not_settled():
    ends = np.array([[0.1, 0.0], [1.0, 0.4], [0.5, 0.5], [7.0, 7.0]])
    np.testing.assert_array_equal(maps.nearest_minimum(ends, np.array([[0.0, 0.0], [1.0, 0.0]])), [0, 1, -1, -1])
    assert maps.nearest_minimum(ends, np.zeros((1, 2))).tolist() == [0, 0, 0, 0]


def test_overview_draws_curves_and_maps(tmp_path, cube):
    curve = ji.sweep(lambda x: {"double": 2 * x}, {"x": X})
    assert maps.overview(curve, tmp_path / "curve.png").stat().st_size > 0
    plane = ji.sweep(lambda x, y: {"sum": x + y, "both": np.ones(2) * x}, {"x": X, "y": Y})
    assert maps.overview(plane, tmp_path / "plane.pdf").stat().st_size > 0
    with pytest.raises(ValueError, match="one or two axes"):
        maps.overview(cube, tmp_path / "cube.png")
    with pytest.raises(ValueError, match="figure ="):
        maps.overview(curve, tmp_path / "nowhere" / "curve.png")
