"""Masks against an analytic ray caster, and pictures against what light must do."""

import itertools

import numpy as np
import pytest

from data_pipelines.simulator import CLEVRER, QUICKSTART, TOWERS, SceneObject, generate_scene, generate_tower
from data_pipelines.simulator.camera import look_at
from data_pipelines.simulator.config import HALF_SIZE
from data_pipelines.simulator.physics import rotation_matrices
from data_pipelines.simulator.renderer import Renderer
from data_pipelines.simulator.scenes import Scene, clevrer_physics


def analytic_distance(shape, origin, directions):
    """Where rays f64[p 3] first meet a body around the origin of its own frame; inf where they do not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slab = np.sort([(-HALF_SIZE - origin) / directions, (HALF_SIZE - origin) / directions], axis=0)
        axes = {"sphere": [], "cylinder": [2], "cube": [0, 1, 2]}[shape]
        round_axes = {"sphere": [0, 1, 2], "cylinder": [0, 1], "cube": []}[shape]
        enter = np.max(slab[0][:, axes], axis=1, initial=-np.inf)
        leave = np.min(slab[1][:, axes], axis=1, initial=np.inf)
        if round_axes:
            a = (directions[:, round_axes] ** 2).sum(1)
            b = directions[:, round_axes] @ origin[round_axes]
            c = origin[round_axes] @ origin[round_axes] - HALF_SIZE**2
            root = np.sqrt(b * b - a * c)  # NaN: the ray misses
            enter, leave = np.fmax(enter, (-b - root) / a), np.fmin(leave, (-b + root) / a)
            leave[np.isnan(root)] = -np.inf
    return np.where((leave > enter) & (enter > 0), enter, np.inf)


def analytic_mask(scene, location, orientation, launched, height, width, supersampling):
    """Nearest object of every cell, then the commonest of every pixel."""
    rays = scene.camera.rays(height, width, supersampling).reshape(-1, 3)
    floor = np.where(rays[:, 2] < 0, -scene.camera.position[2] / np.minimum(rays[:, 2], -1e-9), np.inf)
    distances = [floor]
    for thing, centre, matrix, there in zip(
        scene.objects, location, rotation_matrices(orientation), launched
    ):
        distance = analytic_distance(thing.shape, (scene.camera.position - centre) @ matrix, rays @ matrix)
        distances.append(distance if there else np.full(len(rays), np.inf))
    labels = np.argmin(distances, axis=0).reshape(height * width, -1)
    votes = (labels[..., None] == np.arange(len(distances))).sum(1)
    return votes.argmax(1).reshape(height, width)


@pytest.mark.parametrize("height, width, supersampling", [(64, 64, 3), (80, 120, 2)])
def test_masks_equal_the_analytic_ones(height, width, supersampling):
    shapes = set()
    for scene, trajectory in (
        generate_scene(CLEVRER, 1),
        generate_scene(QUICKSTART, 2),
        generate_tower(TOWERS, 11)[:2],
    ):
        shapes |= {thing.shape for thing in scene.objects}
        renderer = Renderer(scene, height=height, width=width, supersampling=supersampling)
        for frame in (0, 36, 60)[: 2 if len(trajectory.location) < 60 else 3]:
            pose = trajectory.location[frame], trajectory.orientation[frame], trajectory.launched[frame]
            _, mask = renderer.draw(*pose)
            expected = analytic_mask(scene, *pose, height, width, supersampling)
            assert len(np.unique(expected)) > 1
            assert (mask == expected).all()
    assert shapes == {"cube", "sphere", "cylinder"}


def lone_object(shape, material, color, x=0.0, y=0.0):
    camera = look_at((0, 0, 0.1), distance=3, elevation=30, field_of_view=49.1, shift=np.zeros(3))
    thing = SceneObject(0, shape, material, color, 0.0, 0, (x, y, HALF_SIZE), (0.0, 0.0, 0.0), 0.0)
    return Scene((thing,), camera, clevrer_physics(0.07))


def drawn(scene, present=True, **options):
    renderer = Renderer(scene, height=48, width=48, supersampling=3, **options)
    location = np.array([thing.position for thing in scene.objects])
    orientation = np.tile([1.0, 0, 0, 0], (len(scene.objects), 1))
    return renderer.draw(location, orientation, np.full(len(scene.objects), present))


def test_absent_objects_leave_the_empty_floor():
    scene = lone_object("cube", "rubber", "red")
    picture, mask = drawn(scene, present=False)
    assert not mask.any()
    assert np.ptp(picture, axis=-1).max() == 0 and picture.min() > 60  # grey


@pytest.mark.parametrize("shape", ["cube", "sphere", "cylinder"])
@pytest.mark.parametrize("material", ["rubber", "metal"])
def test_colours_and_shadow(shape, material):
    empty, _ = drawn(lone_object(shape, material, "red"), present=False)
    picture, mask = drawn(lone_object(shape, material, "red"))
    red, green, blue = picture[mask == 1].mean(0)
    assert red > 1.6 * green and red > 1.6 * blue
    change = picture.astype(int) - empty
    row, column = np.nonzero(mask)
    edge = np.zeros(mask.shape, bool)
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        edge |= np.roll(mask, (down, right), (0, 1)) == 1
    shadow = change[..., 0] * ~edge
    # Around the object light is only taken away, most by the key light, which shines from the right.
    assert shadow.max() <= 0 and shadow.min() < -25
    left, right = shadow[:, : int(column.mean())].sum(), shadow[:, int(column.mean()) :].sum()
    assert left < right < 0
    far = (np.abs(np.arange(48) - row.mean()) > 22)[:, None] & np.ones(48, bool)
    assert (change[far] == 0).all()


def test_metal_has_highlights_and_rubber_has_not():
    metal, mask = drawn(lone_object("sphere", "metal", "blue"))
    rubber, _ = drawn(lone_object("sphere", "rubber", "blue"))
    assert metal[mask == 1].min(-1).max() > 200  # a white spot
    assert rubber[mask == 1].min(-1).max() < 150


def test_redrawing_only_what_may_change_is_exact(monkeypatch):
    scene, trajectory = generate_scene(QUICKSTART, 2)
    pose = trajectory.location[9], trajectory.orientation[9], trajectory.launched[9]
    renderer = Renderer(scene, height=40, width=60, supersampling=2)
    picture, mask = renderer.draw(*pose)
    reach = renderer._reach(*pose[:2])
    assert not reach.any(0).all() and not reach[1].all()
    monkeypatch.setattr(Renderer, "_reach", lambda self, *_: np.ones((4, 40 * 60), bool))
    everything, same_mask = renderer.draw(*pose)
    assert (mask == same_mask).all()
    # The occlusion zone ends where its darkening is a few levels, not where it is nothing.
    assert np.abs(picture.astype(int) - everything).max() <= 4


def test_the_square_picture_shows_the_middle_of_the_wide_one():
    scene, trajectory = generate_scene(CLEVRER, 1)
    pose = trajectory.location[60], trajectory.orientation[60], trajectory.launched[60]
    square, _ = Renderer(scene, height=64, width=64, supersampling=3).draw(*pose)
    wide, _ = Renderer(scene, height=320, width=480, supersampling=1).draw(*pose)
    small = wide[:, 80:400].reshape(64, 5, 64, 5, 3).mean((1, 3))
    assert np.abs(small - square).mean() < 1.0
