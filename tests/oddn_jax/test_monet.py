"""MONet: counts, the recursion of the scope, the attention network, the objective, and that it learns."""

import dataclasses
import itertools
import json
import pathlib
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.special
import scipy.stats

from oddn_jax.baselines.monet.config import MONetConfig
from oddn_jax.baselines.monet.model import MONet, attend_recursively, mask_kl, monet_losses, slot_mixture_nll
from oddn_jax.export import flatten_params

FROZEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "monet_parameters.json").read_text())
CONFIG = MONetConfig(
    image_height=8,
    image_width=12,
    num_slots=3,
    latent_size=4,
    attention_channels=2,
    num_attention_blocks=3,
    attention_hidden_size=6,
    component_channels=2,
    component_hidden_size=5,
)
# Nearly all of these tests' time is compilation.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def tiny(initial_variables):
    """(model, variables)"""
    model = MONet(CONFIG)
    return model, initial_variables(model)


@pytest.fixture(scope="module")
def clips():
    return jnp.asarray(np.random.default_rng(1).uniform(size=(2, 2, 8, 12, 3)), jnp.float32)


@pytest.fixture(scope="module")
def noise():
    return jnp.asarray(np.random.default_rng(2).normal(size=(2, 2, 3, 4)), jnp.float32)


@pytest.fixture(scope="module")
def explain(tiny):
    """(video, noise) -> (decomposition, gradients of its loss), compiled once."""
    model, variables = tiny

    @jit
    def run(video, noise):
        def loss(params):
            outputs = model.apply({"params": params}, video, noise=noise)
            return monet_losses(outputs, CONFIG).total, outputs

        gradients, outputs = jax.grad(loss, has_aux=True)(variables["params"])
        return outputs, gradients

    return run


def convolutions(sizes, window=3, bias=1):
    return [window**2 * i * o + bias * o for i, o in itertools.pairwise(sizes)]


def test_names_and_counts_of_each_part():
    """Counted by hand; the offset of the normalisation takes the place of a bias."""
    model = MONet(MONetConfig())
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    ups = [(128, 64), (128, 64), (128, 32), (64, 32), (64, 32)]
    expected = {
        "attention/down": sum(convolutions([4, 32, 32, 64, 64, 64])),
        "attention/bottom": (1024 * 128 + 128) + (128 * 128 + 128) + (128 * 1024 + 1024),
        "attention/up": sum(9 * i * o + o for i, o in ups),
        "attention/logit": 32 + 1,
        "encoder/conv": sum(convolutions([4, 32, 32, 64, 64])),
        "encoder/code": 4 * 4 * 64 * 256 + 256,
        "encoder/parameters": 256 * 32 + 32,
        "decoder/conv": sum(convolutions([18, 32, 32, 64, 64])),
        "decoder/output": 64 * 4 + 4,
    }
    found = dict.fromkeys(expected, 0)
    for name, leaf in flatten_params(params).items():
        found[next(part for part in expected if name.startswith(part))] += leaf.size
    assert found == expected
    assert sum(found.values()) == 1_010_661
    assert {name: list(leaf.shape) for name, leaf in flatten_params(params).items()} == FROZEN["default"]


@pytest.mark.parametrize("blocks", [4, 6])
def test_other_depths_of_the_attention(blocks):
    """The three coarsest blocks have twice the channels, as in the public PyTorch implementation."""
    size = 8 * 2 ** (blocks - 1)
    model = MONet(MONetConfig(image_height=size, image_width=size, num_attention_blocks=blocks))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))["params"]
    downs = [params["attention"][f"down_{i}"]["conv"]["kernel"].shape[-1] for i in range(blocks)]
    ups = [params["attention"][f"up_{i}"]["conv"]["kernel"].shape[-2:] for i in range(blocks)]
    if blocks == 4:
        assert downs == [32, 64, 64, 64]
        assert ups == [(128, 64), (128, 64), (128, 32), (64, 32)]
    else:
        assert downs == [32, 32, 32, 64, 64, 64]
        assert ups == [(128, 64), (128, 64), (128, 32), (64, 32), (64, 32), (64, 32)]


def test_the_scope_recursion_is_stick_breaking():
    """Against products of shares in float64 NumPy, each share depending on the picture and on what is left."""
    images = np.random.default_rng(3).uniform(size=(2, 3, 4, 3))

    def attention(images, log_scope):
        return 3 * images[..., :1] - 2 * images[..., 1:2] + log_scope

    left, masks = np.ones((2, 3, 4, 1)), []
    for _ in range(4):
        share = 1 / (1 + np.exp(-attention(images, np.log(left))))
        masks.append(left * share)
        left = left * (1 - share)
    masks.append(left)
    log_masks = attend_recursively(attention, jnp.asarray(images, jnp.float32), 5, 1)
    np.testing.assert_allclose(jnp.exp(log_masks), np.stack(masks, 1), rtol=1e-5)
    np.testing.assert_allclose(log_masks, np.log(np.stack(masks, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jnp.exp(log_masks).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_masks_stay_finite_and_sum_to_one_when_attention_is_certain(logit):
    images = jnp.zeros((1, 2, 2, 3))
    log_masks = attend_recursively(lambda _, log_scope: jnp.full_like(log_scope, logit), images, 4, 3)
    expected = [-200.0, -200.0, -200.0, 0.0] if logit < 0 else [0.0, -200.0, -400.0, -600.0]
    np.testing.assert_allclose(log_masks[0, :, 0, 0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(jnp.exp(log_masks).sum(1), 1, atol=1e-6)
    gradient = jax.grad(lambda logits: mask_kl(log_masks, logits).sum())(jnp.zeros_like(log_masks))
    assert np.isfinite(gradient).all()


def numpy_attention(params, image, log_scope):
    """The U-Net of three blocks for one picture, in float64 NumPy and SciPy."""

    def block(params, x):
        kernel = params["conv"]["kernel"]
        x = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        x = np.stack(
            [
                sum(
                    scipy.signal.correlate2d(x[..., i], kernel[..., i, o], "valid")
                    for i in range(x.shape[-1])
                )
                for o in range(kernel.shape[-1])
            ],
            -1,
        )
        x = (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5)
        return np.maximum(x + params["norm"]["bias"], 0)

    first = block(params["down_0"], np.concatenate([image, log_scope], -1))
    second = block(params["down_1"], first[::2, ::2])
    third = block(params["down_2"], second[::2, ::2])
    x = third.reshape(-1)
    for index in range(3):
        layer = params[f"bottom_{index}"]
        x = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    x = block(params["up_0"], np.concatenate([x.reshape(third.shape), third], -1))
    x = block(params["up_1"], np.concatenate([np.kron(x, np.ones((2, 2, 1))), second], -1))
    x = block(params["up_2"], np.concatenate([np.kron(x, np.ones((2, 2, 1))), first], -1))
    return x @ params["logit"]["kernel"][0, 0] + params["logit"]["bias"]


def test_attention_written_out(tiny, clips, noise, explain):
    """The masks of the whole model from a U-Net and a recursion that share no code with it; they sum to one."""
    outputs, _ = explain(clips, noise)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), tiny[1]["params"]["attention"])
    image = np.asarray(clips[1, 0], np.float64)
    left, masks = np.ones((8, 12, 1)), []
    for _ in range(2):
        share = scipy.special.expit(numpy_attention(params, image, np.log(left)))
        masks.append(left * share)
        left = left * (1 - share)
    np.testing.assert_allclose(outputs.slot_masks[1, 0], [*masks, left], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(outputs.slot_masks.sum(2), 1, atol=1e-6)
    np.testing.assert_allclose(outputs.log_masks, np.log(outputs.slot_masks), rtol=1e-4, atol=1e-6)
    assert np.std(masks[0]) > 1e-3


def test_the_likelihood_is_a_mixture_of_gaussians(clips, noise, explain):
    """Background and foreground with their own widths; densities by SciPy."""
    outputs, _ = explain(clips, noise)
    scales = np.array([0.09, 0.11, 0.11])[:, None, None, None]
    density = scipy.stats.norm(np.asarray(outputs.decoded.slot_rgb, np.float64), scales).pdf(
        clips[:, :, None]
    )
    expected = -np.log((np.asarray(outputs.slot_masks) * density).sum(2)).sum((2, 3, 4))
    np.testing.assert_allclose(outputs.nll, expected, rtol=1e-4)
    equal = slot_mixture_nll(clips, outputs.decoded.slot_rgb, outputs.log_masks, jnp.full(3, 0.11))
    assert np.abs(equal - outputs.nll).min() > 1e-2


def test_the_mask_divergence_is_that_of_a_categorical(clips, noise, explain):
    outputs, _ = explain(clips, noise)
    decoded = scipy.special.softmax(np.asarray(outputs.decoded.slot_mask_logits, np.float64), 2)
    attended = np.asarray(outputs.slot_masks, np.float64)
    expected = scipy.special.rel_entr(attended, decoded).sum((2, 3, 4, 5))
    np.testing.assert_allclose(outputs.mask_kl, expected, rtol=1e-4)
    assert (expected > 1e-3).all()
    equal = mask_kl(jax.nn.log_softmax(outputs.decoded.slot_mask_logits, 2), outputs.decoded.slot_mask_logits)
    np.testing.assert_allclose(equal, 0, atol=1e-4)


def test_the_loss_is_its_terms(clips, noise, explain):
    outputs, _ = explain(clips, noise)
    config = dataclasses.replace(CONFIG, latent_kl_weight=2.0, mask_kl_weight=3.0)
    losses = jax.tree.map(float, monet_losses(outputs, config))
    mean, log_variance = (np.asarray(x, np.float64) for x in outputs.posterior)
    latent_kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum((2, 3))
    nll, masks_kl = (np.asarray(x, np.float64).sum(1).mean() for x in (outputs.nll, outputs.mask_kl))
    assert losses.reconstruction == pytest.approx(nll, rel=1e-5)
    assert losses.kl == pytest.approx(2 * latent_kl.sum(1).mean() + 3 * masks_kl, rel=1e-4)
    assert losses.total == pytest.approx(losses.reconstruction + losses.kl, rel=1e-5)


def test_what_the_outputs_are(tiny, clips, noise, explain):
    """Frames know nothing of each other; reconstructions are mixed by the attention's masks."""
    model, variables = tiny
    outputs, gradients = explain(clips, noise)
    latents = outputs.posterior.mean + jnp.exp(outputs.posterior.log_variance / 2) * noise
    np.testing.assert_allclose(outputs.latents, latents, rtol=1e-5, atol=1e-6)
    mixed = (np.asarray(outputs.slot_masks) * np.asarray(outputs.decoded.slot_rgb)).sum(2)
    np.testing.assert_allclose(outputs.reconstruction, mixed, rtol=1e-5)
    decoded = jit(partial(model.apply, method="decode"))(variables, outputs.latents)
    chex.assert_trees_all_close(decoded, outputs.decoded, rtol=1e-4, atol=1e-5)

    turned, _ = explain(clips[::-1, ::-1], noise[::-1, ::-1])
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[::-1, ::-1], turned), outputs, rtol=1e-4, atol=1e-4)
    zero = [
        jax.tree_util.keystr(p) for p, g in jax.tree.leaves_with_path(gradients) if not np.abs(g).max() > 0
    ]
    chex.assert_tree_all_finite(gradients)
    assert not zero, f"no gradient reaches {zero}"


def test_a_loop_and_no_randomness_on_request(tiny, clips, noise, explain):
    """`unroll=1` is what accelerators run; the deterministic latents are the posterior's mean and need no key."""
    model = MONet(dataclasses.replace(CONFIG, unroll=1))
    infer = jit(lambda video: model.apply(tiny[1], video, deterministic=True, method="infer"))
    outputs, expected = infer(clips), explain(clips, noise)[0]
    chex.assert_trees_all_close(outputs.log_masks, expected.log_masks, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(outputs.posterior, expected.posterior, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs.latents, outputs.posterior.mean)


def test_bfloat16_stays_inside_the_layers():
    model = MONet(dataclasses.replace(CONFIG, compute_dtype="bfloat16"))
    arguments = jax.ShapeDtypeStruct((2, 2, 8, 12, 3), jnp.float32), jax.random.key(0)
    outputs, variables = jax.eval_shape(lambda *x: model.init_with_output(jax.random.key(0), *x), *arguments)
    assert {x.dtype for x in jax.tree.leaves((outputs, variables))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_slots": 1}, "num_slots=1 must be at least 2"),
        ({"image_width": 40}, "image_width=40 must be a multiple of 16: num_attention_blocks=5 halve it"),
        ({"compute_dtype": "int8"}, "compute_dtype='int8' is not one of float32, bfloat16, float64"),
        ({"foreground_scale": 0.0}, "foreground_scale=0.0 must be positive"),
        ({"mask_kl_weight": -1.0}, "mask_kl_weight=-1.0 must not be negative"),
    ],
)
def test_the_configuration_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        MONetConfig(**changes)


def test_wrong_frames_are_refused(tiny, clips):
    model, variables = tiny
    with pytest.raises(ValueError, match=r"frames are 8x8 .*, the model's are 8x12"):
        model.apply(variables, clips[..., :8, :], jax.random.key(0))
    with pytest.raises(ValueError, match="either a key or noise"):
        model.apply(variables, clips)
