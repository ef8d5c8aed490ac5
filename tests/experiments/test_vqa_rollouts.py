"""Predictive questions answered with what the model expects after the video's last frame."""

import functools

import jax
import numpy as np
import pytest

from experiments.runs import trained
from experiments.vqa import batches, readings, rollouts, steps
from experiments.vqa.config import VQAConfig, check
from oddn_jax.baselines import IODINELinear, IODINELinearConfig
from tests.experiments.asked import EXAMPLE
from tests.experiments.test_vqa_steps import make_config, steps_mesh

PREDICTIVE = EXAMPLE.type == batches.PREDICTIVE


@pytest.fixture(scope="module")
def found():
    return trained.open_trained(export="quickstart")


@pytest.fixture(scope="module")
def arrays(found):
    """Made-up slots of 65 videos of 7 frames, one more than are rolled out at once."""
    config, draw = found.model.config, np.random.default_rng(0).normal
    latents = draw(size=(65, 7, config.num_slots, config.latent_size)).astype("f4")
    dynamics = draw(size=(65, 7, config.num_slots, config.dynamics_size)).astype("f4")
    return {"latents": latents, "dynamics": dynamics, "scene_index": np.arange(65, dtype=np.int32)}


@pytest.mark.parametrize("gap, num_frames", [(1, 3), (2, 5)])
def test_frames_go_on_as_the_model_rolls_them_out(found, arrays, gap, num_frames):
    longer = rollouts.append(found, arrays, gap, num_frames)
    np.testing.assert_array_equal(longer["scene_index"], arrays["scene_index"])
    for name in ("latents", "dynamics"):
        assert longer[name].shape == (65, 7 + num_frames, *arrays[name].shape[2:])
        np.testing.assert_array_equal(longer[name][:, :7], arrays[name])
    roll = functools.partial(found.model.apply, {"params": found.params}, num_steps=4, method="rollout")
    for phase in range(gap):
        context = arrays["latents"][:, [7 - 2 * gap + phase, 7 - gap + phase]]
        wanted = jax.jit(roll)(context)
        for step, frame in enumerate(range(7 + phase, 7 + num_frames, gap)):
            np.testing.assert_allclose(longer["latents"][:, frame], wanted.latents[:, step], atol=1e-5)
            # A frame's dynamics are those that lead to the next one.
            np.testing.assert_allclose(longer["dynamics"][:, frame], wanted.dynamics[:, step + 1], atol=1e-5)


def test_what_cannot_be_rolled_out(found, arrays):
    with pytest.raises(ValueError, match=r"the videos have 7 frames: .* two that are 4 apart"):
        rollouts.append(found, arrays, 4, 2)
    other = found._replace(model=IODINELinear(IODINELinearConfig()))
    with pytest.raises(
        ValueError, match=r"quickstart: IODINELinear rolls out no dynamics: config.rollout_frames"
    ):
        rollouts.append(other, arrays, 1, 2)
    for features in ("truth", "blind"):
        with pytest.raises(ValueError, match=f"config.features '{features}' are no slots that a model"):
            check(VQAConfig(features=features, rollout_frames=4))
    with pytest.raises(ValueError, match=r"config.rollout_frames is -1: it must be at least 0"):
        check(VQAConfig(rollout_frames=-1))


def test_predictive_questions_alone_see_what_is_rolled_out():
    config = make_config(rollout_frames=3)
    params = jax.jit(lambda: steps.initial_state(config, steps.make_optimizer(config)).params)()
    videos = np.random.default_rng(1).normal(size=(2, 11, 2, 4)).astype("f4")
    other = videos.copy()
    other[:, 8:] += 1
    rows = (EXAMPLE.scene_index == 9).astype(int)
    answering_questions = readings.make_answering(config)
    one, two = (answering_questions(params, EXAMPLE, seen, rows) for seen in (videos, other))
    changed = (one.choice != two.choice).any(1) | (one.answer != two.answer).any(1)
    np.testing.assert_array_equal(changed, PREDICTIVE)
    # All others see what they see without.
    alone = readings.make_answering(make_config())(params, EXAMPLE, videos[:, :8], rows)
    np.testing.assert_allclose(one.choice[~PREDICTIVE], alone.choice[~PREDICTIVE], atol=1e-5)
    np.testing.assert_allclose(one.answer, alone.answer, atol=1e-5)

    # In training too: the loss of a batch hangs on what follows by its predictive questions.
    batch = next(batches.training_batches(config, EXAMPLE, videos, rows, 0, steps_mesh()))
    losses = jax.jit(lambda batch: steps.compute_losses(config, params, batch, jax.random.key(0))[0])
    for changes in (1.0, 0.0):
        moved = tuple(
            part._replace(
                videos=part.videos.at[:, 8:].add(changes * ~part.is_predictive[:, None, None, None])
            )
            for part in batch
        )
        assert losses(moved) == losses(batch)
    seen = tuple(part._replace(videos=part.videos.at[:, 8:].add(1)) for part in batch)
    assert any(part.is_predictive.any() for part in batch) and losses(seen) != losses(batch)
