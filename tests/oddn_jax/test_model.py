"""ODDN as a whole: counts, symmetries, rollouts, the structure of the training predictions."""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oddn_jax
from oddn_jax import ODDN, ODDNConfig
from oddn_jax.baselines import IODINE

SUBTOTALS = {
    "features/squeezenet": 25_632,
    "features": 25_632 + 96_880,
    "refinement/conv": 129_280,
    "refinement/code": 2_097_280,
    "refinement/lstm": 263_168,
    "refinement/delta": 16_512,
    "decoder": 151_172,
    "initial_posterior": 128,
    "distiller/query": 4_096,
    "distiller/key": 4_096,
    "distiller/value": 4_096,
    "distiller/norm": 128,
    "distiller/ffn": 1_108,
    "relation/embedding": 34_816,
    "relation/attention": 25_801,
    "relation/effect": 65_792,
    "relation/update": 1_028,
    "predictor": 4_352,
}


def parameter_shapes(model):
    config = model.config
    video = jax.ShapeDtypeStruct((1, 3, config.image_height, config.image_width, 3), jnp.float32)
    key = jax.random.key(0)
    params = jax.eval_shape(model.init, key, video, key)["params"]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree.leaves_with_path(params)
    }


@pytest.mark.parametrize(
    ("kind", "preset", "count"),
    [
        (ODDN, "prediction", 2_925_365),
        (IODINE, "prediction", 2_780_052),
        (ODDN, "reasoning", 3_794_517),
        (IODINE, "reasoning", 3_690_196),
    ],
)
def test_parameter_count_is_table_4s(kind, preset, count):
    shapes = parameter_shapes(kind(ODDNConfig.preset(preset)))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == count


def test_parameter_count_of_each_part():
    shapes = parameter_shapes(ODDN(ODDNConfig.preset("prediction")))
    for prefix, count in SUBTOTALS.items():
        assert sum(int(np.prod(s)) for name, s in shapes.items() if name.startswith(prefix)) == count, prefix


@pytest.fixture(scope="module")
def latents():
    return jax.random.normal(jax.random.key(20), (2, 4, 3, 6))


def test_initialising_without_a_video_gives_the_same_parameters(tiny, video):
    """And PyTorch's ranges: uniform within one over the square root of the fan-in."""
    model, _ = tiny
    short = jax.jit(lambda: model.init(jax.random.key(0), method="initialize_parameters"))()
    usual = jax.jit(lambda: model.init(jax.random.key(0), video[:, :3], jax.random.key(1)))()
    jax.tree.map(np.testing.assert_array_equal, short, usual)
    decoder = short["params"]["decoder"]["conv_1"]
    assert 0.8 * 36**-0.5 < np.abs(decoder["kernel"]).max() <= 36**-0.5
    assert np.abs(decoder["bias"]).max() <= 36**-0.5
    assert np.abs(short["params"]["refinement"]["lstm"]["hidden"]["kernel"]).max() <= 8**-0.5
    assert 0.3 < np.abs(short["params"]["initial_posterior"]).max() <= 0.5


def test_permuting_a_frames_slots_permutes_everything_downstream(tiny, latents):
    model, variables = tiny
    order = jnp.array([2, 0, 1])

    def run(latents):
        distilled = model.apply(variables, latents, method="distill")
        dynamics, last = distilled.dynamics[:, -1], latents[:, -1]
        interaction = model.apply(variables, dynamics, last, method="interact")
        following = model.apply(variables, interaction.updated_dynamics, last, method="predict_latents")
        return dynamics, interaction, following

    dynamics, interaction, following = run(latents)
    permuted = run(latents.at[:, -1].set(latents[:, -1, order]))
    np.testing.assert_allclose(permuted[0], dynamics[:, order], atol=1e-6)
    np.testing.assert_allclose(
        permuted[1].updated_dynamics, interaction.updated_dynamics[:, order], atol=1e-6
    )
    np.testing.assert_allclose(
        permuted[1].pair_attention, interaction.pair_attention[:, order][:, :, order], atol=1e-6
    )
    np.testing.assert_allclose(permuted[2], following[:, order], atol=1e-6)


def test_rollout_of_depth_one_is_the_one_step_prediction(tiny, latents):
    model, variables = tiny
    context = latents[:, :2]
    dynamics = model.apply(variables, context, method="distill").dynamics[:, 0]
    updated = model.apply(variables, dynamics, context[:, 1], method="interact").updated_dynamics
    following = model.apply(variables, updated, context[:, 1], method="predict_latents")
    for mode in ("redistill", "carry"):
        rollout = model.apply(variables, context, num_steps=1, mode=mode, method="rollout")
        np.testing.assert_allclose(rollout.latents[:, 0], following, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(rollout.dynamics[:, 0], dynamics, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["redistill", "carry"])
def test_rollout_written_out(tiny, latents, mode):
    model, variables = tiny
    previous, current = latents[:, 0], latents[:, 1]
    rollout = model.apply(variables, latents[:, :2], num_steps=4, mode=mode, method="rollout")
    updated = None
    for step in range(4):
        if step == 0 or mode == "redistill":
            pair = jnp.stack([previous, current], 1)
            dynamics = model.apply(variables, pair, method="distill").dynamics[:, 0]
        else:
            dynamics = updated
        updated = model.apply(variables, dynamics, current, method="interact").updated_dynamics
        previous, current = current, model.apply(variables, updated, current, method="predict_latents")
        np.testing.assert_allclose(rollout.latents[:, step], current, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        rollout.decoded.reconstruction[:, -1],
        model.apply(variables, current, method="decode").reconstruction,
        atol=1e-5,
    )


def test_the_two_modes_differ_after_the_first_step(tiny, latents):
    model, variables = tiny
    a, b = (
        model.apply(variables, latents[:, :2], num_steps=3, mode=mode, method="rollout").latents
        for mode in ("redistill", "carry")
    )
    np.testing.assert_allclose(a[:, 0], b[:, 0], rtol=1e-5)
    assert jnp.abs(a[:, 2] - b[:, 2]).max() > 1e-3


def test_rollout_of_a_video_is_that_of_its_mean_latents(tiny, video):
    model, variables = tiny
    key = jax.random.key(9)
    roll = partial(partial, num_steps=2, method="rollout")
    infer = jax.jit(partial(model.apply, deterministic=True, method="infer"))
    a = jax.jit(roll(model.apply))(variables, video[:, 1:3], key)
    b = jax.jit(roll(model.apply))(variables, infer(variables, video[:, 1:3], key).latents)
    np.testing.assert_allclose(a.latents, b.latents, rtol=1e-5)
    sampling = type(model)(dataclasses.replace(model.config, sample_at_test=True))
    c = jax.jit(roll(sampling.apply))(variables, video[:, 1:3], key)
    assert jnp.abs(c.latents - a.latents).max() > 1e-3


def test_rollout_refuses_what_it_cannot_do(tiny, latents):
    model, variables = tiny
    with pytest.raises(ValueError, match="two frames of context"):
        model.apply(variables, latents[:, :1], num_steps=1, method="rollout")
    with pytest.raises(ValueError, match="'fly' is not"):
        model.apply(variables, latents, num_steps=1, mode="fly", method="rollout")
    with pytest.raises(ValueError, match="at least 3 frames"):
        model.apply(variables, jnp.zeros((1, 2, 8, 12, 3)), jax.random.key(0))


def predictions(tiny, video, **changes):
    model, variables = tiny
    model = type(model)(dataclasses.replace(model.config, **changes))
    return model, jax.jit(model.apply)(variables, video, jax.random.key(30))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"student_forcing_depth": 1}, [(2, 1), (3, 1), (4, 1)]),
        ({}, [(2, 1), (3, 1), (4, 1), (3, 2), (4, 2)]),
        (
            {"long_range_steps": 6},
            [(2, 1), (3, 1), (4, 1), (3, 2), (4, 2), (2, 1), (3, 2), (4, 3)],
        ),
    ],
)
def test_which_frames_training_predicts(tiny, video, changes, expected):
    model = ODDN(dataclasses.replace(tiny[0].config, **changes))

    @jax.jit  # compiles next to nothing: only the two lists are asked for
    def which(variables, video):
        prediction = model.apply(variables, video, jax.random.key(0)).prediction
        return prediction.target, prediction.depth

    target, depth = which(tiny[1], video)
    assert list(zip(target.tolist(), depth.tolist())) == expected


@pytest.mark.parametrize(("mode", "start_from"), [("redistill", "sample"), ("carry", "mean")])
def test_training_predictions_are_rollouts(tiny, video, mode, start_from):
    """The s-th step of student forcing from pair n equals the s-th frame of the rollout from that pair."""
    changes = {"student_forcing_depth": 3, "long_range_steps": 3, "rollout_mode": mode}
    model, outputs = predictions(tiny, video, **changes, prediction_latents=start_from)
    inference, prediction = outputs.inference, outputs.prediction
    latents = inference.latents if start_from == "sample" else inference.posterior.mean
    for index, (target, depth) in enumerate(zip(prediction.target.tolist(), prediction.depth.tolist())):
        start = target - depth
        rollout = model.apply(tiny[1], latents[:, start - 1 : start + 1], num_steps=depth, method="rollout")
        np.testing.assert_allclose(prediction.latents[:, index], rollout.latents[:, -1], rtol=1e-4, atol=1e-5)
        error = ((rollout.decoded.reconstruction[:, -1] - video[:, target]) ** 2).mean((1, 2, 3))
        np.testing.assert_allclose(prediction.squared_error[:, index], error, rtol=1e-4)


def test_without_relation_dynamics_pass_unchanged(tiny_config, video, initial_variables):
    model = ODDN(dataclasses.replace(tiny_config, use_relation=False))
    variables = initial_variables(model)
    assert "relation" not in variables["params"]
    outputs = jax.jit(model.apply)(variables, video, jax.random.key(2))
    np.testing.assert_array_equal(outputs.interaction.updated_dynamics, outputs.distillation.dynamics[:, :-1])
    rollout = model.apply(variables, outputs.inference.latents[:, :2], num_steps=2, method="rollout")
    assert rollout.pair_attention.shape == (2, 2, 3, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"attend_current": False},
        {"scale_attention": False},
        {"dynamics_size": 2, "num_slots": 2},
    ],
)
def test_every_architectural_switch_changes_the_prediction(tiny, initial_variables, changes):
    """Same parameters where they exist on both sides, another result: the switch does something."""
    base, changed = tiny[0], ODDN(dataclasses.replace(tiny[0].config, **changes))

    def roll(model, variables):
        context = jax.random.normal(jax.random.key(3), (2, 2, model.config.num_slots, 6))
        return jax.jit(partial(model.apply, num_steps=2, method="rollout"))(variables, context)

    rollout, expected = roll(changed, initial_variables(changed)), roll(base, tiny[1])
    chex.assert_tree_all_finite(rollout)
    assert (
        rollout.latents.shape != expected.latents.shape
        or jnp.abs(rollout.latents - expected.latents).max() > 1e-5
    )
    if changes.get("attend_current") is False:
        np.testing.assert_array_equal(rollout.match_attention[..., 3:], 0)


def test_works_under_jit_vmap_and_grad(tiny, video):
    model, variables = tiny
    key = jax.random.key(7)

    def one(clip, key):
        return model.apply(variables, clip[:2], key, num_steps=2, method="rollout").decoded.reconstruction

    keys = jax.random.split(key, 2)
    together = jax.jit(jax.vmap(one))(video, keys)
    np.testing.assert_allclose(together[1], jax.jit(one)(video[1], keys[1]), rtol=1e-4, atol=1e-5)

    def loss(params):
        outputs = model.apply({"params": params}, video, key)
        return oddn_jax.losses.oddn_losses(outputs, model.config).total

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    chex.assert_tree_all_finite(gradients)
    zero = [
        jax.tree_util.keystr(p) for p, g in jax.tree.leaves_with_path(gradients) if not np.abs(g).max() > 0
    ]
    assert not zero, f"no gradient reaches {zero}"


def test_parameter_gradient_is_a_finite_difference(tiny_config, video, initial_variables):
    """Along a random direction, in float64, with one decoding: without refinement nothing is held constant."""
    with jax.enable_x64(True):
        config = dataclasses.replace(tiny_config, num_refinement_steps=1, compute_dtype="float64")
        model, clip = ODDN(config), jnp.asarray(video, jnp.float64)
        key = jax.random.key(0)
        params = jax.tree.map(lambda x: x.astype(jnp.float64), initial_variables(model)["params"])
        direction = jax.tree.map(
            lambda x: jax.random.normal(jax.random.key(x.size), x.shape, jnp.float64), params
        )

        @jax.jit
        def loss(scale):
            moved = jax.tree.map(lambda p, d: p + scale * d, params, direction)
            return oddn_jax.losses.oddn_losses(model.apply({"params": moved}, clip, key), config).total

        step = 1e-6
        difference = (loss(step) - loss(-step)) / (2 * step)
        np.testing.assert_allclose(jax.jit(jax.grad(loss))(0.0), difference, rtol=1e-6)


def test_a_rollout_from_other_dynamics(tiny, latents):
    """Those that are distilled change nothing; others hold for the first step, method by method."""
    model, variables = tiny
    apply = partial(model.apply, variables)
    plain = apply(latents, num_steps=3, method="rollout")
    dynamics = apply(latents[:, -2:], method="distill").dynamics[:, 0]
    same = apply(latents, num_steps=3, dynamics=dynamics, method="rollout")
    chex.assert_trees_all_close(same, plain, atol=1e-6)
    other = dynamics.at[:, 1].add(0.7)
    changed = apply(latents, num_steps=3, dynamics=other, method="rollout")
    updated = apply(other, latents[:, -1], method="interact").updated_dynamics
    first = apply(updated, latents[:, -1], method="predict_latents")
    np.testing.assert_allclose(changed.latents[:, 0], first, atol=1e-6)
    np.testing.assert_allclose(changed.dynamics[:, 0], other, atol=1e-6)
    rest = apply(jnp.stack([latents[:, -1], first], 1), num_steps=2, method="rollout")
    np.testing.assert_allclose(changed.latents[:, 1:], rest.latents, atol=1e-6)


def test_dynamics_that_do_not_fit_are_refused(tiny, latents, as_installed):
    model, variables = tiny
    with pytest.raises(ValueError, match="dynamics is"):
        model.apply(variables, latents, num_steps=1, dynamics=jnp.zeros((2, 1, 4)), method="rollout")
