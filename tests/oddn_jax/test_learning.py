"""The model learns: a handful of clips of two moving discs, by plain Adam."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oddn_jax import ODDN, ODDNConfig
from oddn_jax.losses import oddn_losses
from oddn_jax.metrics import training_diagnostics


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
