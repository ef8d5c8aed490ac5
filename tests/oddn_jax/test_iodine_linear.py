"""IODINE linear: counts, the extrapolation written out, what training predicts."""

import dataclasses
import json
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax.baselines import IODINE, IODINELinear, IODINELinearConfig
from oddn_jax.export import flatten_params
from oddn_jax.losses import elbo_losses, oddn_losses

FROZEN = json.loads(
    (pathlib.Path(__file__).parents[1] / "golden" / "iodine_linear_parameters.json").read_text()
)
SCOPES = ("slot", "frame")


def parameter_shapes(model):
    initialize = partial(model.init, jax.random.key(0), method="initialize_parameters")
    return {
        name: list(leaf.shape) for name, leaf in flatten_params(jax.eval_shape(initialize)["params"]).items()
    }


@pytest.fixture(scope="module", params=SCOPES)
def linear(request, tiny_config, initial_variables):
    """(model, variables), with a single decoding: the refinement is the backbone's, and has its own tests."""
    fields = dataclasses.asdict(tiny_config) | {"num_refinement_steps": 1, "predictor_scope": request.param}
    fields["predictor_hidden_size"] = 7
    model = IODINELinear(IODINELinearConfig(**fields))
    return model, initial_variables(model)


@pytest.mark.parametrize(
    "scope, predictor, total", [("slot", 49_472, 2_829_524), ("frame", 689_088, 3_469_140)]
)
def test_names_shapes_and_counts_are_frozen(scope, predictor, total):
    """IODINE's, and 128 -> 256 -> 64 for a slot, 896 -> 512 -> 448 for a frame of 7 slots."""
    config = IODINELinearConfig.preset("prediction", predictor_scope=scope)
    shapes = parameter_shapes(IODINELinear(config))
    own = {name: shape for name, shape in shapes.items() if name.startswith("predictor/")}
    assert own == FROZEN[scope]
    assert {n: s for n, s in shapes.items() if n not in own} == parameter_shapes(IODINE(config))
    assert sum(map(np.prod, own.values())) == predictor
    assert sum(map(np.prod, shapes.values())) == total


def extrapolate(model, variables, previous, current):
    """In NumPy."""
    first, second = (
        jax.tree.map(np.asarray, variables["params"]["predictor"][f"dense_{layer}"]) for layer in (0, 1)
    )
    if model.config.predictor_scope == "slot":
        pairs = [[np.concatenate([p, c]) for p, c in zip(*clips)] for clips in zip(previous, current)]
    else:
        pairs = [np.concatenate([p.ravel(), c.ravel()]) for p, c in zip(previous, current)]
    hidden = np.maximum(np.array(pairs) @ first["kernel"] + first["bias"], 0)
    return (hidden @ second["kernel"] + second["bias"]).reshape(current.shape)


def test_rollout_written_out(linear):
    model, variables = linear
    latents = np.array(jax.random.normal(jax.random.key(1), (2, 4, 3, 6)))
    rollout = jax.jit(partial(model.apply, num_steps=3, method="rollout"))(variables, jnp.array(latents))
    previous, current = latents[:, 2], latents[:, 3]
    for step in range(3):
        previous, current = current, extrapolate(model, variables, previous, current)
        np.testing.assert_allclose(rollout.latents[:, step], current, rtol=1e-4, atol=1e-5)
    decoded = model.apply(variables, jnp.array(current), method="decode")
    np.testing.assert_allclose(rollout.decoded.reconstruction[:, 2], decoded.reconstruction, atol=1e-5)


def test_a_slots_prediction_sees_other_slots_only_with_scope_frame(linear):
    model, variables = linear
    latents = jax.random.normal(jax.random.key(2), (2, 3, 6))
    jacobian = jax.jacobian(lambda x: model.apply(variables, x[0], x[1], method="predict_latents"))(latents)
    depends = np.abs(jacobian).max((1, 2, 4)) > 0  # [predicted slot, slot]
    expected = np.eye(3) if model.config.predictor_scope == "slot" else np.ones((3, 3))
    np.testing.assert_array_equal(depends, expected)


def test_training_predictions_are_rollouts_and_the_loss_is_eq_5_and_6(linear, video):
    model, variables = linear
    model = IODINELinear(dataclasses.replace(model.config, long_range_steps=3, prediction_weight=0.5))
    outputs = jax.jit(model.apply)(variables, video, jax.random.key(3))
    latents, prediction = outputs.inference.latents, outputs.prediction
    pairs = list(zip(prediction.target.tolist(), prediction.depth.tolist()))
    assert pairs == [(2, 1), (3, 1), (4, 1), (3, 2), (4, 2), (2, 1), (3, 2), (4, 3)]
    for index, (target, depth) in enumerate(pairs):
        previous, current = np.array(latents[:, target - depth - 1]), np.array(latents[:, target - depth])
        for _ in range(depth):
            previous, current = current, extrapolate(model, variables, previous, current)
        np.testing.assert_allclose(prediction.latents[:, index], current, rtol=1e-4, atol=1e-5)

    losses = oddn_losses(outputs, model.config)
    counts = {2: 2, 3: 3, 4: 3}  # predictions that aim at each frame
    expected = sum(
        prediction.nll[:, index].mean() / counts[target] for index, (target, _) in enumerate(pairs)
    )
    np.testing.assert_allclose(losses.prediction, 0.5 * 100 * expected, rtol=1e-5)
    bound = sum(term.sum(-1).mean() for term in elbo_losses(outputs.inference, model.config))
    np.testing.assert_allclose(losses.total, bound + losses.prediction, rtol=1e-6)


def test_rollout_of_a_video_is_that_of_its_mean_latents(tiny_config, initial_variables, video):
    model = IODINELinear(IODINELinearConfig(**dataclasses.asdict(tiny_config) | {"num_refinement_steps": 2}))
    variables, key = initial_variables(model), jax.random.key(4)

    @jax.jit
    def both(video):
        latents = model.apply(variables, video[:, 3:], key, deterministic=True, method="infer").latents
        return [
            model.apply(variables, *context, num_steps=2, method="rollout").latents
            for context in ((video[:, 3:], key), (latents,))
        ]

    of_video, of_latents = both(video)
    np.testing.assert_allclose(of_video, of_latents, rtol=1e-5)
    assert jnp.abs(of_video[0] - of_video[1]).max() > 1e-4  # another clip, another rollout


def test_what_it_refuses(linear):
    model, variables = linear
    with pytest.raises(ValueError, match="two frames of context"):
        model.apply(variables, jnp.zeros((1, 1, 3, 6)), num_steps=1, method="rollout")
    with pytest.raises(ValueError, match="at least 3 frames"):
        model.apply(variables, jnp.zeros((1, 2, 8, 12, 3)), jax.random.key(0))
    with pytest.raises(ValueError, match="predictor_scope='video' is not one of slot, frame"):
        IODINELinearConfig(predictor_scope="video")
    with pytest.raises(ValueError, match="predictor_hidden_size=-1"):
        IODINELinearConfig(predictor_hidden_size=-1)
