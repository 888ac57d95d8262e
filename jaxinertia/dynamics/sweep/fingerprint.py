"""What makes two sweeps "the same call": the traced program, its constants, the axes, the key, and the versions."""

import re
from typing import Any

import jax

from .axes import Axes
from .digest import digest
from .program import Program


def fingerprint(program: Program, key: Any, axes: Axes, box: tuple[int, ...]) -> dict[str, str]:
    """Named digests, so that a difference can be told by name."""
    # Addresses of helper objects show up in a jaxpr's text and differ from run to run.
    text = re.sub(r"0x[0-9a-f]+", "0x", program.text)
    return {
        "fn": digest(text),
        "constants of fn": program.constants,
        "axes": digest(*(x for axis in axes.axes for x in axis.values.values())),
        "names of the axes": ", ".join(axes.names),
        "key": "none" if key is None else digest(key),
        "dtype": ", ".join(f"{x.shape} {x.dtype}" for x in program.outputs.values()),
        "chunk shape": str(box),
        "jax": jax.__version__,
    }
