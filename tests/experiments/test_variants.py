"""Each change to a preset does what its name says, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oddn_jax
from experiments.configs import clevrer

SMALL = dict(
    image_height=16,
    image_width=16,
    num_slots=3,
    latent_size=4,
    num_refinement_steps=2,
    hidden_size=8,
    convolution_channels=4,
    pair_embedding_size=8,
    pair_attention_size=8,
    pair_effect_size=8,
)
# What is seen of the paper's own training, and what each change makes of it. Predicted in a clip of 8 frames: frames
# 3-8 from observed pairs, and frames 4-8 from a predicted one.
PAPER = {
    "relation module": True,
    "features": True,
    "dynamics see the frame itself": True,
    "a rollout distils again": True,
    "predictions": 6 + 5,
}
CHANGED = {
    "no_relation": {"relation module": False},
    "no_features": {"features": False},
    "attend_previous_only": {"dynamics see the frame itself": False},
    "carry": {"a rollout distils again": False},
    "one_step": {"predictions": 6},
    "long_range": {"predictions": 6 + 5 + 6},
}


def observe(variant):
    """What a small model with the variant's options does."""
    model = oddn_jax.ODDN(dataclasses.replace(clevrer.get_config(variant).model, **SMALL))
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))
    variables = jax.tree.map(lambda leaf: jnp.asarray(generator.normal(0, 0.3, leaf.shape), "f4"), shapes)
    latents = jnp.asarray(generator.normal(size=(1, 2, 3, 4)), "f4")
    match = model.apply(variables, latents, method="distill").match_attention
    rollout = jax.jit(lambda: model.apply(variables, latents, num_steps=2, method="rollout"))()
    clip = jax.ShapeDtypeStruct((1, 8, 16, 16, 3), jnp.float32)
    outputs = jax.eval_shape(lambda video: model.apply(variables, video, jax.random.key(0)), clip)
    pair_attention = np.asarray(rollout.pair_attention)
    assert ("relation" in variables["params"]) == (pair_attention > 0).any()
    return {
        "relation module": "relation" in variables["params"],
        "features": "features" in variables["params"],
        "dynamics see the frame itself": bool((match[..., 3:] > 0).any()),
        "a rollout distils again": bool((rollout.match_attention[:, 1] > 0).any()),
        "predictions": outputs.prediction.nll.shape[-1],
    }


@pytest.mark.parametrize("variant", ["prediction", *CHANGED])
def test_a_change_changes_what_it_names(variant):
    assert observe(variant) == PAPER | CHANGED.get(variant, {})


def test_every_change_is_observed():
    assert set(CHANGED) == set(clevrer.CHANGES)
