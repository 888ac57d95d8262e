"""Where only real parameters will do."""

from typing import Any

import jax
import jax.numpy as jnp


def refuse_complex(name: str, tree: Any) -> None:
    """ValueError if any leaf is complex: a sum of squares of its components would not be |v|^2."""
    found = [str(jnp.result_type(x)) for x in jax.tree.leaves(tree) if jnp.iscomplexobj(x)]
    if found:
        raise ValueError(
            f"{name} has {found[0]} numbers, and real ones are wanted: take real and imaginary parts as parameters of "
            "their own, as optax.contrib.split_real_and_imaginary(optimizer) does"
        )
