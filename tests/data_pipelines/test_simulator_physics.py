"""Objects collide, slide and rest as they should, and removing a bystander changes nothing."""

import itertools

import numpy as np
import pytest

from data_pipelines.simulator import CLEVRER, QUICKSTART, SceneObject, generate_scene
from data_pipelines.simulator.camera import look_at
from data_pipelines.simulator.config import FRAMES_PER_SECOND, HALF_SIZE, SHAPES
from data_pipelines.simulator.physics import Simulation, rotation_matrices, simulate
from data_pipelines.simulator.scenes import ROLLING_DECELERATION, Scene, clevrer_physics

CAMERA = look_at((0, 0, 0.1), distance=4.7, elevation=27, field_of_view=49.1, shift=np.zeros(3))


def thing(object_id, shape, y, speed=0.0, launch_frame=0, x=0.0, yaw=0.0):
    return SceneObject(
        object_id, shape, "rubber", "red", yaw, launch_frame, (x, y, HALF_SIZE), (0.0, speed, 0.0), spin=0.0
    )


def scene_of(*things):
    return Scene(things, CAMERA, clevrer_physics(0.07))


@pytest.mark.parametrize("shapes", list(itertools.product(SHAPES, SHAPES)), ids="-".join)
def test_head_on_collisions(shapes):
    restitutions = []
    for speed in (1.3, 1.5, 1.7, 1.9):
        scene = scene_of(thing(0, shapes[0], y=-0.8, speed=speed), thing(1, shapes[1], y=0.0))
        trajectory = simulate(scene, 30)
        collision = trajectory.collisions[0]
        assert collision.object_ids == (0, 1)
        assert collision.location == pytest.approx((0, -HALF_SIZE, HALF_SIZE), abs=0.05)
        before, after = collision.frame_id - 1, collision.frame_id + 1
        along = trajectory.velocity[..., 1]
        restitutions.append((along[after, 1] - along[after, 0]) / (along[before, 0] - along[before, 1]))
        assert 0.88 < along[after].sum() / along[before].sum() < 1.001  # the floor takes a little
        assert np.abs(trajectory.location[..., 2] - HALF_SIZE).max() < 0.005
    assert 0.5 < np.mean(restitutions) < 0.75


def test_sliding_stops_and_stays():
    trajectory = simulate(scene_of(thing(0, "cube", 0, speed=1.0), thing(1, "cylinder", 2, speed=1.0)), 60)
    rate = (trajectory.velocity[30, :, 1] - trajectory.velocity[0, :, 1]) * FRAMES_PER_SECOND / 30
    assert np.allclose(rate, -0.07 * 9.81, rtol=0.05)  # Coulomb friction
    assert np.linalg.norm(trajectory.velocity[-1], axis=-1).max() < 1e-4
    assert np.allclose(trajectory.location[-1, :, 1] - [0, 2], 1 / (2 * 0.07 * 9.81), rtol=0.05)


def test_spheres_start_rolling_and_go_farther():
    trajectory = simulate(
        scene_of(thing(0, "sphere", 0, speed=1.0, yaw=2.0), thing(1, "cube", 3, speed=1.0)), 50
    )
    # In world axes, whatever the yaw; rolling toward +y turns about -x.
    assert np.allclose(trajectory.angular_velocity[0, 0], [-1 / HALF_SIZE, 0, 0])
    assert trajectory.angular_velocity[1:, 0, 0].max() < 0
    assert np.abs(trajectory.angular_velocity[:, 0, 1:]).max() < 0.1
    rolled, slid = trajectory.location[-1, :, 1] - trajectory.location[0, :, 1]
    assert 1.3 * slid < rolled < 1 / (2 * ROLLING_DECELERATION)


def test_velocity_is_the_derivative_of_location():
    _, trajectory = generate_scene(QUICKSTART, 0)
    calm = np.ones(len(trajectory.location) - 2, bool)
    for collision in trajectory.collisions:
        calm[max(collision.frame_id - 3, 0) : collision.frame_id + 4] = False
    difference = (trajectory.location[2:] - trajectory.location[:-2]) * FRAMES_PER_SECOND / 2
    assert calm.sum() > 10
    assert np.abs(difference - trajectory.velocity[1:-1])[calm].max() < 0.06


def test_launch():
    trajectory = simulate(scene_of(thing(0, "cube", 0), thing(1, "cube", -1, speed=1.0, launch_frame=5)), 8)
    assert trajectory.launched[:, 1].tolist() == [False] * 5 + [True] * 3
    assert not trajectory.inside_camera_view[:5, 1].any() and trajectory.inside_camera_view[5:].all()
    assert np.allclose(trajectory.location[:6, 1], [0, -1, HALF_SIZE])
    assert np.all(trajectory.velocity[:5, 1] == 0) and trajectory.velocity[5, 1, 1] == 1.0


def test_touching_again_soon_is_one_collision():
    # Pressed against each other, they touch in many frames.
    pair = scene_of(thing(0, "cube", 0, speed=1.0), thing(1, "cube", 0.41))
    assert len(simulate(pair, 20).collisions) == 1


def test_removing_a_bystander_leaves_the_others_bit_identical():
    compared = 0
    for seed in range(11):
        scene, trajectory = generate_scene(CLEVRER, seed)
        touched = {i for collision in trajectory.collisions for i in collision.object_ids}
        bystanders = [i for i in range(len(scene.objects)) if i not in touched]
        for bystander in bystanders:
            others = [i for i in range(len(scene.objects)) if i != bystander]
            without = simulate(scene, 180, drop=bystander)
            for field in ("location", "orientation", "velocity", "angular_velocity"):
                before, after = getattr(trajectory, field), getattr(without, field)
                assert (before[:, others] == after[:, others]).all()
            assert without.collisions == trajectory.collisions
            assert not without.launched[:, bystander].any()
            compared += 1
    assert compared >= 3


def test_removing_a_participant_changes_the_collisions():
    scene, trajectory = generate_scene(CLEVRER, 0)
    first = trajectory.collisions[0]
    without = simulate(scene, 180, drop=first.object_ids[0])
    assert all(first.object_ids[0] not in collision.object_ids for collision in without.collisions)


def test_rotation_matrices():
    quaternions = np.random.default_rng(0).normal(size=(5, 4))
    quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
    from scipy.spatial.transform import Rotation

    expected = Rotation.from_quat(quaternions, scalar_first=True).as_matrix()
    assert np.allclose(rotation_matrices(quaternions), expected)


def run_changed(scene, frame, num_frames, change):
    """The trajectory of a scene that `change(simulation)` changes at a frame."""
    simulation = Simulation(scene)
    simulation.run(frame + 1)
    change(simulation)
    return simulation.run(num_frames)


def assert_same_bits(first, second, objects=slice(None), frames=slice(None)):
    for name in ("location", "orientation", "velocity", "angular_velocity"):
        ours, theirs = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(ours[frames, objects], theirs[frames, objects], name)


def test_a_simulation_that_goes_on_unchanged_is_the_same():
    scene, trajectory = generate_scene(QUICKSTART, 3)
    again = run_changed(scene, 10, len(trajectory.location), lambda simulation: None)
    assert_same_bits(again, trajectory)
    assert again.collisions == trajectory.collisions


def test_an_object_removed_before_it_meets_another_was_never_there_for_it():
    scene = scene_of(thing(0, "cube", y=-0.8, speed=1.5), thing(1, "sphere", y=0.0))
    changed = run_changed(scene, 2, 40, lambda simulation: simulation.remove(0))
    assert_same_bits(changed, simulate(scene, 40, drop=0), objects=1)
    assert_same_bits(changed, simulate(scene, 40), frames=slice(2))
    assert changed.launched[:2, 0].all() and not changed.launched[2:, 0].any()
    assert changed.launched[:, 1].all() and not changed.collisions


def test_objects_that_are_let_pass_move_as_if_alone():
    scene = scene_of(thing(0, "cube", y=-0.8, speed=1.5), thing(1, "sphere", y=0.0, launch_frame=5))
    changed = run_changed(scene, 1, 40, lambda simulation: simulation.let_pass())
    assert simulate(scene, 40).collisions and not changed.collisions
    assert_same_bits(changed, simulate(scene, 40, drop=1), objects=0)
    assert_same_bits(changed, simulate(scene, 40, drop=0), objects=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_push_at_the_start_is_another_start(shape):
    """A sphere's rolling included: the scene that starts with the sum of both velocities."""
    slow = scene_of(thing(0, shape, y=-0.8, speed=0.5, yaw=0.4))
    fast = scene_of(thing(0, shape, y=-0.8, speed=1.5, yaw=0.4))
    changed = run_changed(slow, 0, 20, lambda simulation: simulation.push(0, np.array([0.0, 1.0])))
    for name in ("location", "velocity", "angular_velocity"):
        np.testing.assert_allclose(getattr(changed, name), getattr(simulate(fast, 20), name), atol=1e-6)


def test_a_shifted_object_goes_on_beside():
    scene = scene_of(thing(0, "cube", y=-0.8, speed=1.0))
    changed = run_changed(scene, 4, 20, lambda simulation: simulation.shift(0, np.array([0.3, -0.1])))
    plain = simulate(scene, 20)
    assert_same_bits(changed, plain, frames=slice(4))
    np.testing.assert_allclose(
        changed.location[4:, 0, :2] - plain.location[4:, 0, :2], [[0.3, -0.1]] * 16, atol=1e-3
    )
