"""Towers stand or fall as labelled."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.simulator import TOWERS, generate_tower, simulate_tower
from data_pipelines.simulator.config import HALF_SIZE


def test_towers_stand_or_fall_as_labelled():
    labels, counts = [], set()
    for seed in range(10):
        scene, trajectory, fell = generate_tower(TOWERS, seed)
        labels.append(fell)
        counts.add(len(scene.objects))
        start = HALF_SIZE * (2 * np.arange(len(scene.objects)) + 1)
        assert np.allclose(trajectory.location[0, :, 2], start)
        assert len({thing.color for thing in scene.objects}) == len(scene.objects)
        assert np.abs(trajectory.location[..., :2]).max() < TOWERS.floor_radius
        moved = np.linalg.norm(trajectory.location[-1] - trajectory.location[0], axis=-1)
        if fell:
            assert trajectory.location[-1, :, 2].min() > 0.9 * HALF_SIZE  # on the floor, not in it
            assert moved.max() > HALF_SIZE
        else:
            assert moved.max() < 0.02
    assert counts == {2, 3, 4} and 3 <= sum(labels) <= 7


def test_the_coin_decides():
    certain = dataclasses.replace(TOWERS, fall_probability=1.0)
    never = dataclasses.replace(TOWERS, fall_probability=0.0)
    assert all(generate_tower(certain, seed)[2] for seed in range(2))
    assert not any(generate_tower(never, seed)[2] for seed in range(2))


def test_pictures_of_a_tower():
    fallen = next(seed for seed in range(10) if generate_tower(TOWERS, seed)[2])
    tower = simulate_tower(fallen, height=64, width=64, stride=9, supersampling=2)
    again = simulate_tower(fallen, height=64, width=64, stride=9, supersampling=2)
    count = len(tower.objects)
    assert tower.fell and tower.video.tobytes() == again.video.tobytes()
    assert tower.video.shape == (8, 64, 64, 3) and tower.location.shape == (8, count, 3)
    assert set(np.unique(tower.segmentation[0])) == set(range(count + 1))
    rows = [np.nonzero(tower.segmentation[0] == i + 1)[0].mean() for i in range(count)]
    assert rows == sorted(rows, reverse=True)  # numbered from the bottom up
    assert tower.inside_camera_view.all()


def test_towers_that_cannot_be():
    with pytest.raises(ValueError, match="no acceptable tower in 2 tries for seed 0"):
        generate_tower(dataclasses.replace(TOWERS, floor_radius=0.0, max_tries=2), 0)
    with pytest.raises(ValueError, match="the scene has 64"):
        simulate_tower(0, height=8, width=8, num_frames=65)
