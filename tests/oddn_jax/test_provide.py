"""PROVIDE: counts, each part in NumPy, the inference written out frame by frame, schedules, prediction."""

import dataclasses
import json
import pathlib
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from oddn_jax.backbone import as_function
from oddn_jax.baselines import PROVIDE, ProvideConfig, next_nll_weight, provide_losses
from oddn_jax.baselines.provide.config import num_decodings
from oddn_jax.baselines.provide.inference import conditional_kl
from oddn_jax.baselines.provide.model import decoding_weights
from oddn_jax.baselines.provide.networks import LSTM2DCell
from oddn_jax.decoder import compose
from oddn_jax.distributions import Posterior, mixture_nll, pixel_likelihoods
from oddn_jax.export import flatten_params
from oddn_jax.layers import coordinate_channels, normalize
from oddn_jax.refinement import RefinementInputs, RefinementState

FROZEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "provide_parameters.json").read_text())
# Compiling is all that these tests wait for; unoptimised code comes in half the time.
fast_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SUBTOTALS = {
    "features/": 122_512,
    "refinement/conv": 129_280,
    "refinement/code": 2_097_280,
    "refinement/lstm": 411_520,
    "refinement/delta": 16_512,
    "prior/": 33_024,
    "decoder/condition": 16_512,
    "decoder/conv": 151_172,
    "initial_posterior": 128,
}


@pytest.mark.parametrize("preset", FROZEN)
def test_names_and_shapes_are_frozen(preset):
    model = PROVIDE(ProvideConfig.preset(preset, pyramid=0, background_slot=0.0))
    initialize = partial(model.init, jax.random.key(0), method="initialize_parameters")
    params = flatten_params(jax.eval_shape(initialize)["params"])
    assert {name: list(leaf.shape) for name, leaf in params.items()} == FROZEN[preset]


def test_parameter_count_is_table_4s():
    def count(preset, prefix=""):
        return sum(int(np.prod(s)) for name, s in FROZEN[preset].items() if name.startswith(prefix))

    assert {prefix: count("prediction", prefix) for prefix in SUBTOTALS} == SUBTOTALS
    assert count("prediction") == sum(SUBTOTALS.values()) == 2_977_940
    assert count("reasoning") == 3_837_204


@pytest.fixture(scope="module")
def tiny_provide(tiny_config, initial_variables):
    """(model, variables)"""
    fields = dataclasses.asdict(tiny_config) | {"nll_weight": 3.0, "kl_weight": 10.0}
    model = PROVIDE(ProvideConfig(**fields))
    return model, initial_variables(model)


@pytest.fixture(scope="module")
def noise():
    return jax.random.normal(jax.random.key(40), (3, 2, 3, 3, 6))


@pytest.fixture(scope="module")
def observe(tiny_provide):
    model, variables = tiny_provide
    return fast_jit(partial(model.apply, variables, method="observe"))


@pytest.fixture(scope="module")
def observed(observe, video, noise):
    """Inference and memory of three frames."""
    return observe(video[:, :3], noise=noise)


def test_the_2d_lstm_in_numpy():
    random = np.random.default_rng(0)
    cell, x = LSTM2DCell(7, 5, "float32"), random.normal(size=(4, 7))
    step_hidden, frame_hidden, step_cell, frame_cell = random.normal(size=(4, 4, 5))
    states = RefinementState(
        jnp.array(np.concatenate([step_hidden, frame_hidden], -1), jnp.float32),
        jnp.array(np.concatenate([step_cell, frame_cell], -1), jnp.float32),
    )
    variables = cell.init(jax.random.key(0), jnp.array(x, jnp.float32), states)
    p = jax.tree.map(np.asarray, variables["params"])
    gates = np.zeros((4, 25))
    for name, value in (("input", x), ("along_frames", frame_hidden), ("along_steps", step_hidden)):
        gates += value @ p[name]["kernel"] + p[name]["bias"]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    i, f, o, mixing = (sigmoid(gates[:, 5 * n : 5 * n + 5]) for n in range(4))
    c = f * (mixing * frame_cell + (1 - mixing) * step_cell) + i * np.tanh(gates[:, 20:])
    following = cell.apply(variables, jnp.array(x, jnp.float32), states)
    np.testing.assert_allclose(following.cell, c, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(following.hidden, o * np.tanh(c), rtol=1e-4, atol=1e-6)


def test_the_conditional_prior_in_numpy(tiny_provide):
    """Mean and log-variance from the memory; the divergence by sampling, log q - log p with SciPy's densities."""
    model, variables = tiny_provide
    hidden = np.random.default_rng(1).normal(size=(2, 3, 8)).astype(np.float32)
    prior = model.apply(variables, method=lambda module: module.prior(jnp.array(hidden)))
    p = jax.tree.map(np.asarray, variables["params"]["prior"])
    u = np.maximum(hidden @ p["hidden"]["kernel"] + p["hidden"]["bias"], 0)
    mean = u @ p["mean"]["kernel"] + p["mean"]["bias"]
    log_variance = np.log1p(np.exp(u @ p["log_variance"]["kernel"] + p["log_variance"]["bias"]))
    np.testing.assert_allclose(prior.mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(prior.log_variance, log_variance, rtol=1e-4, atol=1e-6)

    random = np.random.default_rng(2)
    q_mean, q_log_variance = random.normal(size=(2, 2, 3, 6))
    q = scipy.stats.norm(q_mean, np.exp(q_log_variance / 2))
    samples = q.rvs((40_000, 2, 3, 6), random_state=random)
    ratio = (q.logpdf(samples) - scipy.stats.norm(mean, np.exp(log_variance / 2)).logpdf(samples)).sum(-1)
    kl = conditional_kl(Posterior(jnp.array(q_mean), jnp.array(q_log_variance)), prior)
    error = ratio.std(0) / np.sqrt(len(ratio))
    assert (np.abs(kl - ratio.mean(0)) < 5 * error).all() and (error < 0.02 * kl).all()


def look(frame, rgb, logits, posterior, gradients, variance):
    """What the refinement network sees of one clip's frame, given the gradients by rgb, masks and posterior."""
    masks, likelihoods = compose(rgb, logits).slot_masks, pixel_likelihoods(frame, rgb, variance)
    log_likelihood = jnp.log((masks * likelihoods).sum(0)).sum(-1, keepdims=True)
    common = [frame, normalize(log_likelihood, 3), coordinate_channels(*frame.shape[:2])]
    slots = [rgb, masks, logits, *(normalize(gradient, 3) for gradient in gradients[:2])]
    slots += [jax.nn.softmax(likelihoods.prod(-1, keepdims=True), 0)]
    vector = [posterior, normalize(gradients[2], 1)]
    return RefinementInputs(*(jnp.concatenate(channels, -1) for channels in (common, slots, vector)))


def written_out(model, variables, video, noise):
    """PROVIDE's procedure for one clip as its code goes about it, with every gradient by autodiff of the loss.

    Returns the decodings of each frame as (mean, log-variance, nll, kl), the last latents, and the state at the end.
    """
    bound, config = model.bind(variables), model.config
    decode, prior, refine = (as_function(m) for m in (bound.decoder, bound.prior, bound.refinement))
    initial = jnp.broadcast_to(bound.initial_posterior, (3, 12))
    first = initial[:, :6] + jnp.exp(initial[:, 6:] / 2) * noise[0, 0]
    memory = RefinementState(jnp.zeros((3, 8)), jnp.zeros((3, 8)))
    frames = []
    for f, x in enumerate(video):
        prior_mean, prior_log_variance = prior(memory.hidden)

        def terms(rgb, masks, posterior, x=x, m=prior_mean, s=prior_log_variance):
            mean, log_variance = posterior[:, :6], posterior[:, 6:]
            kl = 0.5 * (s - log_variance + (jnp.exp(log_variance) + (mean - m) ** 2) / jnp.exp(s) - 1).sum()
            return mixture_nll(x, rgb, masks, config.likelihood_variance), kl

        def loss(rgb, masks, posterior, terms=terms):
            nll, kl = terms(rgb, masks, posterior)
            return config.nll_weight * nll + config.kl_weight * kl

        posterior, state, decodings = initial, jax.tree.map(jnp.zeros_like, memory), []
        for step in range(3 if f == 0 else 2):

            def latents_of(posterior, f=f, step=step):
                return posterior[:, :6] + jnp.exp(posterior[:, 6:] / 2) * noise[step, f] if step else first

            def whole(posterior, hidden=memory.hidden, latents_of=latents_of, loss=loss):
                rgb, logits = decode(latents_of(posterior), hidden)
                return loss(rgb, compose(rgb, logits).slot_masks, posterior)

            rgb, logits = decode(latents_of(posterior), memory.hidden)
            masks = compose(rgb, logits).slot_masks
            decodings.append((posterior[:, :6], posterior[:, 6:], *terms(rgb, masks, posterior)))
            latents = latents_of(posterior)
            if step == 2:
                break
            gradients = *jax.grad(loss, (0, 1))(rgb, masks, posterior), jax.grad(whole)(posterior)
            inputs = look(x, rgb, logits, posterior, gradients, config.likelihood_variance)
            delta, state = refine(inputs, state, memory)
            posterior = posterior + jnp.concatenate(delta, -1)
        memory = state
        frames.append(decodings)
    return frames, latents, memory


def test_inference_written_out(tiny_provide, video, noise, observed):
    """Three, two and two decodings; the second clip of the batch."""
    model, variables = tiny_provide
    inference, memory = observed
    clip = fast_jit(partial(written_out, model, variables))
    frames, latents, state = clip(video[1, :3], noise[:, 1])
    for f, decodings in enumerate(frames):
        assert len(decodings) == (3 if f == 0 else 2)
        ours = (*inference.trajectory, inference.nll, inference.kl)
        for index, name in enumerate(("mean", "log_variance", "nll", "kl")):
            expected = np.stack([decoding[index] for decoding in decodings])
            got = ours[index][1, f, -len(decodings) :]
            np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4, err_msg=f"frame {f} {name}")
    np.testing.assert_allclose(inference.latents[1, -1], latents, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(memory.state.hidden[1], state.hidden, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(memory.state.cell[1], state.cell, rtol=2e-3, atol=2e-4)


def test_frames_with_fewer_decodings_repeat_the_first(observed):
    inference, _ = observed
    assert inference.nll.shape == (2, 3, 3) and inference.trajectory.mean.shape == (2, 3, 3, 3, 6)
    for steps in (inference.nll, inference.kl, *inference.trajectory):
        np.testing.assert_array_equal(steps[:, 1:, 0], steps[:, 1:, 1])
    assert (inference.nll[:, 0, 0] != inference.nll[:, 0, 1]).all()
    np.testing.assert_array_equal(inference.posterior.mean, inference.trajectory.mean[:, :, -1])


def test_a_frame_depends_on_itself_and_the_frames_before(observe, video, noise, observed):
    inference, _ = observe(video[:, :3].at[:, 1].set(0.3), noise=noise)
    difference = np.abs(inference.latents - observed[0].latents).max((0, 2, 3))
    assert difference[0] == 0 and (difference[1:] > 1e-5).all()


def test_how_often_each_frame_is_decoded():
    assert num_decodings(ProvideConfig(), 8) == [5, 4, 3, 2, 2, 2, 2, 2]
    assert num_decodings(ProvideConfig(num_refinement_steps=2), 3) == [2, 2, 2]
    with pytest.raises(ValueError, match="num_refinement_steps=1 must be at least 2"):
        ProvideConfig(num_refinement_steps=1)


def test_the_weights_of_the_decodings():
    expected = [[0.2, 0.4, 0.6, 0.8, 1], [0, 0.2, 0.4, 0.6, 0.8], [0, 0, 0.2, 0.4, 0.6], [0, 0, 0, 0.2, 0.4]]
    np.testing.assert_allclose(decoding_weights(ProvideConfig(), 5), [*expected, expected[-1]], rtol=1e-6)
    last = decoding_weights(ProvideConfig(iteration_weights="last"), 3)
    np.testing.assert_array_equal(last, np.eye(5)[[4, 4, 4]])


def test_the_weight_of_the_likelihood_over_training():
    def weights(nll, config, weight):
        return [float(weight := next_nll_weight(weight, jnp.float32(x), config)) for x in nll]

    nll = [900, 601, 600, 201, 200, 150, 700, 190]
    assert weights(nll, ProvideConfig(), 50.0) == [300, 300, 100, 100, 100, 100, 300, 300]
    assert weights([100, 100], ProvideConfig(), 50.0) == [50, 50]
    assert weights(nll, ProvideConfig(nll_weight_schedule=False), 50.0) == [50] * 8
    quarter = ProvideConfig(image_height=32, image_width=32)
    assert weights([x / 4 for x in nll], quarter, 50.0) == weights(nll, ProvideConfig(), 50.0)
    narrow = weights([10 * x for x in nll], ProvideConfig(likelihood_variance=0.03), 5.0)
    np.testing.assert_allclose(narrow, [30, 30, 10, 10, 10, 10, 30, 30], rtol=1e-6)


def test_the_loss_is_the_weighted_sum(tiny_provide, observed):
    inference, config = observed[0], tiny_provide[0].config
    nll = kl = 0
    for frame in range(3):
        decodings = 3 if frame == 0 else 2
        for step in range(1, decodings + 1):
            nll += step / 3 * inference.nll[:, frame, 3 - decodings + step - 1].mean()
            kl += step / 3 * inference.kl[:, frame, 3 - decodings + step - 1].mean()
    losses = provide_losses(inference, config, 70.0)
    np.testing.assert_allclose(losses.reconstruction, 70 * nll, rtol=1e-5)
    np.testing.assert_allclose(losses.kl, 10 * kl, rtol=1e-5)
    np.testing.assert_allclose(losses.total, 70 * nll + 10 * kl, rtol=1e-5)
    np.testing.assert_allclose(provide_losses(inference, config).reconstruction, 3 * nll, rtol=1e-5)
    np.testing.assert_allclose(losses.terms["nll_final"], inference.nll[:, 2, 2].mean(), rtol=1e-6)


def test_every_parameter_has_a_gradient(tiny_provide, video, noise):
    model, variables = tiny_provide

    @fast_jit
    @jax.grad
    def gradient(params):
        inference = model.apply({"params": params}, video[:, :2], noise=noise[:, :, :2], nll_weight=50.0)
        return provide_losses(inference, model.config, 50.0).total

    gradients = gradient(variables["params"])
    chex.assert_tree_all_finite(gradients)
    zero = [name for name, g in flatten_params(gradients).items() if not np.abs(g).max() > 0]
    assert not zero


def test_prediction_written_out(tiny_provide, observed):
    """Decode the first sample, take the picture for observed, refine once with zero gradients, repeat."""
    model, variables = tiny_provide
    bound = model.bind(variables)
    decode, refine = as_function(bound.decoder), as_function(bound.refinement)
    initial = jnp.broadcast_to(bound.initial_posterior, (3, 12))

    @fast_jit
    def written_out(latents, state):
        steps, empty = [], jax.tree.map(jnp.zeros_like, state)
        for _ in range(2):
            rgb, logits = decode(latents, state.hidden)
            frame = compose(rgb, logits).reconstruction
            steps.append((frame, state.hidden))
            gradients = jnp.zeros_like(rgb), jnp.zeros_like(logits), jnp.zeros_like(initial)
            inputs = look(frame, rgb, logits, initial, gradients, model.config.likelihood_variance)
            _, state = refine(inputs, empty, state)
        return [jnp.stack(x) for x in zip(*steps)]

    memory = observed[1]
    simulation = fast_jit(lambda memory: model.apply(variables, memory, 2, method="simulate"))(memory)
    frames, hidden = written_out(*jax.tree.map(lambda x: x[1], (memory.first_latents, memory.state)))
    np.testing.assert_allclose(simulation.decoded.reconstruction[1], frames, atol=1e-5)
    np.testing.assert_allclose(simulation.hidden[1], hidden, rtol=1e-4, atol=1e-5)
    assert np.abs(hidden[1] - hidden[0]).max() > 1e-3


def test_rollout_observes_with_means_and_simulates(tiny_provide, video, noise):
    model, variables = tiny_provide
    model, context, noise = (
        PROVIDE(dataclasses.replace(model.config, num_refinement_steps=2)),
        video[:, :1],
        noise[:2],
    )

    @fast_jit
    def both(noise):
        inference, memory = model.apply(
            variables, context, noise=noise[:, :, :1], deterministic=True, method="observe"
        )
        simulation = model.apply(variables, memory, 2, method="simulate")
        rollout = model.apply(variables, context, noise=noise[:, :, :1], num_steps=2, method="rollout")
        return inference, memory, simulation, rollout

    inference, memory, simulation, rollout = both(noise)
    chex.assert_trees_all_close(rollout, simulation, rtol=1e-5)
    np.testing.assert_array_equal(inference.latents, inference.posterior.mean)
    initial = Posterior(*np.split(np.asarray(variables["params"]["initial_posterior"]), 2))
    first = initial.mean + np.exp(initial.log_variance / 2) * noise[0, :, 0]
    np.testing.assert_allclose(memory.first_latents, first, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"features": "random", "compute_dtype": "bfloat16", "remat": "step"},
        {"gradient_scale": "per_batch", "unroll": 1},
    ],
)
def test_shapes_and_types_hold_with_every_switch(tiny_provide, changes):
    """Traced only; without a batch axis."""
    model = PROVIDE(dataclasses.replace(tiny_provide[0].config, **changes))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))
    video = jax.ShapeDtypeStruct((4, 8, 12, 3), jnp.float32)

    def run(variables, video):
        def loss(variables):
            inference = model.apply(variables, video, jax.random.key(0))
            return provide_losses(inference, model.config).total, inference

        gradients, inference = jax.grad(loss, has_aux=True)(variables)
        rollout = model.apply(variables, video[:1], jax.random.key(0), num_steps=2, method="rollout")
        return inference, rollout, gradients

    inference, rollout, gradients = jax.eval_shape(run, variables, video)
    assert inference.nll.shape == (4, 3) and inference.decoded.slot_rgb.shape == (4, 3, 8, 12, 3)
    assert rollout.decoded.reconstruction.shape == (2, 8, 12, 3)
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, variables)
    assert {x.dtype for x in jax.tree.leaves((inference, rollout))} == {jnp.dtype("float32")}


def test_what_it_refuses(tiny_provide, video, noise):
    model, variables = tiny_provide
    with pytest.raises(ValueError, match="frames are 12x8"):
        model.apply(variables, video[:, :3].swapaxes(2, 3), noise=noise)
    with pytest.raises(ValueError, match="either a key or noise"):
        model.apply(variables, video)
