"""The kernels' own texts where they run: on a GPU if there is one, or compiled for the CPU by a C compiler.

With `JAX_PLATFORMS=cuda`, the tests of kernels are those of the GPU.
"""

import ctypes
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.interpreters import mlir

from jaxinertia.dynamics import loop
from jaxinertia.dynamics.kernel import launch

# What CUDA has and C has not. erfinv: Newton's method on erf.
PRELUDE = """
#include <math.h>
#include <stdbool.h>
#define __global__
#define __restrict__ restrict
#define __launch_bounds__(n)
static struct { long long x; } blockIdx, blockDim, threadIdx;
static double rsqrt(double x) { return 1.0 / sqrt(x); }
static float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static double erfinv(double y) {
  double w = log((1.0 - y) * (1.0 + y)), a = 2.0 / (M_PI * 0.147) + 0.5 * w;
  double x = copysign(sqrt(sqrt(a * a - w / 0.147) - a), y);
  for (int i = 0; i < 4; ++i) {
    double off = y > 0.5 ? erfc(x) - (1.0 - y) : y < -0.5 ? (1.0 + y) - erfc(-x) : y - erf(x);
    x += off * exp(x * x) * 0.88622692545275801364;
  }
  return x;
}
static float erfinvf(float y) { return (float)erfinv(y); }
"""

on_gpu = jax.default_backend() == "gpu"
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None and not on_gpu, reason="there is no C compiler")
texts: list[str] = []  # of the kernels that ran


@cache
def compiled(text: str):
    """The kernel's loop over all points, from C."""
    count = len(re.search(r"rows\((.*)\)", text)[1].split(","))
    run = ", ".join(f"p[{i}]" for i in range(count))
    driver = f"void all(void** p, long long n) {{ for (threadIdx.x = 0; threadIdx.x < n; ++threadIdx.x) rows({run}); }}"
    folder = Path(tempfile.mkdtemp())
    (folder / "rows.c").write_text(PRELUDE + text.replace('extern "C" ', "") + driver)
    command = ["cc", "-O1", "-ffp-contract=off", "-fno-builtin-erfinv", "-w", "-shared", "-fPIC", "-lm", "rows.c"]
    subprocess.run([*command, "-o", "rows.so", "-lm"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "rows.so"))


def launched(text, shapes, operands, points):
    """`launch.launch`, on the CPU."""
    texts.append(text)
    library = compiled(text)

    def run(*given):
        given = [np.ascontiguousarray(x) for x in given]
        results = [np.full(x.shape, 77, x.dtype) for x in shapes]
        pointers = (ctypes.c_void_p * (len(given) + len(results)))(*(x.ctypes.data for x in (*given, *results)))
        threads = -(-points // 128) * 128  # those past the end too
        library.all(pointers, ctypes.c_longlong(threads))
        return results

    return jax.pure_callback(run, shapes, *operands)


launch_on_gpu = launch.launch


def recorded(text, *rest):
    """`launch.launch`, whose text is kept."""
    texts.append(text)
    return launch_on_gpu(text, *rest)


@pytest.fixture
def threads(monkeypatch):
    """A list of the kernels' texts. Without a GPU loops are lowered for the CPU as they are for CUDA, and run there."""
    monkeypatch.setattr(launch, "launch", recorded if on_gpu else launched)
    jax.clear_caches()
    texts.clear()
    if on_gpu:
        yield texts
        return
    mlir.register_lowering(loop._loop, mlir.lower_fun(loop._on_cuda, multiple_results=True), platform="cpu")
    yield texts
    mlir.register_lowering(loop._loop, mlir.lower_fun(loop._on_cpu, multiple_results=True), platform="cpu")
    jax.clear_caches()
