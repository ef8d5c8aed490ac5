"""The dynamics alone, learned from the latents of whole videos: no picture is decoded, seconds instead of hours."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.runs.logs import say
from oddn_jax import ODDN, compiler_options

MODULES = ("distiller", "relation", "predictor")  # their parameters are learned, those of all others stay
CLIPS, FRAMES = 24, 10  # of a step
LEARNING_RATE, WARMUP_STEPS, GRADIENT_CLIP = 1e-2, 50, 5.0
RATE_TO_GO_ON = 3e-3  # with dynamics that are learned already
START = 0.3  # of the predictor's kernel for the dynamics, over its usual initial one
EVERY = 500  # steps between two lines


def learn(
    model: ODDN,
    params: Mapping[str, Any],
    latents: Sequence[np.ndarray],
    held_out: np.ndarray,
    num_steps: int,
    seed: int,
    go_on: bool = False,
) -> tuple[dict[str, Any], float, float]:
    """Trains dynamics with `ODDN.latent_loss` and Adam, on windows of videos drawn at random.

    New ones start from `distiller_init="match"`, and from predictions that repeat a frame's latents: how little changes
    from one frame to the next would take long to learn (our choice; diary "dynamics and velocity").

    Args:
        params: the model's; those of `MODULES` are not read, unless the training goes on with them.
        go_on: at `RATE_TO_GO_ON`, with the model's own dynamics.
        latents: of each kind of clips f32[v t k l], the posteriors' means; they stay as they are. Each kind gives as
            many windows to a step.
        held_out: of other videos, which are only looked at.

    Returns:
        All parameters, and, on the videos held out, half of the squared error of the next frame's latents, summed over
        slots and latents: of those predicted, and of the last ones repeated.

    Raises:
        ValueError: fewer than three frames, or the training diverges.
    """
    shortest = min(kind.shape[1] for kind in latents)
    if shortest < 3:
        raise ValueError(f"videos of {shortest} frames cannot be learned from: dynamics need three")
    others = {name: value for name, value in params.items() if name not in MODULES}
    learned = _initial(model, seed)
    if go_on:
        learned = {name: params[name] for name in learned}
    rate = RATE_TO_GO_ON if go_on else LEARNING_RATE
    schedule = optax.warmup_cosine_decay_schedule(0, rate, min(WARMUP_STEPS, num_steps // 2), num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(GRADIENT_CLIP), optax.adam(schedule))
    options = compiler_options()

    of_next = model.clone(
        config=dataclasses.replace(model.config, student_forcing_depth=1, long_range_steps=0)
    )

    def loss_of(learned, clips, model=model):
        return model.latent_loss({**others, **learned}, clips)

    def score(learned, videos):  # some at a time: pairs of slots take memory
        return jax.lax.map(
            lambda video: loss_of(learned, video[None], of_next), videos, batch_size=CLIPS
        ).mean()

    def step(learned, state, clips):
        loss, gradient = jax.value_and_grad(loss_of)(learned, clips)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(learned, updates), state, loss

    step, score = (jax.jit(function, compiler_options=options) for function in (step, score))
    copied = float(((held_out[:, 2:] - held_out[:, 1:-1]) ** 2).sum((-2, -1)).mean() / 2)
    frames = min(FRAMES, shortest)
    random, state, losses = np.random.default_rng(seed), optimizer.init(learned), []
    for number in range(1, num_steps + 1):
        windows = []
        for kind in latents:
            videos = random.integers(len(kind), size=(CLIPS // len(latents), 1))
            starts = random.integers(kind.shape[1] - frames + 1, size=videos.shape)
            windows.append(kind[videos, starts + np.arange(frames)])
        learned, state, loss = step(learned, state, np.concatenate(windows))
        losses.append(loss)
        if number % EVERY == 0 or number == num_steps:
            error = float(score(learned, held_out))
            say(
                f"step {number}/{num_steps}: error of predicted latents {np.mean(losses):.3f}; on videos held out, of "
                f"the next frame's {error:.3f}, by repeating the last {copied:.3f}"
            )
            losses = []
            if not np.isfinite(error):
                raise ValueError(f"the dynamics diverged by step {number}: try another --seed")
    return {**others, **learned}, error, copied


def _initial(model: ODDN, seed: int) -> dict[str, Any]:
    config = dataclasses.replace(model.config, distiller_init="match")
    params = model.clone(config=config).initialize(jax.random.key(seed))
    learned = {name: params[name] for name in MODULES if name in params}
    kernel = learned["predictor"]["projection"]["kernel"]
    of_dynamics = START * kernel[: config.dynamics_size]
    learned["predictor"]["projection"]["kernel"] = jnp.concatenate([of_dynamics, jnp.eye(config.latent_size)])
    return learned
