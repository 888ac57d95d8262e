"""The vocabulary of shapes used in annotations."""

from typing import Any, TypeAlias

from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Shaped

Scalar: TypeAlias = Float[Array, ""]
Times: TypeAlias = Float[Array, " times"]
# A position or a momentum: any pytree of float arrays (None where a leaf does not move).
Position: TypeAlias = PyTree[Float[Array, "..."] | None]
ArrayLike: TypeAlias = Any
Key: TypeAlias = PRNGKeyArray | Shaped[Array, "..."]
Index: TypeAlias = Int[Array, ""]
