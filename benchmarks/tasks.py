"""Real models to train: an MLP and a small CNN on the digits, a small transformer on Python's own documentation."""

import math
from collections.abc import Callable
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

TRAIN = 1297  # of the 1,797 digits; 500 are held out


class Task(NamedTuple):
    """Parameters, a loss of (params, *data), the batch of a step, and the held-out data."""

    params: Any
    loss: Callable[..., jax.Array]
    scores: Callable[..., jax.Array]
    batch: Callable[[Any], tuple[Any, ...]]
    data: tuple[Any, ...]
    held_out: tuple[Any, ...]
    init: Callable[[jax.Array], Any]


def digits() -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Training and held-out images, shape (n, 64), scaled to [0, 1], and labels; shuffled once."""
    raw = load_digits()
    order = np.random.default_rng(0).permutation(len(raw.target))
    x, y = jnp.asarray(raw.data[order] / 16.0, jnp.float32), jnp.asarray(raw.target[order])
    return (x[:TRAIN], y[:TRAIN]), (x[TRAIN:], y[TRAIN:])


def cross_entropy(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over all but the last axis."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, labels))


def labelled(scores: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The loss of (params, inputs, labels)."""
    return lambda params, x, y: cross_entropy(scores(params, x), y)


def accuracy(task: "Task", params: Any) -> jax.Array:
    """The share of held-out inputs whose label has the highest score."""
    x, y = task.held_out
    return jnp.mean(jnp.argmax(task.scores(params, x), -1) == y)


def sampler(data: tuple[Any, ...], batch: int | None, key: Any) -> Callable[[Any], tuple[Any, ...]]:
    """Step -> mini-batch, drawn with replacement; all data if `batch` is None."""
    if batch is None:
        return lambda k: data
    rows = len(data[0])

    def draw(k):
        index = jax.random.randint(jax.random.fold_in(key, k), (batch,), 0, rows)
        return tuple(x[index] for x in data)

    return draw


def normal(key, *shape):
    """Variance 1 / fan-in, the first axis being fan-in (or all but the last, of a convolution)."""
    return jax.random.normal(key, shape, jnp.float32) / math.sqrt(math.prod(shape[:-1]))


def mlp(batch: int | None = None, widths: tuple[int, ...] = (64,), seed: int = 0) -> Task:
    """64 - widths - 10, tanh, on the digits."""
    data, held_out = digits()
    sizes = (64, *widths, 10)

    def init(key):
        keys = jax.random.split(key, len(sizes) - 1)
        shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
        return {
            f"layer{i}": {"w": normal(k, m, n), "b": jnp.zeros(n, jnp.float32)} for i, (k, m, n) in enumerate(shapes)
        }

    def scores(params, x):
        *hidden, last = params.values()
        for layer in hidden:
            x = jnp.tanh(x @ layer["w"] + layer["b"])
        return x @ last["w"] + last["b"]

    key = jax.random.key(seed)
    return Task(init(key), labelled(scores), scores, sampler(data, batch, key), data, held_out, init)


def cnn(batch: int | None = None, channels: int = 8, seed: int = 0) -> Task:
    """Two 3x3 convolutions with strides and tanh, and a linear layer, on the digits."""
    data, held_out = digits()

    def init(key):
        one, two, three = jax.random.split(key, 3)
        return {
            "conv0": {"w": normal(one, 3, 3, 1, channels), "b": jnp.zeros(channels, jnp.float32)},
            "conv1": {"w": normal(two, 3, 3, channels, 2 * channels), "b": jnp.zeros(2 * channels, jnp.float32)},
            "head": {"w": normal(three, 8 * channels, 10), "b": jnp.zeros(10, jnp.float32)},
        }

    def scores(params, x):
        x = x.reshape(-1, 8, 8, 1)
        for name in ("conv0", "conv1"):
            layer = params[name]
            x = jax.lax.conv_general_dilated(x, layer["w"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jnp.tanh(x + layer["b"])
        return x.reshape(len(x), -1) @ params["head"]["w"] + params["head"]["b"]

    key = jax.random.key(seed)
    return Task(init(key), labelled(scores), scores, sampler(data, batch, key), data, held_out, init)


def text(length: int, count: int) -> tuple[jax.Array, int]:
    """Windows of `length` + 1 characters from the language reference that Python's help() prints, and its alphabet."""
    corpus = "\n".join(topics[name] for name in sorted(topics))[: count * (length + 1)]
    alphabet = sorted(set(corpus))
    codes = np.searchsorted(alphabet, list(corpus))
    return jnp.asarray(codes.reshape(count, length + 1)), len(alphabet)


def transformer(batch: int | None = 16, width: int = 64, layers: int = 2, length: int = 32, seed: int = 0) -> Task:
    """A causal character model: pre-norm blocks of 4-head attention and a GELU layer, learned positions."""
    windows, letters = text(length, 1200)
    heads = 4
    mask = jnp.tril(jnp.ones((length, length), bool))

    def init(key):
        names = ("qkv", "out", "up", "down")
        shapes = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
        keys = iter(jax.random.split(key, 2 + layers * len(names)))
        params = {
            "embed": {"tokens": 0.1 * normal(next(keys), 1, letters, width)[0] * math.sqrt(letters)},
            "head": {"w": normal(next(keys), width, letters), "positions": jnp.zeros((length, width), jnp.float32)},
        }
        for i in range(layers):
            params[f"block{i}"] = {name: normal(next(keys), *shape) for name, shape in zip(names, shapes, strict=True)}
        return params

    def norm(x):
        x = x - jnp.mean(x, -1, keepdims=True)
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)

    def attend(block, x):
        q, k, v = (y.reshape(*x.shape[:2], heads, -1) for y in jnp.split(norm(x) @ block["qkv"], 3, axis=-1))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(width / heads)
        weights = jax.nn.softmax(jnp.where(mask, scores, -1e9), axis=-1)
        return jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape) @ block["out"]

    def scores(params, letters):
        x = params["embed"]["tokens"][letters] + params["head"]["positions"]
        for i in range(layers):
            block = params[f"block{i}"]
            x = x + attend(block, x)
            x = x + jax.nn.gelu(norm(x) @ block["up"]) @ block["down"]
        return norm(x) @ params["head"]["w"]

    def loss(params, chunk):
        return cross_entropy(scores(params, chunk[:, :-1]), chunk[:, 1:])

    key = jax.random.key(seed)
    data, held_out = (windows[:1000],), (windows[1000:],)
    return Task(init(key), loss, scores, sampler(data, batch, key), data, held_out, init)
