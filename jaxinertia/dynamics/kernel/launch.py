"""From CUDA C to a call inside an XLA program: NVRTC makes PTX of it, and XLA's own custom call runs that."""

import ctypes
import ctypes.util
import importlib.util
import re
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .cuda import NAME, THREADS, source
from .layout import Buffer, Kernel
from .program import Unsupported
from .together import together

_TARGET = "__gpu$xla.gpu.ptx"
_LIBRARIES = ("libnvrtc.so.13", "libnvrtc.so.12")
_MISSING = "NVIDIA's run-time compiler NVRTC is not installed here: it comes with pip install 'jax[cuda13]' or [cuda12]"


def call(kernel: Kernel, points: int | None, operands: list[Any]) -> list[Any]:
    """The kernel's outputs, as arrays with a leading axis of points (none for None).

    Raises `Unsupported` where there is no compiler.
    """
    count = 1 if points is None else points
    given = [_points_last(x, buffer) for x, buffer in zip(operands, kernel.inputs, strict=True)]
    shapes = [jax.ShapeDtypeStruct(_outer(buffer, count), buffer.dtype) for buffer in kernel.outputs]
    kernel, each = together(kernel, count)
    results = launch(source(kernel, count, each), shapes, given, -(-count // each))
    return [_points_first(x, buffer, points) for x, buffer in zip(results, kernel.outputs, strict=True)]


def _outer(buffer: Buffer, count: int) -> tuple[int, ...]:
    rows = () if buffer.rows is None else (buffer.rows,)
    return (*rows, buffer.components, *((count,) if buffer.mapped else ()))


def _points_last(x: Any, buffer: Buffer) -> Any:
    """(points, rows, ...) as (rows, components, points): so that neighbouring threads read neighbouring numbers."""
    count = x.shape[0] if buffer.mapped else 1
    return (jnp.moveaxis(x, 0, -1) if buffer.mapped else x).reshape(_outer(buffer, count))


def _points_first(x: Any, buffer: Buffer, points: int | None) -> Any:
    rows = () if buffer.rows is None else (buffer.rows,)
    x = jnp.moveaxis(x, -1, 0).reshape(-1, *rows, *buffer.shape)
    return x[0] if points is None else x


def launch(text: str, shapes: list[jax.ShapeDtypeStruct], operands: list[Any], threads: int) -> list[Any]:
    """So many threads of a kernel."""
    grid = {"grid_x": -(-threads // THREADS), "grid_y": 1, "grid_z": 1}
    block = {"block_x": THREADS, "block_y": 1, "block_z": 1, "shared_mem_bytes": 0}
    numbers = {name: np.int32(n) for name, n in (grid | block).items()}
    run = jax.ffi.ffi_call(_TARGET, shapes)
    return list(run(*operands, name=NAME, kernel_type="ptx", kernel_data=assembled(text), **numbers))


@lru_cache(maxsize=64)
def assembled(text: str) -> str:
    """CUDA C as PTX. It asks for no newer PTX than it uses, so that older drivers read it."""
    nvrtc = compiler()
    if nvrtc is None:
        raise Unsupported(_MISSING)
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    check = partial(_check, nvrtc, program)
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), NAME.encode(), 0, None, None))
    try:
        options = (ctypes.c_char_p * 1)(b"--gpu-architecture=compute_75")
        check(nvrtc.nvrtcCompileProgram(program, 1, options))
        check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)))
        ptx = ctypes.create_string_buffer(size.value)
        check(nvrtc.nvrtcGetPTX(program, ptx))
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return re.sub(r"^\.version .*$", ".version 7.0", ptx.value.decode(), count=1, flags=re.MULTILINE)


def _check(nvrtc: Any, program: ctypes.c_void_p, status: int) -> None:
    """`Unsupported` with the compiler's words: a fault of ours, and the plain loop is right."""
    if status:
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(max(size.value, 1))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise Unsupported(f"NVRTC failed on it with status {status}, a bug of this package: {log.value.decode()[:500]}")


@lru_cache(maxsize=1)
def compiler() -> Any:
    """NVRTC, of the packages that JAX installs or of the system; None if there is none."""
    for path in (*_packaged(), *_LIBRARIES, ctypes.util.find_library("nvrtc")):
        if path is not None:
            try:
                return ctypes.CDLL(str(path))
            except OSError:
                continue
    return None


def _packaged() -> list[Path]:
    found = importlib.util.find_spec("nvidia")
    folders = [] if found is None else found.submodule_search_locations or []
    libraries = (path for folder in folders for path in Path(folder).glob("*/lib/libnvrtc.so.*"))
    return sorted((path for path in libraries if "alt" not in path.name), reverse=True)
