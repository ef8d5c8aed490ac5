"""The probe of the dynamics against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from experiments.evaluation.probe import MIN_SAMPLES, Samples, fit_velocity, matched_samples


def make_clips(noise, num_clips=12, per_clip=20, related=True):
    """Clips whose velocities are a linear map of the dynamics, a constant and noise, or else only the latter two."""
    random = np.random.default_rng(0)
    matrix = random.standard_normal((4, 2)) * [1.0, 3.0]
    clips = []
    for _ in range(num_clips):
        dynamics = random.standard_normal((per_clip, 4)).astype(np.float32)
        velocity = dynamics @ matrix if related else np.zeros((per_clip, 2))
        velocity = velocity + [2.0, -1.0] + noise * random.standard_normal((per_clip, 2))
        clips.append(Samples(dynamics, velocity.astype(np.float32)))
    return clips


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        (dict(noise=0.0), 1 - 1e-6, 1),
        (dict(noise=1.0), 0.5, 0.99),
        (dict(noise=0.1, related=False), -0.2, 0.05),
        (dict(noise=1.0, num_clips=13), 0.5, 0.99),  # the middle clip is held out
    ],
)
def test_the_fit_is_scikit_learns(options, low, high):
    clips = make_clips(**options)
    fit = fit_velocity(clips)
    half = len(clips) // 2
    (x, y), (test_x, test_y) = (
        [np.concatenate(columns).astype(float) for columns in zip(*part)]
        for part in (clips[:half], clips[half:])
    )
    predicted = LinearRegression().fit(x, y).predict(test_x)
    expected = r2_score(test_y, predicted, multioutput="raw_values")
    np.testing.assert_allclose([fit.r2_x, fit.r2_y], expected, atol=1e-6)
    assert fit.r2 == pytest.approx(r2_score(test_y, predicted, multioutput="variance_weighted"), abs=1e-6)
    assert low <= fit.r2 <= high
    assert (fit.num_fitted, fit.num_held_out) == (len(x), len(test_x))


def test_too_few_samples_give_no_number():
    enough = make_clips(noise=0.0, num_clips=2, per_clip=MIN_SAMPLES)
    assert fit_velocity(enough).r2 is not None
    for short in (enough[:1], [], make_clips(noise=0.0, num_clips=2, per_clip=MIN_SAMPLES - 1)):
        fit = fit_velocity(short)
        assert fit[:3] == (None, None, None)
    assert (fit.num_fitted, fit.num_held_out) == (MIN_SAMPLES - 1, MIN_SAMPLES - 1)


def test_velocities_that_do_not_vary_give_no_number():
    clips = [clip._replace(velocity=clip.velocity * [1, 0]) for clip in make_clips(noise=1.0)]
    fit = fit_velocity(clips)
    assert fit.r2_y is None and fit.r2_x > 0.5 and fit.r2 == pytest.approx(fit.r2_x)


def test_slots_are_matched_frame_by_frame():
    """Two frames after the first, three slots; objects 0 and 4, and a place that is padding."""
    overlap = np.zeros((3, 6, 6), np.float32)
    overlap[0] = 1.0  # the first frame has no dynamics
    overlap[1, 1, 2] = overlap[2, 1, 0] = 0.6  # object 0 changes from slot 2 to slot 0
    overlap[1, 5, 1] = 0.5  # object 4: too little
    overlap[2, 5, 2] = 0.9
    overlap[:, 0, :] = 1.0  # the background is no object
    dynamics = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    velocity = np.arange(3 * 3 * 2, dtype=np.float32).reshape(3, 3, 2)
    object_id = np.array([0, 4, -1])
    found = matched_samples(overlap, dynamics, object_id, velocity)
    np.testing.assert_array_equal(found.dynamics, [dynamics[0, 2], dynamics[1, 0], dynamics[1, 2]])
    np.testing.assert_array_equal(found.velocity, [velocity[1, 0], velocity[2, 0], velocity[2, 1]])
    velocity[2, 1, 0] = np.nan
    assert len(matched_samples(overlap, dynamics, object_id, velocity).velocity) == 2
