"""Which loops are kernels, in words; and programs made for CUDA without a GPU."""

import re
import types

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.dynamics import loop
from jaxinertia.dynamics.kernel import launch, layout
from jaxinertia.dynamics.kernel.program import Unsupported
from jaxinertia.dynamics.kernel.wish import Wish

from .threads import on_gpu

TS = np.linspace(0.0, 1.0, 3)
GAMMAS = jnp.linspace(0.1, 1.0, 64)


def final(gamma, word="BAOAB", kernel=None, start=1.0, noise=None, key=None):
    system = ji.System(ji.potentials.Duffing(), damping=gamma, noise=noise)
    solver = ji.solvers.Splitting(word, kernel=kernel)
    return ji.simulate(system, TS, start, dt=0.1, solver=solver, key=key).inertia[-1]


def test_explain_tells_kernels_from_plain_loops():
    told = ji.explain(jax.jit(jax.vmap(final)), GAMMAS)
    assert "Loop 1: 64 trajectories of 2 rows: one kernel. A trajectory keeps 8 registers' worth of numbers" in told
    noisy = ji.explain(lambda key: final(0.3, noise=0.4, key=key), jax.random.key(0))
    assert "Loop 1: one trajectory of 2 rows: one kernel." in noisy
    both = ji.explain(lambda gamma: jax.jvp(jax.vmap(final), (gamma,), (gamma,)), GAMMAS)
    assert both.count("one kernel") == 2
    assert "There is no loop that could run as a kernel" in ji.explain(jnp.sin, 1.0)


def test_maps_around_maps_are_one_loop_where_what_they_copy_is_little():
    """16 times 4096 points copy half a megabyte for each of their starts; 4096 times 4096 are worth it for a kernel."""

    def told(count, points, **options):
        def one(gamma, start):
            return final(gamma, start=start, **options)

        grid = jax.vmap(lambda gamma: jax.vmap(lambda start: one(gamma, start))(jnp.ones(points)))
        return ji.explain(grid, jax.ShapeDtypeStruct((count,), jnp.float64))

    assert "65,536 trajectories of 2 rows: the plain loop, since kernel=False" in told(16, 4096, kernel=False)
    assert "There is no loop" in told(4096, 4096, kernel=False)
    assert "16,777,216 trajectories of 2 rows: one kernel." in told(4096, 4096)
    with pytest.raises(ValueError, match="cannot be one: a vmap around another would copy"):
        told(2**15, 2**14, kernel=True)


def test_explain_says_why_not(without_type_checks):
    assert "the plain loop, since kernel=False forbids it." in ji.explain(lambda: final(0.1, kernel=False))
    iterated = ji.explain(lambda gamma: final(gamma, "OEO"), 0.1)
    assert "since it has a loop without a fixed number of rounds" in iterated
    large = ji.explain(lambda start: final(0.1, start=start), jnp.ones(300))
    assert "of which a thread of a GPU has room for 200" in large
    with pytest.raises(ValueError, match="fn = 3 must be a function"):
        ji.explain(3)


def test_where_a_kernel_must_be_and_cannot(without_type_checks):
    with pytest.raises(ValueError, match="kernel = True, but this run cannot be one: it has a loop without a fixed"):
        final(0.1, "OEO", kernel=True)
    system, solver = ji.System(ji.potentials.Duffing()), ji.solvers.Splitting("BAB", kernel=True)
    for adjoint, why in ((diffrax.DirectAdjoint(), "diffrax.diffeqsolve"), ("reversible", "a loop of its own")):
        with pytest.raises(ValueError, match=f"kernel = True, but this run cannot be one: .*{why}"):
            ji.simulate(system, TS, 1.0, dt=0.1, solver=solver, adjoint=adjoint)
    with pytest.raises(ValueError, match="kernel = 'yes' must be True, False, or None"):
        ji.solvers.Splitting("BAOAB", kernel="yes")


LIKE = jax.ShapeDtypeStruct((64,), jnp.float32)


def for_cuda(mapped):
    """The program, as it would go to a GPU's compiler."""
    return jax.jit(mapped).trace(LIKE).lower(lowering_platforms=("cuda",)).as_text()


def lowered(**options):
    return for_cuda(jax.vmap(lambda gamma: final(gamma, **options)))


@pytest.fixture
def assembler(monkeypatch):
    """Stands for NVRTC, which comes with a GPU's JAX."""
    monkeypatch.setattr(launch, "assembled", lambda text: text)


def test_a_program_for_cuda_has_one_kernel_and_no_loop(assembler):
    module = lowered()
    assert module.count("@__gpu$xla.gpu.ptx") == 1
    assert "stablehlo.while" not in module
    assert "for (int" in module


def test_a_kernel_of_float32_has_no_arithmetic_of_float64(assembler):
    """It reads times and steps in float64, for they are so; each would cost thirty operations of float32."""
    module = lowered(start=jnp.ones(2, jnp.float32))
    made = re.findall(r"double v\d+ = ([^;]*);", module)
    assert all(re.fullmatch(r"in\d+\[.*\]", text) for text in made)
    assert module.count("float v") > 20
    assert len(re.findall(r"0x[^ ();]*p[+-]\d+\)", module)) == 0  # every constant ends with an f


def test_a_program_for_cuda_falls_back_to_the_plain_loop(assembler, monkeypatch):
    assert "@__gpu$xla.gpu.ptx" not in lowered(kernel=False)
    assert "@__gpu$xla.gpu.ptx" not in lowered(start=jnp.ones(300, jnp.float32))

    def missing(text):
        raise Unsupported("NVRTC is not here")

    monkeypatch.setattr(launch, "assembled", missing)
    assert "stablehlo.while" in lowered()
    with pytest.raises(ValueError, match="kernel = True, but this run cannot be one: NVRTC is not here"):
        lowered(kernel=True)


def test_devices_that_share_the_points_run_a_kernel_each(assembler):
    """In shard_map each has its own points; where nothing says who runs what, XLA would give every one all."""
    devices = jax.sharding.AbstractMesh((4,), ("points",))
    spec = jax.sharding.PartitionSpec("points")
    mapped = jax.vmap(lambda gamma: final(gamma, kernel=True))
    split = jax.shard_map(mapped, mesh=devices, in_specs=spec, out_specs=spec, check_vma=False)
    like = jax.ShapeDtypeStruct((64,), jnp.float32, sharding=jax.sharding.NamedSharding(devices, spec))
    assert "if (point0 >= 16LL) return;" in jax.jit(split).trace(like).lower(lowering_platforms=("cuda",)).as_text()
    two = types.SimpleNamespace(axis_context=types.SimpleNamespace(num_devices=2))
    with pytest.raises(ValueError, match="it is spread over several devices"):
        loop._for_cuda(types.SimpleNamespace(module_context=two), kernel=Wish.MUST)


@pytest.mark.skipif(on_gpu, reason="a GPU would run what the stand-in for NVRTC assembled")
def test_an_exported_program_has_the_plain_loop(assembler):
    """JAX serialises no kernel: it would refuse; this is for a machine of either kind."""
    export = jax.export.export(jax.jit(jax.vmap(final)), platforms=["cuda", "cpu"])(LIKE)
    assert "@__gpu$xla.gpu.ptx" not in export.mlir_module()
    found = export.call(jnp.asarray(GAMMAS, jnp.float32))
    np.testing.assert_allclose(found, jax.vmap(final)(jnp.asarray(GAMMAS, jnp.float32)), rtol=1e-5)
    must = jax.jit(jax.vmap(lambda gamma: final(gamma, kernel=True)))
    with pytest.raises(ValueError, match="it is exported, and JAX serialises no program with a kernel"):
        jax.export.export(must, platforms=["cuda"])(LIKE)


def test_what_a_thread_keeps_is_counted_in_registers():
    """Position, momentum and gradient, a friction account that nobody reads left out; twice as many in float64."""
    told = [ji.explain(lambda q: final(0.1, start=q), jnp.ones(5, dtype)) for dtype in ("float32", "float64")]
    assert "keeps 15 registers' worth" in told[0]
    assert "keeps 30 registers' worth" in told[1]
    assert layout.STATE == 200
