"""The variational loop: its gradients, its constants, its special cases."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax import inference as inference_module
from oddn_jax.backbone import as_function
from oddn_jax.baselines import IODINE
from oddn_jax.decoder import compose
from oddn_jax.distributions import Posterior, mixture_nll, sample, slot_kl
from oddn_jax.inference import evaluate_and_look, iterative_inference
from oddn_jax.layers import normalize
from oddn_jax.losses import elbo_losses, iteration_weights
from oddn_jax.refinement import RefinementState


def infer(model, **options):
    return jax.jit(partial(model.apply, method="infer", **options))


@pytest.fixture(scope="module")
def noise(tiny_config, video):
    return jax.random.normal(jax.random.key(5), (3, *video.shape[:2], 3, 6))


def test_vector_input_is_the_gradient_of_the_loss(tiny, tiny_config, video, noise):
    """Layer-normalised d loss / d posterior, through the decoder and the sample, equals jax.grad of the whole loss."""
    model, variables = tiny
    frames, noise = video[0], noise[0, 0]
    posterior = Posterior(*jax.random.normal(jax.random.key(6), (2, 5, 3, 6)))

    def look(module, posterior):
        return evaluate_and_look(as_function(module.decoder), frames, None, posterior, noise, tiny_config)

    def loss(posterior):
        decoded = model.apply(variables, sample(posterior, noise), method="decode")
        nll = mixture_nll(frames, decoded.slot_rgb, decoded.slot_masks, 0.3)
        return (100 * nll + slot_kl(posterior).sum(-1)).sum()

    step, inputs = model.apply(variables, posterior, method=look)
    expected = normalize(jnp.concatenate(jax.grad(loss)(posterior), -1), 1)
    np.testing.assert_allclose(inputs.vector[..., 12:], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(inputs.vector[..., :12], jnp.concatenate(posterior, -1))
    np.testing.assert_allclose((100 * step.nll + step.kl).sum(), loss(posterior), rtol=1e-5)


def test_image_inputs_hold_the_gradients_of_the_loss(tiny, tiny_config, video, noise):
    model, variables = tiny
    frames, noise = video[0], noise[0, 0]
    posterior = Posterior(*jax.random.normal(jax.random.key(6), (2, 5, 3, 6)))

    def look(module):
        return evaluate_and_look(as_function(module.decoder), frames, None, posterior, noise, tiny_config)

    step, inputs = model.apply(variables, method=look)

    def loss(slot_rgb, slot_masks):
        return 100 * mixture_nll(frames, slot_rgb, slot_masks, 0.3).sum()

    rgb_gradient, mask_gradient = jax.grad(loss, (0, 1))(step.decoded.slot_rgb, step.decoded.slot_masks)
    np.testing.assert_allclose(inputs.image[..., 8:11], normalize(rgb_gradient, 3), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(inputs.image[..., 11:12], normalize(mask_gradient, 3), rtol=1e-3, atol=1e-3)


def test_no_gradient_flows_through_the_gradient_inputs(tiny, tiny_config, video, noise, monkeypatch):
    """Parameter gradients stay the same when the gradient inputs are replaced by their values, held constant.

    Each stop_gradient in the loop is replaced by a constant recorded in a first run.
    """
    model = IODINE(tiny_config)
    params = {name: tiny[1]["params"][name] for name in ("decoder", "refinement", "initial_posterior")}
    frames, noise = video[:, 0], noise[:, :, 0]

    def loss(params):
        return sum(elbo_losses(model.apply({"params": params}, frames, noise=noise), tiny_config)).sum()

    reference = jax.jit(jax.grad(loss))(params)

    constants, replay = [], []
    original = inference_module.refinement_inputs

    def recording(*arguments):
        inputs = original(*arguments)
        jax.debug.callback(
            lambda *values: constants.append([np.array(v) for v in values]), *inputs, ordered=True
        )
        return inputs

    def replaying(*arguments):
        inputs, (frame, slots, vector) = original(*arguments), replay.pop(0)
        return inputs._replace(
            frame=inputs.frame.at[..., 3].set(frame[..., 3]),
            slots=inputs.slots.at[..., 5:9].set(slots[..., 5:9]),
            vector=inputs.vector.at[..., 12:].set(vector[..., 12:]),
        )

    monkeypatch.setattr(inference_module, "refinement_inputs", recording)
    # An unrolled scan traces its body once, so the loop is written out for the recording and the replay.
    monkeypatch.setattr(inference_module.jax.lax, "scan", python_scan)
    jax.jit(lambda params: loss(params))(params)
    jax.effects_barrier()
    assert len(constants) == 2
    replay.extend(constants)
    monkeypatch.setattr(inference_module, "refinement_inputs", replaying)
    replaced = jax.jit(jax.grad(loss))(params)
    assert not replay
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), replaced, reference)


def python_scan(body, carry, xs, unroll):
    del unroll
    outputs = []
    for i in range(len(xs)):
        carry, output = body(carry, xs[i])
        outputs.append(output)
    return carry, jax.tree.map(lambda *steps: jnp.stack(steps), *outputs)


def test_without_refinement_every_decoding_starts_from_the_initial_posterior(tiny_config, video, noise):
    initial = Posterior(jnp.full((5, 3, 6), 0.3), jnp.full((5, 3, 6), -0.2))
    state = RefinementState(jnp.zeros((5, 3, 8)), jnp.zeros((5, 3, 8)))

    def decode(latents):
        colour = jax.nn.sigmoid(latents[..., None, None, :3])
        return jnp.broadcast_to(colour, (5, 3, 8, 12, 3)), jnp.zeros((5, 3, 8, 12, 1))

    def refine(inputs, state):
        zero = jnp.zeros((5, 3, 6))
        return Posterior(zero, zero), state

    inference = iterative_inference(decode, refine, video[0], None, initial, state, noise[:, 0], tiny_config)
    for step in range(3):
        np.testing.assert_array_equal(inference.trajectory.mean[:, step], initial.mean)
        expected = mixture_nll(video[0], *compose(*decode(sample(initial, noise[step, 0])))[:3:2], 0.3)
        np.testing.assert_allclose(inference.nll[:, step], expected, rtol=1e-6)


def test_iteration_weights(tiny_config):
    assert iteration_weights(tiny_config, 5).sum() == pytest.approx(3.0)
    last = dataclasses.replace(tiny_config, iteration_weights="last")
    np.testing.assert_array_equal(iteration_weights(last, 4), [0, 0, 0, 1])
    uniform = dataclasses.replace(tiny_config, iteration_weights="uniform")
    np.testing.assert_array_equal(iteration_weights(uniform, 4), 1)


def test_frames_are_independent(tiny, video, noise):
    model, variables = tiny
    both = infer(model)(variables, video, noise=noise)
    one = infer(model)(variables, video[1, 3], noise=noise[:, 1, 3])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1, 3], b, rtol=1e-4, atol=1e-5), both, one)


def test_batch_scaled_gradients_change_inference_a_little(tiny, tiny_config, video, noise):
    """per_batch (the released code) differs only relative to the layer norm's epsilon."""
    model, variables = tiny
    scaled = type(model)(dataclasses.replace(tiny_config, gradient_scale="per_batch", nll_weight=1e-3))
    plain = type(model)(dataclasses.replace(tiny_config, nll_weight=1e-3))
    a, b = (infer(m)(variables, video, noise=noise).latents for m in (scaled, plain))
    assert 0 < jnp.abs(a - b).max() < 1


def test_masks_sum_to_one_and_nll_is_in_range(tiny, video, noise):
    model, variables = tiny
    inference = infer(model)(variables, video, noise=noise)
    np.testing.assert_allclose(inference.decoded.slot_masks.sum(-4), 1, rtol=1e-5)
    assert inference.nll.min() >= 0 and inference.nll.max() <= 8 * 12 * 3 / 0.6
    assert (inference.decoded.slot_rgb > 0).all() and (inference.decoded.slot_rgb < 1).all()
    expected = (inference.decoded.slot_masks * inference.decoded.slot_rgb).sum(-4)
    np.testing.assert_allclose(inference.decoded.reconstruction, expected, rtol=1e-5)


def test_deterministic_latents_are_the_mean_and_only_in_the_last_step(tiny, video, noise):
    model, variables = tiny
    sampled = infer(model)(variables, video, noise=noise)
    mean = infer(model, deterministic=True)(variables, video, noise=noise)
    np.testing.assert_array_equal(mean.latents, mean.posterior.mean)
    np.testing.assert_allclose(mean.posterior.mean, sampled.posterior.mean, rtol=1e-5)
    assert jnp.abs(sampled.latents - sampled.posterior.mean).max() > 0.1


def test_key_and_noise_give_the_same_result(tiny, tiny_config, video):
    model, variables = tiny
    key = jax.random.key(3)
    noise = jax.random.normal(key, (3, 2, 5, 3, 6))
    a = infer(model)(variables, video, key)
    b = infer(model)(variables, video, noise=noise)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)
    with pytest.raises(ValueError, match="either a key or noise"):
        model.apply(variables, video, method="infer")


@pytest.mark.parametrize("share", [True, False])
def test_frames_of_a_clip_share_their_noise_where_the_config_says_so(tiny, tiny_config, video, share):
    model, variables = tiny
    model = type(model)(dataclasses.replace(tiny_config, share_noise=share))
    still = jnp.broadcast_to(video[:, :1], video.shape)
    for latents in (
        infer(model)(variables, still, jax.random.key(3)).latents,
        infer(model)(
            variables, still, noise=model.draw_noise(jax.random.split(jax.random.key(3)), 5)
        ).latents,
    ):
        between = jnp.abs(latents - latents[:, :1]).max()
        assert between < 1e-4 if share else between > 0.1
        assert jnp.abs(latents[0] - latents[1]).max() > 0.1  # clips never share it
    assert model.apply(variables, video[0, 0], jax.random.key(3), method="infer").latents.shape == (3, 6)


def test_wrong_frame_size_is_refused(tiny, video):
    model, variables = tiny
    with pytest.raises(ValueError, match=r"frames are 12x8.*the model's are 8x12"):
        model.apply(variables, video.swapaxes(2, 3), jax.random.key(0), method="infer")


@pytest.mark.parametrize("change", [{"remat": "step"}, {"unroll": 1}])
def test_how_it_is_computed_does_not_change_what_is_computed(tiny, tiny_config, video, change):
    model, variables = tiny
    other = type(model)(dataclasses.replace(tiny_config, **change))
    noise = jax.random.normal(jax.random.key(4), (3, 2, 5, 3, 6))

    def loss(model):
        def value(params):
            return sum(
                elbo_losses(model.apply({"params": params}, video, noise=noise).inference, tiny_config)
            ).sum()

        return jax.jit(jax.grad(value))(variables["params"])

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2), loss(other), loss(model)
    )


def scans(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from scans(inner)


def test_a_loop_is_given_no_whole_feature_maps(tiny, tiny_config, video):
    """What hangs on nothing in the loop is computed in front of it and kept: zeros that an activation chooses."""
    model, variables = tiny
    config = dataclasses.replace(tiny_config, unroll=1, remat="step")
    noise = jax.random.normal(jax.random.key(4), (3, 2, 5, 3, 6))

    def loss(params):
        other = type(model)(config)
        return other.apply({"params": params}, video, noise=noise, method="infer").nll.sum()

    forward, backward = scans(jax.make_jaxpr(jax.grad(loss))(variables["params"]).jaxpr)
    maps = video[..., 0].size * config.num_slots * config.convolution_channels
    for equation in (forward, backward):
        inside = equation.params["jaxpr"].in_avals
        sizes = [
            x.aval.size for x, y in zip(equation.invars, inside) if x.aval.shape == y.shape
        ]  # not scanned
        assert sizes and max(sizes) < maps


def test_bfloat16_stays_close_and_keeps_float32_outside(tiny, tiny_config, video):
    model, variables = tiny
    half = type(model)(dataclasses.replace(tiny_config, compute_dtype="bfloat16"))
    noise = jax.random.normal(jax.random.key(4), (3, 2, 5, 3, 6))
    a = infer(model)(variables, video, noise=noise)
    b = infer(half)(variables, video, noise=noise)
    assert {x.dtype for x in jax.tree.leaves(b)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(b.nll, a.nll, rtol=0.02)
    assert not np.array_equal(b.nll, a.nll)
