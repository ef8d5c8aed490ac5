"""Every model learns a handful of clips by heart by plain Adam; what it predicts is said beside repeating a frame.

`XLA_FLAGS= python -m pytest -m slow tests/oddn_jax/test_learning.py -s` prints what docs/results.md gives.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oddn_jax import ODDN, ODDNConfig, VideoModel
from oddn_jax.baselines import (
    IODINE,
    PROVIDE,
    SRVP,
    IODINELinear,
    IODINELinearConfig,
    MONet,
    MONetConfig,
    ProvideConfig,
    SRVPConfig,
)
from oddn_jax.losses import oddn_losses
from oddn_jax.metrics import mse, training_diagnostics


class Case(NamedTuple):
    """A model, how it is trained, and what it must reach on clips of moving squares."""

    model: type[VideoModel]
    config: Any
    learning_rate: float
    num_steps: int
    bound: float  # of the reconstruction's squared error; an empty picture has 7.9e-3
    share: float | None = (
        None  # of the error of repeating the last frame, which the predictions must stay below
    )


CHEAP = dict(
    image_height=16, image_width=16, num_slots=2, latent_size=8, num_refinement_steps=3, num_tracking_steps=0
)
SMALL = CHEAP | {"pyramid": 0, "background_slot": 0.0}
BASELINE = SMALL | {"share_noise": False}  # as published
CASES = {
    "IODINE": Case(IODINE, ODDNConfig.preset("quickstart", **BASELINE), 2e-3, 1000, 2e-3),
    "ODDN": Case(ODDN, ODDNConfig.preset("quickstart", **SMALL), 2e-3, 1500, 2e-3, 0.5),
    "ODDN, cheap form": Case(
        ODDN, ODDNConfig.preset("quickstart", **CHEAP | {"background_slot": 2.0}), 2e-3, 1500, 2e-3, 0.5
    ),
    "IODINE linear": Case(
        IODINELinear, IODINELinearConfig.preset("quickstart", **BASELINE), 2e-3, 1500, 2e-3, 0.5
    ),
    "PROVIDE": Case(PROVIDE, ProvideConfig.preset("quickstart", **BASELINE), 2e-3, 1500, 2e-3, 0.5),
    "SRVP": Case(
        SRVP,
        SRVPConfig(
            image_height=16,
            image_width=16,
            coder="dcgan",
            coder_channels=8,
            code_size=32,
            state_size=8,
            innovation_size=4,
            inference_size=64,
            dynamics_hidden_size=64,
            observation_scale=0.1,
        ),
        3e-3,
        1000,
        2e-3,
        0.5,
    ),
    "MONet": Case(
        MONet,
        MONetConfig(
            image_height=16,
            image_width=16,
            num_slots=3,
            latent_size=8,
            attention_channels=8,
            num_attention_blocks=3,
            attention_hidden_size=32,
            component_channels=8,
            component_hidden_size=64,
        ),
        2e-3,
        1000,
        1e-3,
    ),
}


def moving_squares(num_frames: int) -> np.ndarray:
    """Four clips of one square on grey, in four directions: f32[4 t 16 16 3]."""
    video = np.full((4, num_frames, 16, 16, 3), 0.4, np.float32)
    for clip, (down, right) in enumerate([(1, 0), (-1, 0), (0, 1), (0, -1)]):
        for frame in range(num_frames):
            row, column = 6 + frame * down, 6 + frame * right
            video[clip, frame, row : row + 4, column : column + 4] = (0.9, 0.2, 0.1)
    return video


def learn(model: VideoModel, video: jax.Array, learning_rate: float, num_steps: int) -> dict[str, Any]:
    """Parameters after so many steps of Adam, the rate falling to zero, on all clips at once."""
    schedule = optax.cosine_decay_schedule(learning_rate, num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(schedule))
    params = jax.jit(model.initialize)(jax.random.key(0))

    @jax.jit
    def step(params, state, key):
        def loss(params):
            metrics, collections = model.loss(params, video, jax.random.split(key, len(video)))
            return metrics["loss"], collections

        gradients, collections = jax.grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state)
        return {**optax.apply_updates(params, updates), **collections}, state

    state = optimizer.init(params)
    for number in range(num_steps):
        params, state = step(params, state, jax.random.fold_in(jax.random.key(1), number))
    return params


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_overfits_four_clips_of_a_moving_square(name):
    case, video = CASES[name], jnp.asarray(moving_squares(5))
    model = case.model(case.config)
    params = learn(model, video, case.learning_rate, case.num_steps)
    key = jax.random.key(2)
    error = float(mse(model.reconstruct(params, video, key), video).mean())
    print(f"\n{name}: {case.num_steps} steps, reconstruction {error:.5f}", end="")
    assert error < case.bound
    try:
        future = model.predict(params, video[:, :2], key, 3)
    except ValueError:
        assert case.share is None  # a model of single frames
        return
    last = jnp.broadcast_to(video[:, 1:2], future.shape)
    predicted, repeated = (np.asarray(mse(x, video[:, 2:]).mean(0)) for x in (future, last))
    print(f", predicted frames {predicted.round(5)}, repeating the last one {repeated.round(5)}")
    assert case.share is None or predicted.mean() < case.share * repeated.mean()


def moving_discs(num_clips: int, num_frames: int, size: int) -> np.ndarray:
    """Two discs of different colours on grey, each with its own velocity: f32[b t size size 3]."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    video = np.full((num_clips, num_frames, size, size, 3), 0.4, np.float32)
    for clip in range(num_clips):
        for colour, side in (((0.9, 0.2, 0.1), 0.3), ((0.1, 0.4, 0.9), 0.7)):
            start = np.array([random.uniform(0.35, 0.65), side]) * size
            velocity = random.uniform(-1.5, 1.5, 2)
            for frame in range(num_frames):
                row, column = start + frame * velocity
                video[clip, frame][(rows - row) ** 2 + (columns - column) ** 2 < (size / 7) ** 2] = colour
    return video


@pytest.mark.slow
def test_overfits_four_clips_of_moving_discs():
    """Reconstruction error below 1e-3, one-step prediction better than repeating the last frame."""
    config = ODDNConfig.preset(
        "quickstart", num_slots=3, convolution_channels=16, latent_size=8, student_forcing_depth=1
    )
    model, video = ODDN(config), jnp.asarray(moving_discs(4, 4, 32))
    params = jax.jit(lambda: model.init(jax.random.key(0), method="initialize_parameters"))()["params"]
    optimizer = optax.chain(
        optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(2e-3, 2000))
    )

    @jax.jit
    def step(params, state, key):
        def loss(params):
            outputs = model.apply({"params": params}, video, key)
            losses = oddn_losses(outputs, config)
            reconstruction = outputs.inference.decoded.reconstruction
            return losses.total, losses.terms | training_diagnostics(video, reconstruction)

        gradients, metrics = jax.grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, metrics

    state = optimizer.init(params)
    for number in range(2000):
        params, state, metrics = step(params, state, jax.random.fold_in(jax.random.key(1), number))
        if number % 50 == 0:
            print(
                number,
                {name: round(float(metrics[name]), 5) for name in ("mse", "mse_predicted", "mse_copy_last")},
            )
            if metrics["mse"] < 8e-4 and metrics["mse_predicted"] < 0.9 * metrics["mse_copy_last"]:
                break
    assert metrics["mse"] < 1e-3
    assert metrics["mse_predicted"] < metrics["mse_copy_last"]
