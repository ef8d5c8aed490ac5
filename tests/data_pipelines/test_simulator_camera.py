"""Projection, image velocity and rays agree with each other and with pictures."""

import numpy as np
import pytest

from data_pipelines.simulator import CLEVRER, QUICKSTART, simulate_video
from data_pipelines.simulator.camera import look_at

CAMERA = look_at(
    (0, 0, 0.1), distance=4.7, elevation=27, field_of_view=49.1, shift=np.array([0.1, -0.1, 0.05])
)


def test_the_target_is_in_the_middle_and_right_is_right():
    straight = look_at((0, 0, 0.1), distance=4.7, elevation=27, field_of_view=49.1, shift=np.zeros(3))
    pixels, depth = straight.project(np.array([[0, 0, 0.1], [0, 0.5, 0.1], [0.5, 0, 0.1]]), 320, 480)
    assert pixels[0] == pytest.approx([240, 160])
    assert depth[0] == pytest.approx(4.7)
    assert pixels[1, 0] > 240 and pixels[1, 1] == pytest.approx(160)  # y is to the right
    assert pixels[2, 1] > 160 and depth[2] < 4.7  # x comes toward the camera


def test_horizontal_field_of_view():
    left, right = CAMERA.rays(320, 480, 1)[160, [0, -1], 0]
    # The outermost pixel centres are half a pixel inside the border.
    assert np.degrees(np.arccos(left @ right)) == pytest.approx(49.1, abs=0.2)


def test_rays_pass_through_the_pixels_they_belong_to():
    rays = CAMERA.rays(4, 6, supersampling=2)
    pixels, _ = CAMERA.project(CAMERA.position + 3 * rays, 4, 6)
    row, column = np.mgrid[:4, :6]
    assert np.allclose(np.linalg.norm(rays, axis=-1), 1)
    assert np.allclose(pixels.mean(axis=2), np.stack([column + 0.5, row + 0.5], axis=-1))
    assert np.allclose(pixels[0, 0, 0], [0.25, 0.25])


def test_the_square_picture_is_the_middle_of_the_wide_one():
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    square, _ = CAMERA.project(points, 64, 64)
    wide, _ = CAMERA.project(points, 320, 480)
    assert np.allclose(square * 5 + [80, 0], wide)


def test_image_velocity_is_the_derivative_of_the_position():
    generator = np.random.default_rng(1)
    points, velocities = generator.uniform(-1, 1, (2, 50, 3))
    step = 1e-5
    ahead, _ = CAMERA.project(points + step * velocities, 64, 64)
    behind, _ = CAMERA.project(points - step * velocities, 64, 64)
    exact = CAMERA.project_velocity(points, velocities, 64)
    assert np.abs(exact).max() > 5
    assert np.allclose(exact, (ahead - behind) / (2 * step), atol=1e-5)


def test_in_view():
    points = CAMERA.position + 4 * CAMERA.rays(320, 480, 1)[160, [0, 100, 479], 0]
    assert CAMERA.in_view(points, 0.0).all()
    assert CAMERA.in_view(points, 0.0, aspect_ratio=1.0).tolist() == [False, True, False]
    assert CAMERA.in_view(points, -0.1).tolist() == [False, True, False]
    assert not CAMERA.in_view(CAMERA.position - CAMERA.forward, 1.0)


def test_positions_match_the_masks_of_spheres():
    compared = 0
    for seed in range(4):
        video = simulate_video(CLEVRER, seed, height=80, width=120, stride=16, supersampling=1)
        for thing in video.objects:
            i = thing.object_id
            for position, mask in zip(video.image_position[:, i], video.segmentation == i + 1):
                row, column = np.nonzero(mask)
                if thing.shape != "sphere" or not len(row):
                    continue
                tall, wide = np.ptp(row) + 1, np.ptp(column) + 1
                inside = row.min() > 0 and row.max() < 79 and column.min() > 0 and column.max() < 119
                if inside and abs(tall - wide) <= 1 and len(row) > 0.74 * tall * wide:  # a whole disk
                    assert [column.mean() + 0.5, row.mean() + 0.5] == pytest.approx(position, abs=0.5)
                    compared += 1
    assert compared >= 10


def test_image_velocity_matches_the_motion_in_a_video():
    fastest = 0.0
    for seed in range(6):
        video = simulate_video(QUICKSTART, seed, height=64, width=64, stride=4, supersampling=1)
        # Over two stored frames around t, unless a collision bends the path, the mean velocity is nearly that at t.
        difference = (video.image_position[2:] - video.image_position[:-2]) / 2
        touched = {c.frame_id for c in video.collisions}
        calm = [t for t in range(1, len(video.video) - 1) if not touched & {t - 1, t, t + 1, t + 2}]
        exact = video.image_velocity[calm]
        fastest = max(fastest, np.abs(exact).max())
        assert np.abs(exact - difference[np.array(calm) - 1]).max() < 0.35
    assert fastest > 3


def test_inside_camera_view_follows_the_picture():
    wide = simulate_video(CLEVRER, 3, height=16, width=24, stride=16, supersampling=1)
    square = simulate_video(CLEVRER, 3, height=16, width=16, stride=16, supersampling=1)
    assert (wide.inside_camera_view | ~square.inside_camera_view).all()
    assert wide.inside_camera_view.sum() > square.inside_camera_view.sum()
    assert [c.frame_id for c in wide.collisions] == [c.frame_id for c in square.collisions]


def test_points_on_a_level_are_those_that_pixels_show():
    points = np.array([[0.3, -0.4, 0.2], [-0.9, 0.8, 0.2], [1.1, 0.0, 0.2]])
    pixels, _ = CAMERA.project(points, 64, 96)
    np.testing.assert_allclose(CAMERA.on_level(pixels, 64, 96, 0.2), points, atol=1e-12)
    with pytest.raises(ValueError, match="at the horizon or above it"):
        CAMERA.on_level(np.array([48.0, -200.0]), 64, 96, 0.2)
