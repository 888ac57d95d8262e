r"""How much a residual costs: -log p(z) of the law that readings scatter by, z in units of that law's scale.

    squares    z^2 / 2                            the normal law
    soft_l1    A (sqrt(1 + z^2) - 1)              the hyperbolic law, A such that normal scatter has the scale 1
    student    (nu + 1) / 2 log(1 + z^2 / nu)     Student's t

The pull psi of a reading is the slope: z of squares, at most A of soft_l1, and of student it falls off again. So the
scale is that at which z psi(z) has the mean 1, which is the likeliest one of all three.

Source: P. J. Huber and E. M. Ronchetti, Robust Statistics, 2009; K. L. Lange, R. J. A. Little and J. M. G. Taylor,
J. Am. Stat. Assoc. 84, 881 (1989).
"""

from abc import abstractmethod
from types import ModuleType
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy import special

A = 1.7702535009655105  # one over the mean of z^2 / sqrt(1 + z^2) of a standard normal z


class Loss(eqx.Module):
    """Of residuals z (..., w, m, c), of one record or of many.

    shape: the law's own number for each record, or None. name: as `ji.fit` takes it.
    """

    shape: eqx.AbstractVar[Any]
    name: eqx.AbstractClassVar[str]

    @abstractmethod
    def cost(self, z: Any, xp: ModuleType = jnp) -> Any:
        """-log p(z) + log p(0)."""

    @abstractmethod
    def pull(self, z: Any) -> Any:
        """psi, the derivative of the cost."""

    @abstractmethod
    def stiffness(self, z: Any) -> Any:
        """The derivative of psi."""

    @abstractmethod
    def normaliser(self) -> Any:
        """-log p(0), less that of the normal law."""

    def mean_stiffness(self, z: Any, taken: Any, xp: ModuleType = jnp) -> Any:
        """Of one record's readings; never less than a tenth of what their weights psi / z are at most."""
        mean = xp.sum(xp.where(taken, self.stiffness(z), 0.0)) / xp.maximum(xp.sum(taken), 1)
        return xp.maximum(mean, 0.1)


class Squares(Loss):
    """The normal law."""

    shape: None = None
    name: ClassVar[str] = "squares"

    def cost(self, z, xp=jnp):
        return z * z / 2

    def pull(self, z):
        return z

    def stiffness(self, z):
        return 0 * z + 1.0

    def normaliser(self):
        return 0.0

    def mean_stiffness(self, z, taken, xp=jnp):
        return 1.0


class SoftL1(Loss):
    """The hyperbolic law: squares of what is small, absolute values of what is large."""

    shape: None = None
    name: ClassVar[str] = "soft_l1"

    def cost(self, z, xp=jnp):
        return A * (z * z / (1 + (1 + z * z) ** 0.5))

    def pull(self, z):
        return A * z / (1 + z * z) ** 0.5

    def stiffness(self, z):
        return A / (1 + z * z) ** 1.5

    def normaliser(self):
        return float(np.log(2 * special.k1e(A)) - np.log(2 * np.pi) / 2)


class Student(Loss):
    """Student's t; `shape`: its degrees of freedom nu, (...)."""

    shape: Any
    name: ClassVar[str] = "student"

    def _nu(self, z: Any) -> Any:
        return self.shape[(..., *(None,) * (z.ndim - self.shape.ndim))]

    def cost(self, z, xp=jnp):
        nu = self._nu(z)
        return (nu + 1) / 2 * xp.log1p(z * z / nu)

    def pull(self, z):
        nu = self._nu(z)
        return (nu + 1) * z / (nu + z * z)

    def stiffness(self, z):
        nu = self._nu(z)
        return (nu + 1) * (nu - z * z) / (nu + z * z) ** 2

    def normaliser(self):
        nu = np.asarray(self.shape)
        return np.log(nu / 2) / 2 + special.gammaln(nu / 2) - special.gammaln((nu + 1) / 2)


SQUARES = Squares()
LOSSES = (Squares.name, SoftL1.name, Student.name)
FIRST = 4.0  # degrees of freedom to begin with


def named(name: str, records: int) -> Loss:
    """The loss of this name for so many records."""
    if name == Student.name:
        return Student(np.full(records, FIRST))
    return SoftL1() if name == SoftL1.name else SQUARES


def check_loss(name: Any, least_squares: bool) -> None:
    """ValueError unless there is such a loss, and the method has one."""
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(f"loss = {name!r} must be one of {LOSSES}")
    if name != Squares.name and not least_squares:
        raise ValueError(
            f"loss = {name!r} is for least squares; a noise-driven fit takes the readings' errors as normal: pass "
            "loss='squares' and leave the spikes out of the data (NaN)"
        )
