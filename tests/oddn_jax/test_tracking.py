"""Slots that go on from frame to frame: `num_tracking_steps`."""

import dataclasses

import jax
import jax.export
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import oddn_jax
from oddn_jax import ODDN, Posterior
from oddn_jax.baselines import IODINE
from oddn_jax.inference import frames_unroll
from oddn_jax.losses import elbo_losses

NUM_FRAMES = 12  # more than are unrolled at once


@pytest.fixture(scope="module")
def config(tiny_config):
    return dataclasses.replace(tiny_config, num_tracking_steps=2, background_slot=1.0)


@pytest.fixture(scope="module")
def model(config, initial_variables):
    """(model, variables)"""
    model = ODDN(config)
    return model, initial_variables(model)


@pytest.fixture(scope="module")
def clip():
    return jax.random.uniform(jax.random.key(3), (1, NUM_FRAMES, 8, 12, 3))


@pytest.fixture(scope="module")
def noise():
    return jax.random.normal(jax.random.key(4), (3, 1, NUM_FRAMES, 3, 6))


def infer(model, variables, video, **options):
    return jax.jit(lambda *x: model.apply(*x, **options, method="infer"))(variables, video)


@pytest.fixture(scope="module")
def tracked(model, clip, noise):
    return infer(*model, clip, noise=noise)


def test_each_frame_starts_from_the_posterior_of_the_one_before(model, config, clip, noise, tracked):
    """As a model without tracking does whose learned initial posterior is that one."""
    alone = ODDN(dataclasses.replace(config, num_tracking_steps=0))
    step = jax.jit(lambda variables, frame, noise: alone.apply(variables, frame, noise=noise, method="infer"))
    params = model[1]["params"]
    for t in range(NUM_FRAMES):
        found = step({"params": params}, clip[0, t], noise[0 if t == 0 else 1 :, 0, t])
        params = params | {"initial_posterior": jnp.concatenate(found.posterior, -1)}
        of_frame = jax.tree.map(lambda x, t=t: x[0, t], tracked)
        for one, other in ((found.posterior, of_frame.posterior), (found.decoded, of_frame.decoded)):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, other)
        left_out = 0 if t == 0 else 1
        np.testing.assert_allclose(found.nll, of_frame.nll[left_out:], rtol=1e-4)
        np.testing.assert_allclose(found.kl, of_frame.kl[left_out:], rtol=1e-4)
        np.testing.assert_allclose(found.trajectory.mean, of_frame.trajectory.mean[left_out:], atol=1e-5)
        if left_out:
            assert of_frame.nll[0] == of_frame.nll[1] and of_frame.kl[0] == of_frame.kl[1]


@pytest.mark.parametrize("cut", [1, 7])
def test_a_clip_goes_on_with_the_slots_of_the_one_before(model, clip, noise, tracked, cut):
    first = infer(*model, clip[:, :cut], noise=noise[:, :, :cut])
    before = jax.tree.map(lambda x: x[:, -1], first.posterior)
    rest = infer(*model, clip[:, cut:], noise=noise[:, :, cut:], before=before)
    both = jax.tree.map(lambda *x: jnp.concatenate(x, 1), first, rest)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), both, tracked)


def test_clips_of_any_leading_axes_are_tracked_alike(model, clip, noise, tracked):
    alone = infer(*model, clip[0], noise=noise[:, 0])
    np.testing.assert_allclose(alone.latents, tracked.latents[0], atol=1e-5)
    frame = infer(*model, clip[0, 0], noise=noise[:, 0, 0])
    np.testing.assert_allclose(frame.latents, tracked.latents[0, 0], atol=1e-5)


@pytest.mark.parametrize("kind", [ODDN, IODINE])
def test_the_loss_of_a_tracked_frame_is_that_of_the_last_decodings(
    config, initial_variables, clip, noise, kind
):
    model = kind(config)
    clip, noise = clip[:, :3], noise[:, :, :3]
    found = infer(model, initial_variables(model), clip, noise=noise)
    nll = np.asarray(found.nll)[0]
    wanted = [nll[0] @ [1 / 3, 2 / 3, 1], *(nll[1:, 1:] @ [2 / 3, 1])]
    reconstruction, _ = elbo_losses(found, config)
    np.testing.assert_allclose(reconstruction[0], config.nll_weight * np.array(wanted), rtol=1e-5)


def test_what_a_later_frame_does_not_explain_changes_what_an_earlier_one_learns(model, clip, noise):
    """The gradient goes through all frames of a clip."""

    def last(params):
        found = model[0].apply({"params": params}, clip[:, :3], noise=noise[:, :, :3], method="infer")
        return found.nll[:, -1, -1].sum()

    gradient = jax.jit(jax.grad(last))(model[1]["params"])
    assert jnp.abs(gradient["initial_posterior"]).max() > 1e-3


def test_what_cannot_be_tracked_is_refused(model, config, clip, noise):
    tracker, variables = model
    with pytest.raises(ValueError, match="of fewer decodings than num_tracking_steps=2"):
        tracker.apply(variables, clip, noise=noise[:1], method="infer")
    before = Posterior(jnp.zeros((1, 3, 6)), jnp.zeros((1, 3, 6)))
    alone = ODDN(dataclasses.replace(config, num_tracking_steps=0))
    with pytest.raises(ValueError, match="only a model with num_tracking_steps tracks"):
        alone.apply(variables, clip, noise=noise, before=before, method="infer")


@pytest.mark.parametrize("steps", [1, 4, -2])
def test_the_config_refuses_steps_that_refine_nothing_or_more_than_the_first_frame_has(config, steps):
    with pytest.raises(ValueError, match=f"num_tracking_steps={steps} must be 0, or at least 2"):
        dataclasses.replace(config, num_tracking_steps=steps)


def test_the_serialised_function_tracks_clips_of_any_length(model, clip, monkeypatch):
    # The checks of annotations cannot compare symbolic axes.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    function = jax.export.deserialize(
        bytearray(oddn_jax.serialize_functions(model[0], model[1]["params"])["infer"])
    )
    for video in (clip, clip[:, :2]):
        wanted = model[0].apply(model[1], video, jax.random.key(5), deterministic=True, method="infer")
        np.testing.assert_allclose(
            function.call(video, np.uint32(5))["latents"], wanted.latents, rtol=1e-4, atol=1e-5
        )


def test_long_clips_are_loops_of_bounded_size():
    assert [frames_unroll(n) for n in (1, 9, 10, 127)] == [1, 9, 4, 4]
