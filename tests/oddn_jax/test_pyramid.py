"""The cheap form of the backbone: what its parts compute, its count, its coarse form; and the background's slot."""

import dataclasses
import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oddn_jax
from oddn_jax import ODDN, ODDNConfig
from oddn_jax.baselines import IODINE, PROVIDE, ProvideConfig
from oddn_jax.decoder import SpatialBroadcastDecoder
from oddn_jax.distributions import mixture_nll
from oddn_jax.layers import add_bias, coordinate_channels, elu, fold, unfold
from oddn_jax.refinement import RefinementInputs, RefinementNetwork, RefinementState

HEIGHT, WIDTH, SLOTS = 16, 24, 3


@pytest.fixture(scope="module")
def config(tiny_config):
    return dataclasses.replace(
        tiny_config, image_height=HEIGHT, image_width=WIDTH, pyramid=3, background_slot=2.0, share_noise=False
    )


@pytest.fixture(scope="module")
def model(config, initial_variables):
    """(model, variables)"""
    model = ODDN(config)
    return model, initial_variables(model)


@pytest.fixture(scope="module")
def video():
    return jnp.asarray(np.random.default_rng(3).uniform(size=(1, 3, HEIGHT, WIDTH, 3)), jnp.float32)


def normal(seed: int, *size: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=size), jnp.float32)


def convolution(x: np.ndarray, layer: dict) -> np.ndarray:
    """A 3x3 convolution over [h w i] with zeros around it, tap by tap in NumPy."""
    height, width, _ = x.shape
    around = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    taps = [
        around[i : i + height, j : j + width] @ np.asarray(layer["kernel"])[i, j]
        for i in range(3)
        for j in range(3)
    ]
    return sum(taps) + np.asarray(layer["bias"])


def depth_to_space(x: np.ndarray) -> np.ndarray:
    """[h w 4*c] to [2*h 2*w c], pixel by pixel."""
    height, width, channels = x.shape
    picture = np.zeros((2 * height, 2 * width, channels // 4), x.dtype)
    for row in range(2 * height):
        for column in range(2 * width):
            first = (2 * (row % 2) + column % 2) * (channels // 4)
            picture[row, column] = x[row // 2, column // 2, first : first + channels // 4]
    return picture


def nonlinear(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def test_folding_moves_pixels_side_by_side_and_back():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6, 3)), jnp.float32)
    folded = fold(x, 2)
    assert folded.shape == (2, 2, 12, 3)
    for row in range(2):
        for column in range(3):
            block = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(2, 4, 3)
            np.testing.assert_array_equal(folded[:, row, 4 * column : 4 * column + 4], block)
    np.testing.assert_array_equal(unfold(folded, 2), x)
    np.testing.assert_array_equal(fold(x, 1), x)
    made = np.random.default_rng(1).normal(size=(3, 2, 8)).astype(np.float32)
    np.testing.assert_array_equal(unfold(jnp.asarray(made.reshape(3, 8, 2)), 2), depth_to_space(made))


def test_slope_and_biases_are_those_of_jax():
    random = np.random.default_rng(0)
    x, bias = (jnp.asarray(random.normal(size=size), jnp.float32) for size in ((2, 3, 5, 4), (4,)))

    def ours(x, bias):
        return jnp.sum(jnp.sin(elu(add_bias(x, bias))))

    def theirs(x, bias):
        return jnp.sum(jnp.sin(jax.nn.elu(x + bias)))

    for mine, other in zip(*(jax.value_and_grad(f, (0, 1))(x, bias) for f in (ours, theirs))):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), mine, other)


def test_the_decoder_written_out(config, model):
    latents = normal(1, SLOTS, config.latent_size)
    layers = model[1]["params"]["decoder"]
    decoded = model[0].apply(model[1], latents, method="decode")
    for slot in range(SLOTS):
        shape = (HEIGHT // 8, WIDTH // 8)
        tiled = np.broadcast_to(latents[slot], (*shape, config.latent_size))
        x = np.concatenate([coordinate_channels(*shape), tiled], -1)
        x = nonlinear(convolution(x, layers["conv_0"]))
        for name in ("conv_1", "conv_2"):
            x = nonlinear(depth_to_space(convolution(x, layers[name])))
        x = depth_to_space(convolution(x, layers["conv_3"]))
        np.testing.assert_allclose(
            decoded.slot_rgb[slot], 1 / (1 + np.exp(-x[..., :3])), rtol=1e-4, atol=1e-5
        )
        logits = x[..., 3:] + (2.0 if slot == 0 else 0.0)
        np.testing.assert_allclose(decoded.slot_mask_logits[slot], logits, rtol=1e-4, atol=1e-4)


def test_the_first_patches_are_a_strided_convolution_of_all_channels(config, model):
    frame, slots = normal(2, 2, HEIGHT, WIDTH, 6), normal(3, 2, SLOTS, HEIGHT, WIDTH, 10)
    inputs = RefinementInputs(frame, slots, None)
    layer = model[1]["params"]["refinement"]["conv_0"]

    def patched(module):
        return module.refinement.conv[0](fold(frame, 2), fold(slots, 2))

    ours = model[0].apply(model[1], method=patched)
    image = inputs.image.reshape(-1, HEIGHT, WIDTH, 16)
    strided = jax.lax.conv_general_dilated(
        image, layer["kernel"], (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    expected = (strided + layer["bias"]).reshape(ours.shape)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def inferred(model, video):
    """A clip, and again with what two slots start from exchanged: two others, or the background's and another."""
    noise, (model, variables) = normal(4, 3, 1, 3, SLOTS, 6), model

    @jax.jit
    def infer(order):
        params = variables["params"]
        params = params | {"initial_posterior": params["initial_posterior"][order]}
        return model.apply({"params": params}, video, noise=noise[..., order, :], method="infer")

    return tuple(infer(jnp.array(order)) for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2]))


def test_what_inference_returns_is_no_longer_folded(config, inferred, video):
    seen = inferred[0]
    decoded = seen.decoded
    assert decoded.slot_rgb.shape == (1, 3, SLOTS, HEIGHT, WIDTH, 3)
    nll = mixture_nll(video, decoded.slot_rgb, decoded.slot_masks, config.likelihood_variance)
    np.testing.assert_allclose(seen.nll[..., -1], nll, rtol=1e-5)
    np.testing.assert_allclose(
        decoded.reconstruction, (decoded.slot_masks * decoded.slot_rgb).sum(2), atol=1e-6
    )


def test_the_other_slots_differ_by_what_they_start_from_alone_and_the_first_does_not(inferred):
    seen, others, first = inferred
    for name in ("posterior", "latents"):
        original, changed = getattr(seen, name), getattr(others, name)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(y, x[:, :, jnp.array([0, 2, 1])], rtol=1e-4, atol=1e-4),
            original,
            changed,
        )
    np.testing.assert_allclose(
        others.decoded.slot_masks, seen.decoded.slot_masks[:, :, jnp.array([0, 2, 1])], rtol=1e-4, atol=1e-5
    )
    assert np.abs(first.posterior.mean - seen.posterior.mean[:, :, jnp.array([1, 0, 2])]).max() > 1e-3


@pytest.mark.parametrize("system", [ODDN, PROVIDE])
def test_the_backgrounds_posterior_is_the_same_in_all_frames_and_steps(
    config, video, initial_variables, system
):
    if system is PROVIDE:
        config = ProvideConfig(**dataclasses.asdict(config))
    model = system(config)
    variables, other = initial_variables(model), video[:, ::-1] / 2
    infer = jax.jit(functools.partial(model.apply, method="infer"))
    steps = [
        infer(variables, frames, jax.random.key(0)).trajectory.mean for frames in (video, other)
    ]  # [b t r k l]
    np.testing.assert_array_equal(
        steps[0][..., 0, :], np.broadcast_to(steps[0][0, 0, 0, 0], steps[0][..., 0, :].shape)
    )
    np.testing.assert_array_equal(steps[0][..., 0, :], steps[1][..., 0, :])
    assert (
        np.abs(steps[0] - steps[1])[:, :, -1, 1:].max() > 1e-3 and np.ptp(steps[0][..., 1, :], 2).max() > 1e-3
    )


def test_slots_that_look_alike_leave_the_picture_to_the_first(config, model):
    latents = jnp.ones((SLOTS, config.latent_size))
    masks = model[0].apply(model[1], latents, method="decode").slot_masks
    share = np.exp(2.0) / (np.exp(2.0) + SLOTS - 1)
    np.testing.assert_allclose(masks[0], share, rtol=1e-5)
    np.testing.assert_allclose(masks[1:], (1 - share) / (SLOTS - 1), rtol=1e-5)


def count(model) -> int:
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), method="initialize_parameters"))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_the_count_by_hand():
    size = dict(image_height=64, image_width=96, num_slots=7, latent_size=16, convolution_channels=32)
    config = ODDNConfig(pyramid=3, background_slot=3.0, features="none", hidden_size=128, **size)
    decoder = (9 * (2 + 16) * 32 + 32) + 2 * (9 * 32 * 128 + 128) + (9 * 32 * 16 + 16)
    convolutions = (4 * (6 + 10) * 32 + 32) + (4 * 32 * 32 + 32) + 2 * (9 * 32 * 32 + 32)
    code = (64 // 4) * (96 // 4) * 32 * 128 + 128
    lstm = (4 * 16 + 128) * 4 * 128 + 128 * 4 * 128 + 2 * 4 * 128
    initial, delta = 7 * 2 * 16, 128 * 32 + 32
    assert count(IODINE(config)) == decoder + convolutions + code + lstm + delta + initial
    with_features = dataclasses.replace(config, features="random")
    assert count(IODINE(with_features)) - count(IODINE(config)) == 25_632 + 96_880 + 4 * 16 * 32
    plain = dataclasses.replace(config, pyramid=0, background_slot=0.0)
    for kind, of in ((ODDN, ODDNConfig), (PROVIDE, ProvideConfig)):  # the rest is that of the full form
        cheap, full = (count(kind(of(**dataclasses.asdict(x)))) - count(IODINE(x)) for x in (config, plain))
        assert cheap == full


def test_a_coarse_decoder_makes_the_average_and_a_coarse_refinement_sees_each_pixel_as_four(config, model):
    coarse, coarsen = model[0].coarser(2)
    assert (coarse.config.image_height, coarse.config.image_width, coarse.config.pyramid) == (8, 12, 2)
    assert coarse.config.kl_weight == config.kl_weight / 4
    params = model[1]["params"]
    of_coarse = coarsen(params)
    latents = normal(5, SLOTS, config.latent_size)

    def logits(model, params):
        rgb, masks = SpatialBroadcastDecoder(model.config).apply({"params": params["decoder"]}, latents)
        rgb, masks = (unfold(x, model.config.fold) for x in (rgb, masks))
        return jnp.concatenate([jnp.log(rgb / (1 - rgb)), masks], -1)

    blocks = logits(model[0], params).reshape(SLOTS, 8, 2, 12, 2, 4).mean((2, 4))
    np.testing.assert_allclose(logits(coarse, of_coarse), blocks, rtol=1e-3, atol=1e-4)

    def refined(model, params, frame, slots):
        size = model.config.fold
        inputs = RefinementInputs(fold(frame, size), fold(slots, size), jnp.ones((SLOTS, 24)))
        state = RefinementState(*jnp.zeros((2, SLOTS, config.hidden_size)))
        network = RefinementNetwork(model.config)
        return network.apply({"params": params["refinement"]}, inputs, state)[0]

    frame, slots = normal(6, 8, 12, 6), normal(7, SLOTS, 8, 12, 10)
    fine = (x.repeat(2, -3).repeat(2, -2) for x in (frame, slots))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
        refined(coarse, of_coarse, frame, slots),
        refined(model[0], params, *fine),
    )


def test_what_cannot_be(config, model):
    with pytest.raises(
        ValueError, match=r"image_width=20 must be a positive multiple of 8 \(pyramid=3 doubles a map 8 "
    ):
        dataclasses.replace(config, image_width=20)
    with pytest.raises(ValueError, match="pyramid=1 is not one of 0, 2, 3"):
        ODDNConfig(pyramid=1)
    with pytest.raises(ValueError, match="pyramid=3 cannot be 4 times coarser: only 3, by 2"):
        model[0].coarser(4)


def test_a_file_brings_it_back(config, model, tmp_path):
    oddn_jax.save(tmp_path / "cheap.safetensors", config, model[1]["params"])
    loaded, params = oddn_jax.load(tmp_path / "cheap.safetensors")
    assert loaded.config == config
    jax.tree.map(np.testing.assert_array_equal, params, model[1]["params"])
