r"""The Lie series of a word: one vector field whose flow is the whole step, as coefficients of nested commutators.

A step is a product of exponentials of the fields A (drift), B (kick) and O (friction). Its logarithm, in the free
algebra of words in these letters, is a sum over words w of c_w w; as it is a Lie element, each word of n letters may be
read as the nested commutator [w_1, [w_2, ... [w_{n-1}, w_n]]] / n (Dynkin, Specht, Wever).

Source: E. Hairer, C. Lubich, G. Wanner, Geometric Numerical Integration, 2006, ch. III.4.
"""

import functools
import itertools
from typing import TypeAlias

import numpy as np

# How long a letter lets each of the fields act at once, in steps: (1, 0, 0) is a drift over the whole step.
Amounts: TypeAlias = tuple[float, ...]


@functools.cache
def nested_commutators(letters: tuple[Amounts, ...], degree: int) -> dict[tuple[int, ...], float]:
    """Word of fields (their places in `Amounts`) -> the factor of its nested commutator, up to `degree` letters."""
    fields = len(letters[0])
    found = {}
    for n, coefficients in enumerate(_logarithm(letters, degree)[1:], 1):
        for word, c in zip(itertools.product(range(fields), repeat=n), coefficients / n, strict=True):
            if c:
                found[word] = float(c)
    return found


def _logarithm(letters, degree):
    """log(exp(X_1) exp(X_2) ...): a series is one flat array for each length of word. What acts first stands left."""
    step = _one(len(letters[0]), degree)
    for amounts in letters:
        step = _product(step, _exponential(np.array(amounts), degree))
    rest = [0 * step[0], *step[1:]]
    logarithm, power = [0 * x for x in step], _one(len(letters[0]), degree)
    for k in range(1, degree + 1):
        power = _product(power, rest)
        logarithm = [a - (-1) ** k / k * x for a, x in zip(logarithm, power, strict=True)]
    return logarithm


def _one(fields, degree):
    return [np.ones(1), *(np.zeros(fields**n) for n in range(1, degree + 1))]


def _exponential(x, degree):
    terms = [np.ones(1)]
    for n in range(1, degree + 1):
        terms.append(np.kron(terms[-1], x) / n)
    return terms


def _product(left, right):
    return [sum(np.kron(left[i], right[n - i]) for i in range(n + 1)) for n in range(len(left))]
