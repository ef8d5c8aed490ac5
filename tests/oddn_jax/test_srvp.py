"""SRVP: counts, the residual step, the divergences, batch statistics, and what training and rollouts look at."""

import dataclasses
import json
import pathlib
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from oddn_jax.baselines.srvp.coders import Encoder
from oddn_jax.baselines.srvp.config import SRVPConfig, SRVPNoise, srvp_noise
from oddn_jax.baselines.srvp.model import SRVP, srvp_losses
from oddn_jax.baselines.srvp.states import Gaussian, gaussian_kl
from oddn_jax.export import flatten_params

FROZEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "srvp_parameters.json").read_text())
# Counted by hand: 3x3 kernels without bias, then scale and offset of each normalisation.
VGG_ENCODER = 9 * (
    3 * 64 + 64 * 64 + 64 * 128 + 128**2 + 128 * 256 + 2 * 256**2 + 256 * 512 + 2 * 512**2
) + 2 * (2 * 64 + 2 * 128 + 3 * 256 + 3 * 512)
VGG_DECODER = 9 * (
    (1024 * 512 + 512 * 512 + 512 * 256)
    + (512 * 256 + 256 * 256 + 256 * 128)
    + (256 * 128 + 128 * 64)
    + (128 * 64 + 64 * 3)
) + 2 * ((512 + 512 + 256) + (256 + 256 + 128) + (128 + 64) + 64)
DCGAN_ENCODER = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 2 * (128 + 256 + 512)
DCGAN_DECODER = 16 * (1024 * 256 + 512 * 128 + 256 * 64 + 128 * 3) + 2 * (256 + 128 + 64)
CODE, FIRST = 16 * 512 * 128 + 2 * 128, (256 + 50) * 16 * 512 + 2 * 512
REST = {
    "content": (128 * 256 + 256) + (256 * 256 + 256),
    "initial": (256 * 256 + 256) + (256 * 256 + 256) + (256 * 100 + 100),
    "lstm": 4 * 256 * (128 + 256 + 2),
    "posterior": 256 * 100 + 100,
    "prior": (50 * 512 + 512) + 2 * (512 * 512 + 512) + (512 * 100 + 100),
    "dynamics": (100 * 512 + 512) + 2 * (512 * 512 + 512) + (512 * 50 + 50),
}


def count(tree, prefix=""):
    return sum(leaf.size for name, leaf in flatten_params(tree).items() if name.startswith(prefix))


@pytest.mark.parametrize(
    ("coder", "encoder", "decoder"),
    [("vgg", VGG_ENCODER, VGG_DECODER), ("dcgan", DCGAN_ENCODER, DCGAN_DECODER)],
)
def test_names_and_counts_of_each_part(coder, encoder, decoder):
    model = SRVP(SRVPConfig(coder=coder))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))
    assert {name: list(leaf.shape) for name, leaf in flatten_params(shapes).items()} == FROZEN[coder]
    expected = {"encoder": encoder + CODE, "decoder": decoder + FIRST, **REST}
    for name, number in expected.items():
        assert count(shapes["params"], name) == number, name
    assert count(shapes["params"]) == sum(expected.values())
    if coder == "vgg":
        assert count(shapes["params"]) == 23_847_390


def test_without_skips_the_decoder_takes_half_the_channels():
    model = SRVP(SRVPConfig(use_skips=False))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))
    less = 9 * (512 * 512 + 256 * 256 + 128 * 128 + 64 * 64)
    assert count(shapes["params"], "decoder") == VGG_DECODER + FIRST - less


CONFIG = SRVPConfig(
    image_height=16,
    image_width=32,
    coder="dcgan",
    coder_channels=1,
    code_size=5,
    state_size=4,
    innovation_size=3,
    inference_size=6,
    num_inference_layers=2,
    dynamics_hidden_size=7,
    num_dynamics_layers=2,
)

# Nearly all of these tests' time is compilation.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def tiny(initial_variables):
    """(model, variables)"""
    model = SRVP(CONFIG)
    variables = initial_variables(model)
    return model, variables | {"batch_stats": jax.tree.map(jnp.abs, variables["batch_stats"])}


@pytest.fixture(scope="module")
def video():
    return jnp.asarray(np.random.default_rng(1).uniform(size=(2, 4, 16, 32, 3)), jnp.float32)


@pytest.fixture(scope="module")
def noise():
    random = np.random.default_rng(2)
    values = (random.normal(size=size).astype(np.float32) for size in ((2, 4), (2, 3, 3)))
    frames = (np.array(x, np.int32) for x in ([1, 2], [[0, 3], [2, 1]]))
    return SRVPNoise(*(jnp.asarray(x) for x in (*values, *frames)))


@pytest.fixture(scope="module")
def explain(tiny):
    """(variables, video, noise) -> (outputs, content and frames by hand), in evaluation; compiled once."""
    model = tiny[0]

    @jit
    def run(variables, video, noise):
        outputs = model.apply(variables, video, noise=noise)
        codes, skips = model.apply(variables, video, method="encode")
        content = model.apply(variables, codes[:, -2:], method="infer_content")
        skips = [skip[:, -1] for skip in skips]
        return outputs, content, model.apply(variables, content, outputs.states, skips, method="decode")

    return run


@pytest.fixture(scope="module")
def train(tiny):
    """(variables, video, noise) -> (outputs, changed batch statistics, gradients); compiled once."""
    model = tiny[0]

    @jit
    def step(variables, video, noise):
        def loss(params):
            changed = variables | {"params": params}
            outputs, changed = model.apply(changed, video, noise=noise, train=True, mutable=["batch_stats"])
            return srvp_losses(outputs, CONFIG).total, (outputs, changed)

        gradients, (outputs, changed) = jax.grad(loss, has_aux=True)(variables["params"])
        return outputs, changed, gradients

    return step


def numpy_mlp(params, x):
    for index in range(len(params)):
        layer = params[f"dense_{index}"]
        x = np.maximum(x, 0) if index else x
        x = x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
    return x


def numpy_gaussian(raw):
    mean, scale = np.split(raw, 2, -1)
    return mean, np.log1p(np.exp(scale)) + 1e-8


def test_the_residual_step_is_two_euler_steps(tiny):
    """y <- y + f(y, z) / 2, twice with the same z, in float64 NumPy."""
    model, variables = tiny
    random = np.random.default_rng(3)
    state, innovation = random.normal(size=(5, 4)), random.normal(size=(5, 3))
    expected, residuals = state, []
    for _ in range(2):
        change = numpy_mlp(variables["params"]["dynamics"], np.concatenate([expected, innovation], -1))
        residuals.append(0.5 * change)
        expected = expected + residuals[-1]
    inputs = (jnp.asarray(x, jnp.float32) for x in (state, innovation))
    following, added = model.apply(variables, *inputs, method="advance")
    np.testing.assert_allclose(following, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(added, np.stack(residuals, 1), rtol=1e-5, atol=1e-6)
    assert np.abs(residuals[0] - residuals[1]).max() > 1e-4  # the second step starts elsewhere


def test_kl_is_the_integral():
    means, deviations = np.array([[0.3, -1.0], [0.0, 0.8]]), np.array([[0.5, 1.2], [1.0, 0.7]])

    def divergence(a, b, c, d):
        p, q = scipy.stats.norm(a, b), scipy.stats.norm(c, d)
        return scipy.integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -12, 12)[0]

    expected = sum(divergence(means[0, i], deviations[0, i], means[1, i], deviations[1, i]) for i in (0, 1))
    posterior, prior = (Gaussian(jnp.asarray(m), jnp.asarray(s)) for m, s in zip(means, deviations))
    assert float(gaussian_kl(posterior, prior)) == pytest.approx(expected, rel=1e-5)
    assert float(gaussian_kl(prior, prior)) == pytest.approx(0, abs=1e-6)


def test_an_innovation_is_inferred_from_the_frames_up_to_its_own(tiny):
    """The LSTM written out in float64, gates in PyTorch's order."""
    model, variables = tiny
    codes = np.random.default_rng(4).normal(size=(2, 4, 5))
    lstm = jax.tree.map(lambda x: np.asarray(x, np.float64), variables["params"]["lstm"])
    last = jax.tree.map(lambda x: np.asarray(x, np.float64), variables["params"]["posterior"])

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    hidden, cell, raw = np.zeros((2, 6)), np.zeros((2, 6)), []
    for code in codes.swapaxes(0, 1):
        gates = sum(x @ lstm[n]["kernel"] + lstm[n]["bias"] for n, x in (("input", code), ("hidden", hidden)))
        update, forget, candidate, output = np.split(gates, 4, -1)
        cell = sigmoid(forget) * cell + sigmoid(update) * np.tanh(candidate)
        hidden = sigmoid(output) * np.tanh(cell)
        raw.append(hidden @ last["kernel"] + last["bias"])
    expected = numpy_gaussian(np.stack(raw[1:], 1))
    inferred = model.apply(variables, jnp.asarray(codes, jnp.float32), method="infer_innovations")
    np.testing.assert_allclose(inferred.mean, expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(inferred.standard_deviation, expected[1], rtol=1e-4)


def test_the_bound_is_that_of_the_path(tiny, video, noise, explain):
    """States, priors, likelihood and every term of the loss, from the outputs' posteriors, in float64 NumPy."""
    params = tiny[1]["params"]
    outputs = jax.tree.map(lambda x: np.asarray(x, np.float64), explain(tiny[1], video, noise)[0])
    (mean, deviation), posterior = outputs.initial, outputs.posterior
    states = [mean + deviation * np.asarray(noise.initial)]
    innovations = posterior.mean + posterior.standard_deviation * np.asarray(noise.innovations)
    priors, lengths = [], 0
    for step in range(3):
        priors.append(numpy_gaussian(numpy_mlp(params["prior"], states[-1])))
        state = states[-1]
        for _ in range(2):
            change = numpy_mlp(params["dynamics"], np.concatenate([state, innovations[:, step]], -1)) / 2
            lengths += np.linalg.norm(change, axis=-1)
            state = state + change
        states.append(state)
    np.testing.assert_allclose(outputs.states, np.stack(states, 1), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(outputs.prior, zip(*priors)):
        np.testing.assert_allclose(ours, np.stack(theirs, 1), rtol=1e-4, atol=1e-5)

    nll = -scipy.stats.norm(outputs.reconstruction, 0.71).logpdf(np.asarray(video)).sum((2, 3, 4))
    np.testing.assert_allclose(outputs.nll, nll, rtol=1e-5)

    def divergence(mean, deviation, prior_mean, prior_deviation):
        ratio = (deviation**2 + (mean - prior_mean) ** 2) / prior_deviation**2
        return (0.5 * ratio - 0.5 + np.log(prior_deviation / deviation)).sum(-1)

    kl_initial = divergence(mean, deviation, 0, 1).mean()
    kl_innovations = divergence(*posterior, *outputs.prior).sum(-1).mean()
    config = dataclasses.replace(CONFIG, initial_kl_weight=2.0, innovation_kl_weight=3.0, residual_weight=5.0)
    losses = jax.tree.map(float, srvp_losses(explain(tiny[1], video, noise)[0], config))
    assert losses.reconstruction == pytest.approx(nll.sum(1).mean(), rel=1e-5)
    assert losses.kl == pytest.approx(2 * kl_initial + 3 * kl_innovations, rel=1e-4)
    assert losses.terms["residual_norm"] == pytest.approx(lengths.mean(), rel=1e-4)
    assert losses.total == pytest.approx(losses.reconstruction + losses.kl + 5 * lengths.mean(), rel=1e-5)


def test_gradients_reach_every_parameter(tiny, video, noise, train):
    _, _, gradients = train(tiny[1], video, noise)
    chex.assert_tree_all_finite(gradients)
    zero = [
        jax.tree_util.keystr(p) for p, g in jax.tree.leaves_with_path(gradients) if not np.abs(g).max() > 0
    ]
    assert not zero, f"no gradient reaches {zero}"


def test_where_content_and_skip_connections_come_from(tiny, video, noise, train, explain):
    """Training: the frames that the noise names, in any order. Evaluation: the last ones, whatever it names."""
    variables = tiny[1]
    base, _, _ = train(variables, video, noise)
    swapped, _, _ = train(variables, video, noise._replace(content_frames=noise.content_frames[:, ::-1]))
    np.testing.assert_allclose(swapped.content, base.content, rtol=1e-5)
    others, _, _ = train(variables, video, noise._replace(content_frames=jnp.array([[1, 2], [2, 1]])))
    assert jnp.abs(others.content[0] - base.content[0]).max() > 1e-5
    np.testing.assert_allclose(others.content[1], base.content[1], rtol=1e-5)
    skipped, _, _ = train(variables, video, noise._replace(skip_frame=jnp.array([0, 2])))
    np.testing.assert_array_equal(skipped.states, base.states)
    assert jnp.abs(skipped.reconstruction[0] - base.reconstruction[0]).max() > 1e-5

    named = noise._replace(content_frames=jnp.array([[2, 0]] * 2), skip_frame=jnp.array([3, 0]))
    outputs, content, frames = explain(variables, video, noise)
    jax.tree.map(np.testing.assert_array_equal, outputs, explain(variables, video, named)[0])
    np.testing.assert_allclose(outputs.content, content, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(outputs.reconstruction, frames, rtol=1e-4, atol=1e-6)


def test_training_moves_the_running_averages_a_tenth_of_the_way(tiny, video, noise, train):
    """Of the first normalised layer, whose input is computed here."""
    _, variables = tiny
    _, changed, _ = train(variables, video, noise)
    jax.tree.map(
        lambda a, b: chex.assert_equal_shape([a, b]), changed["batch_stats"], variables["batch_stats"]
    )
    params = variables["params"]["encoder"]
    x = video.reshape(-1, 16, 32, 3)
    for name in ("block_0_0", "block_1_0"):
        kernel = params[name]["conv"]["kernel"]
        x = jax.nn.leaky_relu(x, 0.2) if name != "block_0_0" else x
        x = jax.lax.conv_general_dilated(
            x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    before, after = (v["batch_stats"]["encoder"]["block_1_0"]["norm"] for v in (variables, changed))
    for name, value in (("mean", x.mean((0, 1, 2))), ("var", x.var((0, 1, 2)))):
        np.testing.assert_allclose(after[name], 0.9 * before[name] + 0.1 * value, rtol=1e-3, atol=1e-5)


def test_statistics_over_devices_are_those_of_the_whole_batch(video, initial_variables):
    """With an axis name two halves of a batch give what the whole batch gives; without one they do not."""
    frames = video.reshape(-1, 16, 32, 3)
    halves = frames.reshape(2, 4, 16, 32, 3)
    encoders = [Encoder("dcgan", 1, 5, axis_name=name) for name in (None, "data")]
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: encoders[0].init(jax.random.key(0), frames, False))
    variables = jax.tree.map(lambda x: jnp.asarray(random.uniform(0.1, 0.5, x.shape), x.dtype), shapes)

    def encode(encoder, frames):
        (codes, _), changed = encoder.apply(variables, frames, True, mutable=["batch_stats"])
        return codes, changed

    codes, changed = jit(partial(encode, encoders[0]))(frames)
    apart, _ = jit(jax.vmap(partial(encode, encoders[0])))(halves)
    together, moved = jit(jax.vmap(partial(encode, encoders[1]), axis_name="data"))(halves)
    np.testing.assert_allclose(together.reshape(codes.shape), codes, rtol=1e-3, atol=1e-4)
    assert jnp.abs(apart.reshape(codes.shape) - codes).max() > 1e-2
    for half in (0, 1):
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, h=half: x[h], moved), changed, rtol=1e-4, atol=1e-5
        )


def test_rollout_continues_with_the_prior(tiny, video, noise):
    """States after the context in float64 NumPy, pictures with the last frame's skip connections."""
    model, variables = tiny
    context, params = video[:, :2], variables["params"]

    @jit
    def roll(noise):
        rollout = model.apply(variables, context, noise=noise, num_steps=2, method="rollout")
        codes, skips = model.apply(variables, context, method="encode")
        content = model.apply(variables, codes, method="infer_content")
        last = [skip[:, 1] for skip in skips]
        frames = model.apply(variables, content, rollout.states, last, method="decode")
        initial = model.apply(variables, codes, method="infer_initial_state")
        return rollout, frames, initial, model.apply(variables, codes, method="infer_innovations")

    rollout, frames, initial, posterior = roll(noise)
    state = np.asarray(initial.mean + initial.standard_deviation * noise.initial, np.float64)
    observed = posterior.mean + posterior.standard_deviation * noise.innovations[:, :1]
    innovation = np.asarray(observed, np.float64)[:, 0]
    for step in range(3):
        if step:
            mean, deviation = numpy_gaussian(numpy_mlp(params["prior"], state))
            innovation = mean + deviation * np.asarray(noise.innovations[:, step], np.float64)
        for _ in range(2):
            state = state + numpy_mlp(params["dynamics"], np.concatenate([state, innovation], -1)) / 2
        if step:
            np.testing.assert_allclose(rollout.states[:, step - 1], state, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rollout.video, frames, rtol=1e-4, atol=1e-6)
    assert rollout.video.shape == (2, 2, 16, 32, 3)
    other = roll(noise._replace(innovations=noise.innovations.at[:, 2].add(1)))[0]
    np.testing.assert_array_equal(other.states[:, 0], rollout.states[:, 0])
    assert jnp.abs(other.states[:, 1] - rollout.states[:, 1]).max() > 1e-4


def test_noise_of_a_clip_hangs_on_its_key_alone():
    draw = jit(jax.vmap(lambda key: srvp_noise(CONFIG, key, 6)))
    keys = jax.random.split(jax.random.key(5), 200)
    noise = draw(keys)
    assert noise.innovations.shape == (200, 5, 3)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[::-1], y), noise, draw(keys[::-1]))
    assert set(np.unique(noise.skip_frame)) == set(np.unique(noise.content_frames)) == set(range(6))
    assert (noise.content_frames[:, 0] != noise.content_frames[:, 1]).all()


def test_vgg_coders_keep_to_the_picture(initial_variables):
    """The receptive field of the finest skip connection and the doubling of the decoder, at the smallest size."""
    config = dataclasses.replace(CONFIG, coder="vgg")
    model = SRVP(config)
    variables = initial_variables(model)
    variables |= {"batch_stats": jax.tree.map(jnp.abs, variables["batch_stats"])}

    @jit
    def run(video):
        codes, skips = model.apply(variables, video, method="encode")
        states = jnp.zeros((1, 2, 4))
        content = model.apply(variables, codes, method="infer_content")
        first = [skip[:, 0] for skip in skips]
        return codes, skips, model.apply(variables, content, states, first, method="decode")

    video = jnp.asarray(np.random.default_rng(7).uniform(size=(1, 2, 16, 32, 3)), jnp.float32)
    codes, skips, frames = run(video)
    assert [skip.shape[2:] for skip in skips] == [(2, 4, 8), (4, 8, 4), (8, 16, 2), (16, 32, 1)]
    assert codes.shape == (1, 2, 5) and frames.shape == video.shape
    _, moved, _ = run(video.at[0, 0, 8, 8].add(0.5))
    changed = np.abs(moved[-1] - skips[-1])[0, 0, ..., 0] > 0
    assert changed[8, 8] and not changed[:6].any() and not changed[:, 11:].any()


def test_bfloat16_stays_inside_the_layers(tiny, video, noise):
    model, variables = SRVP(dataclasses.replace(CONFIG, compute_dtype="bfloat16")), tiny[1]
    outputs = jax.eval_shape(lambda: model.apply(variables, video, noise=noise))
    roll = partial(model.apply, num_steps=1, noise=noise, method="rollout")
    rollout = jax.eval_shape(lambda: roll(variables, video[:, :3]))
    assert {x.dtype for x in jax.tree.leaves((outputs, rollout))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coder": "resnet"}, "coder='resnet' is not one of vgg, dcgan"),
        ({"image_height": 40}, "image_height=40 must be a positive multiple of 16"),
        ({"num_euler_steps": 0}, "num_euler_steps=0 must be at least 1"),
        ({"num_inference_frames": 3}, "num_inference_frames=3 must not exceed num_context_frames=2"),
        ({"observation_scale": 0.0}, "observation_scale=0.0 must be positive"),
        ({"residual_weight": -1.0}, "residual_weight=-1.0 must not be negative"),
    ],
)
def test_the_configuration_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        SRVPConfig(**changes)


def test_wrong_clips_are_refused(tiny, video):
    model, variables = tiny
    with pytest.raises(ValueError, match=r"frames are 16x16 .*, the model's are 16x32"):
        model.apply(variables, video[:, :, :, :16], jax.random.key(0))
    with pytest.raises(ValueError, match="at least 2 frames, the clip has 1"):
        model.apply(variables, video[:, :1], jax.random.key(0), num_steps=1, method="rollout")
    with pytest.raises(ValueError, match="either a key or noise"):
        model.apply(variables, video)
