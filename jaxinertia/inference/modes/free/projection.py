r"""Variable projection: the best amplitudes at every choice of poles, and Gauss-Newton steps of the poles alone.

For each run and each set of equally weighted channels all that is needed are the products of the columns of `sections`
with each other and with the residuals, summed over chunks of rows: the derivatives of all channels are combinations of
the same columns. With Phi the motions, a constant and a trend, E the derivative columns, P the projection off Phi and
L_j the combination of channel j, its information is L_j^T E^T P E L_j / sigma_j^2 and its score
L_j^T E^T r_j / sigma_j^2.

Source: G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973); L. Kaufman, BIT 15, 49 (1975).
"""

from typing import NamedTuple

import numpy as np

from ..record import Record
from .sections import Sections, chain, columns

CHUNK = 16384  # rows at a time: columns stay in the cache
ROUNDING = 1e-13  # of an eigenvalue of a Gram matrix of unit diagonal
BLIND = 1e-11  # of an eigenvalue of an information of unit diagonal
STEPS = 100
GROWTH = 20.0  # e-folds over a run beyond which a growing motion is none
SMALL = 1e-4  # of a deviance: steps that lower it by less end the search
DIGITS = 3e-15  # of the readings' size: what their own rounding leaves


class Block(NamedTuple):
    """Equally weighted channels of one run. w: (n,) or None where it is 1 everywhere; y: (n, c), less `base`, times w.
    base: (c,), what was taken off readings beforehand, lest a level far above the motion take its digits. total: (c,),
    the squares of w times readings."""

    ts: np.ndarray
    w: np.ndarray | None
    y: np.ndarray
    channels: np.ndarray
    run: int
    total: np.ndarray
    base: np.ndarray


class Problem(NamedTuple):
    """All blocks. counts: (d,), readings of each channel. known: whether residuals are in standard deviations. levels:
    powers of time, from 0, that are fitted to each channel of each run. longest: of the runs' durations. step: between
    readings, the typical one. zone: how often frequencies are folded at half their rate. band: of angular frequency, in
    which modes are looked for."""

    blocks: tuple[Block, ...]
    counts: np.ndarray
    known: bool
    levels: int
    longest: float
    step: float
    zone: int
    band: tuple[float, float]
    filtered: bool

    def inside(self, sections: Sections) -> np.ndarray:
        """(K,), whether each mode lies in the band: of a swinging one the damped frequency, of others the natural
        one."""
        swing = np.sqrt(np.maximum(-sections.depth, 0.0))
        omega = 2 * np.pi * sections.frequency
        omega[: len(swing)] = np.where(swing > 0, swing, omega[: len(swing)])
        return (omega >= self.band[0]) & (omega <= self.band[1])

    def resolves(self, sections: Sections) -> bool:
        """Whether no mode is beyond what the readings' rate tells from a slower one."""
        swing = np.sqrt(np.maximum(-sections.depth, 0.0)) * self.step / np.pi
        return bool(np.all((swing >= self.zone) & (swing <= self.zone + 1)))

    def unfolded(self, omega: np.ndarray) -> np.ndarray:
        """The angular frequencies within the record's zone that look like these."""
        half = np.pi / self.step
        return self.zone * half + omega if self.zone % 2 == 0 else (self.zone + 1) * half - omega


class Sums(NamedTuple):
    """Of one block at the best amplitudes. c: (q, channels). inverse: of Phi^T Phi. across: (q, e), Phi^T E. inner:
    (e, e), E^T P E. score: (e, channels), E^T r. squares: (channels,), r^T r."""

    c: np.ndarray
    inverse: np.ndarray
    across: np.ndarray
    inner: np.ndarray
    score: np.ndarray
    squares: np.ndarray


class State(NamedTuple):
    """Poles with all that follows. squares: (d,), of the residuals. deviance: -2 log L but for a constant."""

    sections: Sections
    sums: tuple[Sums, ...]
    squares: np.ndarray
    deviance: float
    converged: bool = False


def pose(
    record: Record,
    zone: int = 0,
    band: tuple[float, float] | None = None,
    level: bool = True,
    filtered: bool = False,
) -> Problem:
    """Channels of equal weight together; the band in cycles."""
    blocks = []
    for r, run in enumerate(record.runs):
        left = [j for j in range(record.channels) if np.any(run.weight[:, j] > 0)]
        while left:
            same = [j for j in left if np.array_equal(run.weight[:, j], run.weight[:, left[0]])]
            left = [j for j in left if j not in same]
            w = run.weight[:, same[0]]
            kept = w > 0
            w, ts, y = w[kept], run.ts[kept], run.y[kept][:, same]
            plain = bool(np.all(w == 1))
            base = y.mean(axis=0) * level
            total = np.einsum("nc,n->c", y**2, w**2)
            y = y - base if plain else (y - base) * w[:, None]
            blocks.append(Block(ts, None if plain else w, y, np.array(same), r, total, base))
    counts = sum((run.weight > 0).sum(0) for run in record.runs)
    low, high = (0.0, 0.5 / record.typical) if band is None else band
    turned = 2 * np.pi * low, 2 * np.pi * high
    counts = np.asarray(counts)
    levels = (1 + record.trend) * level
    return Problem(tuple(blocks), counts, record.known, levels, record.duration, record.typical, zone, turned, filtered)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # of poles beyond all sense: their deviance is NaN
def evaluate(problem: Problem, sections: Sections, before: State | None = None) -> State:
    """The best amplitudes of these poles; residuals are summed at the amplitudes of `before`, which loses no digits."""
    olds = [None] * len(problem.blocks) if before is None else [sums.c for sums in before.sums]
    sums = tuple(_sums(block, sections, old, problem.levels) for block, old in zip(problem.blocks, olds, strict=True))
    squares = np.zeros(len(problem.counts))
    for block, each in zip(problem.blocks, sums, strict=True):
        squares[block.channels] += np.maximum(each.squares, DIGITS**2 * block.total)
    return State(sections, sums, squares, deviance(problem, squares))


def deviance(problem: Problem, squares: np.ndarray) -> float:
    """sum r^2 where errors are known, sum_j n_j log(r_j^2 / n_j) where they are not."""
    if problem.known:
        return float(np.sum(squares))
    return float(np.sum(problem.counts * np.log(np.maximum(squares / problem.counts, 1e-300))))


def _sums(block: Block, sections: Sections, c: np.ndarray | None, levels: int) -> Sums:
    m = 2 * len(sections.a) + len(sections.rate)
    q, width = m + levels, m + levels + 3 * len(sections.a) + len(sections.rate)
    gram, cross = np.zeros((width, width)), np.zeros((width, len(block.channels)))
    squares = np.zeros(len(block.channels))
    fresh = c is None or len(c) != q
    for start in range(0, len(block.ts), CHUNK):
        rows = slice(start, start + CHUNK)
        z = weighted_columns(sections, block.ts[rows], None if block.w is None else block.w[rows], levels)
        r = block.y[rows] if fresh else block.y[rows] - z[:, :q] @ c
        gram += z.T @ z
        cross += z.T @ r
        squares += np.einsum("nc,nc->c", r, r)
    inverse = inverted(gram[:q, :q])
    change = inverse @ cross[:q]
    across = gram[:q, q:]
    return Sums(
        change if fresh or c is None else c + change,
        inverse,
        across,
        gram[q:, q:] - across.T @ inverse @ across,
        cross[q:] - across.T @ change,
        squares - np.einsum("qc,qc->c", change, cross[:q]),
    )


def weighted_columns(sections: Sections, t: np.ndarray, w: np.ndarray | None, levels: int) -> np.ndarray:
    """Motions, powers of time, and the derivative columns, each row times its weight."""
    moves, extra = columns(sections, t)
    z = np.concatenate([moves, powers(t, levels), extra], axis=1)
    return z if w is None else z * w[:, None]


def powers(t: np.ndarray, levels: int) -> np.ndarray:
    """1, t, ...: (n, levels)."""
    return t[:, None] ** np.arange(levels)


def inverted(gram: np.ndarray) -> np.ndarray:
    """Of a symmetric positive matrix, scaled to a unit diagonal; what rounding alone holds is left out."""
    root = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    unit = gram / root / root[:, None]
    if not np.all(np.isfinite(unit)):
        return np.full_like(gram, np.nan)
    values, vectors = np.linalg.eigh(unit)
    weights = np.where(
        values > ROUNDING * max(values.max(initial=0.0), 1e-300), 1 / np.where(values > 0, values, 1), 0.0
    )
    return (vectors * weights) @ vectors.T / root / root[:, None]


def normal(problem: Problem, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Information and score of the poles' numbers, in units of the deviance's half."""
    p = state.sections.size
    information, score = np.zeros((p, p)), np.zeros(p)
    weight = np.ones(len(problem.counts)) if problem.known else problem.counts / np.maximum(state.squares, 1e-300)
    for block, sums in zip(problem.blocks, state.sums, strict=True):
        combine = chain(state.sections, sums.c)
        w = weight[block.channels]
        information += np.einsum("c,cep,ef,cfq->pq", w, combine, sums.inner, combine, optimize=True)
        score += np.einsum("c,cep,ec->p", w, combine, sums.score)
    return information, score


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def refine(problem: Problem, start: State, fixed: tuple[int, ...] = (), steps: int = STEPS) -> State:
    """Levenberg and Marquardt's search over the poles, those numbers held that are `fixed`."""
    state, damping = start, 1e-3
    free = np.setdiff1d(np.arange(start.sections.size), fixed)
    if not len(free) or not np.isfinite(state.deviance):
        return state
    information, score = normal(problem, state)
    for _ in range(steps):
        h, g = information[np.ix_(free, free)], score[free]
        if not np.all(np.isfinite(h)):
            return state
        scale = np.sqrt(np.maximum(np.diag(h), 1e-300))
        ideal = scaled_solve(h, g, scale, 0.0)
        if not np.all(np.isfinite(ideal)):
            return state
        if float(g @ ideal) < SMALL:
            return state._replace(converged=True)
        change = np.zeros(start.sections.size)
        change[free] = scaled_solve(h, g, scale, damping)
        trial = _trial(problem, state, state.sections.u + change)
        if trial is not None and trial.deviance < state.deviance:
            state, damping = trial, max(damping / 10, 1e-9)
            information, score = normal(problem, state)
        elif damping > 1e8:
            return state._replace(converged=float(g @ ideal) < 1.0 or is_rounding(problem, state))
        else:
            damping = max(damping * 8, 1e-6)
    return state


def _rounding(problem: Problem) -> np.ndarray:
    """(d,), squares of residuals below which they are rounding."""
    total = np.zeros(len(problem.counts))
    for block in problem.blocks:
        total[block.channels] += block.total
    return (30 * DIGITS) ** 2 * total


def is_rounding(problem: Problem, state: State) -> bool:
    """Whether the residuals are no more than the readings' own rounding."""
    return bool(np.all(state.squares < _rounding(problem)))


def _trial(problem: Problem, state: State, u: np.ndarray) -> State | None:
    sections = state.sections.of(u)
    wild = np.any(sections.slowest * problem.longest < -GROWTH) or np.any(np.isnan(sections.frequency))
    if wild or not problem.resolves(sections):
        return None
    trial = evaluate(problem, sections, state)
    return trial if np.isfinite(trial.deviance) else None


def scaled_solve(h: np.ndarray, g: np.ndarray, scale: np.ndarray, damping: float) -> np.ndarray:
    """(h + damping diag h)^-1 g."""
    unit = h / scale / scale[:, None] + damping * np.eye(len(h))
    return inverted(unit) @ (g / scale) / scale


@np.errstate(over="ignore", invalid="ignore")
def is_told(problem: Problem, state: State) -> bool:
    """Whether the record holds all of the poles' numbers: their information is not singular but for rounding."""
    information = normal(problem, state)[0]
    if not len(information):
        return True
    root = np.sqrt(np.maximum(np.diag(information), 1e-300))
    unit = information / root / root[:, None]
    return bool(np.all(np.isfinite(unit)) and np.linalg.eigvalsh(unit)[0] > BLIND)


def strengths(problem: Problem, state: State) -> np.ndarray:
    """(K,), how much the deviance would rise without each mode, the others' poles held: c^T (G^-1)_kk^-1 c /
    sigma^2."""
    m, l = len(state.sections.a), len(state.sections.rate)
    out = np.zeros(m + l)
    weight = np.ones(len(problem.counts)) if problem.known else problem.counts / np.maximum(state.squares, 1e-300)
    for block, sums in zip(problem.blocks, state.sums, strict=True):
        for k in range(m + l):
            rows = [k, m + k] if k < m else [m + k]
            c = sums.c[rows]
            inner = inverted(sums.inverse[np.ix_(rows, rows)])
            out[k] += np.einsum("ic,ij,jc,c->", c, inner, c, weight[block.channels])
    return out


def residuals(problem: Problem, state: State) -> list[np.ndarray]:
    """Of each block, (n, channels), times its weights."""
    out = []
    for block, sums in zip(problem.blocks, state.sums, strict=True):
        r = np.empty_like(block.y)
        for start in range(0, len(block.ts), CHUNK):
            rows = slice(start, start + CHUNK)
            moves = columns(state.sections, block.ts[rows], derivatives=False)[0]
            fit = np.concatenate([moves, powers(block.ts[rows], problem.levels)], axis=1) @ sums.c
            r[rows] = block.y[rows] - (fit if block.w is None else fit * block.w[rows, None])
        out.append(r)
    return out
