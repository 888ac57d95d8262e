"""Several laws of friction at once."""

from typing import Any

import jax
import jax.numpy as jnp

from ... import _tree
from ..._shown import shown
from .abstract import AbstractDamping


class Sum(AbstractDamping):
    r"""All of these laws at once: dp/dt = -force_1 - force_2 - ...

    Its O sub-step is the laws' own in turn and back, each over half the time: of order 2, never giving energy, and
    symmetric, so that compositions of symmetric words still raise the order. In the letter F the push goes with the law
    that holds what is at rest (dry friction), if there is one.

    Arguments:
        laws: two or more of `ji.damping`, or your own.

    Raises:
        ValueError: for fewer than two, or what is no damping law.

    Example:
        >>> ji.damping.Sum(ji.damping.Drag(dry=0.1), ji.damping.PositionDependent(lambda q: q**2))
    """

    laws: tuple[AbstractDamping, ...]

    def __init__(self, *laws: AbstractDamping):
        if len(laws) < 2 or not all(isinstance(law, AbstractDamping) for law in laws):
            raise ValueError(
                f"laws = {shown(laws)}: pass two or more damping laws, such as Sum(Drag(dry=0.1), Linear(0.2))"
            )
        self.laws = laws

    def force_at(self, t, position, momentum, velocity):
        """The sum of the laws' forces. Shaped like the velocity."""
        first, *rest = (law.force_at(t, position, momentum, velocity) for law in self.laws)
        for force in rest:
            first = jax.tree.map(jnp.add, first, force)
        return first

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        outer, middle = self._parted()
        for law in outer:
            momentum = law.relaxation(kinetic, h / 2, t, position, momentum)
        momentum = middle.relaxation(kinetic, h, t, position, momentum, push)
        for law in reversed(outer):
            momentum = law.relaxation(kinetic, h / 2, t + h / 2, position, momentum)
        return momentum

    def _parted(self):
        """(the laws that act first and last, the one in between)."""
        middle = max(range(len(self.laws)), key=lambda i: (self.laws[i].sticks, i))
        return [law for i, law in enumerate(self.laws) if i != middle], self.laws[middle]

    def refuses(self, kinetic, momentum, pushed):
        outer, middle = self._parted()
        reasons = (law.refuses(kinetic, momentum, pushed and law is middle) for law in (*outer, middle))
        return next((why for why in reasons if why is not None), None)

    @property
    def sticks(self) -> bool:
        return any(law.sticks for law in self.laws)

    def in_units(self, origin, time, length):
        return Sum(*(law.in_units(origin, time, length) for law in self.laws))

    @property
    def linear_part(self) -> Any:
        """The sum of the laws' linear parts, where they are alike."""
        return _sum([law.linear_part for law in self.laws if law.linear_part is not None])

    def shrinks(self, kinetic, like):
        each = [law.shrinks(kinetic, like) for law in self.laws]
        return None if any(gamma is None for gamma in each) else sum(each)

    @property
    def turns(self) -> bool:
        return any(law.turns for law in self.laws)

    def composes(self, kinetic):
        return all(law.composes(kinetic) for law in self.laws)

    def likely(self, gamma, speed=None, mass=1.0):
        each = [law.likely(gamma / len(self.laws), speed, mass) for law in self.laws]
        return {f"laws[{i}].{name}": x for i, one in enumerate(each) for name, x in one.items()}

    def decay(self, mass):
        parts = [part for part in (law.decay(mass) for law in self.laws) if part is not None]
        return _sum(parts)

    @property
    def strength(self) -> Any:
        each = [law.strength for law in self.laws]
        return None if any(x is None for x in each) else each

    @property
    def asks_for_time(self) -> bool:
        return any(law.asks_for_time for law in self.laws)

    def check(self, position):
        for law in self.laws:
            position = law.check(position)
        return position

    def check_backwards(self, position):
        for law in self.laws:
            position = law.check_backwards(position)
        return position

    def bound(self, system):
        return Sum(*(law.bound(system) for law in self.laws))


def _sum(parts):
    """The sum of like pytrees; None of none, or of unlike ones."""
    if not parts or not all(_tree.same_structure(part, parts[0]) for part in parts):
        return None
    return jax.tree.map(lambda *x: sum(x), *parts)
