r"""Elementary energies: all that Poisson brackets of K(p) and L(q) can make, as trees.

{f, g} = f_q g_p - f_p g_q joins a derivative of L to one of K. So an iterated bracket is a sum of trees whose vertices
are K's and L's in turn: a vertex with n edges is the n-th derivative, an edge contracts. With K = |p|^2/2, the tree
K-L is p.g, K-L-K is p^T H p, L-K-L is |g|^2, with g the gradient and H the Hessian of L.

Source: E. Hairer, C. Lubich, G. Wanner, Geometric Numerical Integration, 2006, ch. IX.9 (elementary Hamiltonians).
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax

from .._types import Position, Scalar

# (the vertex at the root, "K" or "L"; the trees that hang from it)
Tree: TypeAlias = tuple[str, tuple[Any, ...]]

KINETIC: Tree = ("K", ())
POTENTIAL: Tree = ("L", ())


def bracket(f: Tree, g: Tree) -> Counter[Tree]:
    """{f, g} as a sum of trees: every vertex of one that may be joined to a vertex of the other, is."""
    total: Counter[Tree] = Counter()
    for left in _rootings(f):
        for right in _rootings(g):
            if left[0] != right[0]:
                sign = 1 if left[0] == "L" else -1
                total[standard(_with_child(left, right))] += sign
    return total


def standard(tree: Tree) -> Tree:
    """The same tree from its busiest vertex: one name for it, and the one that takes the fewest vectors."""
    return max(_rootings(tree), key=lambda rooted: (len(rooted[1]), rooted))


@functools.cache
def vertices(tree: Tree) -> int:
    """How many vertices: one more than the power of h that it comes with."""
    return sum(1 for _ in _rootings(tree))


@functools.cache
def momentum_degree(tree: Tree) -> int:
    """The power of p in it, for a quadratic K: below 0 it vanishes in one of its K's."""
    degrees = [2 - len(children) for vertex, children in _rootings(tree) if vertex == "K"]
    return min([sum(degrees), *(d for d in degrees if d < 0)])


def values(
    trees: list[Tree],
    kinetic: Callable[[Position], Scalar],
    potential: Callable[[Position], Scalar],
    position: Position,
    momentum: Position,
) -> list[Scalar]:
    """The numbers that the trees are at one point, by nested directional derivatives: no array of derivatives is made.

    A vertex below the root is a vector: the derivative of grad K or grad L along the vectors that hang from it.
    """
    functions = {"K": (kinetic, momentum), "L": (potential, position)}
    known: dict[Tree, Position] = {}

    def vector(tree: Tree) -> Position:
        if tree not in known:
            fn, at = functions[tree[0]]
            known[tree] = _derivative(jax.grad(fn), at, [vector(child) for child in tree[1]])
        return known[tree]

    def value(tree: Tree) -> Scalar:
        fn, at = functions[tree[0]]
        return _derivative(fn, at, [vector(child) for child in tree[1]])

    return [value(tree) for tree in trees]


def _derivative(fn, at, directions):
    for direction in directions:
        fn = functools.partial(_along, fn, direction)
    return fn(at)


def _along(fn, direction, at):
    return jax.jvp(fn, (at,), (direction,))[1]


def _rootings(tree: Tree, above: Tree | None = None) -> Iterator[Tree]:
    """The tree (below another one, if given) from each of its vertices in turn."""
    vertex, children = tree
    outside = () if above is None else (above,)
    yield vertex, tuple(sorted((*children, *outside)))
    for i, child in enumerate(children):
        rest = vertex, tuple(sorted((*children[:i], *children[i + 1 :], *outside)))
        yield from _rootings(child, rest)


def _with_child(tree: Tree, child: Tree) -> Tree:
    return tree[0], tuple(sorted((*tree[1], child)))
