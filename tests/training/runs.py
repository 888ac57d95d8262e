"""The named tables and loops that the tests of training run over."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxinertia as ji

SCHEDULE = optax.cosine_decay_schedule(0.02, 40)
OPTIMIZERS = {
    "sgd": optax.sgd(0.05),
    "momentum": optax.sgd(0.02, momentum=0.9),
    "nesterov": optax.sgd(0.02, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.01),
    "adamw": optax.adamw(0.01, weight_decay=0.1),
    "lion": optax.lion(0.003),
    "muon": optax.contrib.muon(0.01),
    "schedule": optax.sgd(SCHEDULE, momentum=0.9),
    "chain": optax.chain(optax.clip_by_global_norm(0.5), optax.scale_by_adam(), optax.scale(-0.01)),
    "multi_steps": optax.MultiSteps(optax.sgd(0.02, momentum=0.9), 3).gradient_transformation(),
    "reads the loss": optax.contrib.reduce_on_plateau(patience=2),
}

_KEYS = jax.random.split(jax.random.key(7), 4)
X = jax.random.normal(_KEYS[0], (32, 5))
Y = jnp.sin(X @ jax.random.normal(_KEYS[1], (5, 3)))
PARAMS = {
    "inner": {"w": jax.random.normal(_KEYS[2], (4, 5)) / 2, "b": jnp.zeros(4)},
    "outer": {"w": jax.random.normal(_KEYS[3], (3, 4)) / 2},
}


def loss(params, x=X, y=Y):
    hidden = jnp.tanh(x @ params["inner"]["w"].T + params["inner"]["b"])
    return jnp.mean((hidden @ params["outer"]["w"].T - y) ** 2)


def batch(k, size=8):
    return jax.lax.dynamic_slice_in_dim(X, size * (k % 4), size), jax.lax.dynamic_slice_in_dim(Y, size * (k % 4), size)


def train(optimizer, params, steps, fn=loss, with_value=True, read=True, state=None):
    """A scan of full-batch steps: (params, state), and with `read` the readouts and the parameters before each."""

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(fn)(params)
        options = {"value": value} if with_value else {}
        updates, after = optimizer.update(gradient, state, params, **options)
        seen = (ji.training.readout(after), params) if read else None
        return (optax.apply_updates(params, updates), after), seen

    state = optimizer.init(params) if state is None else state
    return jax.jit(lambda carry: jax.lax.scan(step, carry, None, steps))((params, state))


def flat(tree):
    """All numbers of a tree in one vector."""
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
