"""Masks against an analytic ray caster, and pictures against another renderer and what light must do."""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.simulator import (
    CLEVRER,
    QUICKSTART,
    TOWERS,
    SceneObject,
    generate_scene,
    generate_tower,
    shading,
)
from data_pipelines.simulator.camera import Camera, look_at
from data_pipelines.simulator.config import HALF_SIZE, SIMULATOR_VERSION
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


def with_neighbours(pixels):
    """Marks bool[h w] and everything beside them."""
    moves = itertools.product((-1, 0, 1), repeat=2)
    return np.any([np.roll(pixels, move, (0, 1)) for move in moves], axis=0)


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
    shadow = change[..., 0] * ~with_neighbours(mask == 1)
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


def tone(radiance):
    """Levels f64[...] of linear light: a soft shoulder, then sRGB."""
    bright = np.clip(1.25 * radiance * (1 + radiance / 4) / (1 + radiance), 0, 1)
    curve = 1.055 * np.maximum(bright, 1e-6) ** (1 / 2.4) - 0.055
    return 255 * np.where(bright <= 0.0031308, 12.92 * bright, curve)


def floor_levels(scene, location, orientation, launched, height, width, supersampling):
    """The grey f64[h w] of the floor, also behind objects; every cell has rays of its own to the lights."""
    eye, cells = scene.camera.position, supersampling**2
    directions = scene.camera.rays(height, width, supersampling).reshape(-1, cells, 3)
    points = eye - directions * (eye[2] / directions[..., 2:])
    radiance = np.full(points.shape[:2], 0.3)
    bodies = list(zip(scene.objects, location, rotation_matrices(orientation), launched))
    for _, centre, _, there in bodies:
        offset = centre - points
        squared = (offset**2).sum(-1)
        radiance *= 1 - there * 0.9 * np.minimum(offset[..., 2] * HALF_SIZE**2 / squared**1.5, 1)
    for light, (*position, intensity, _) in enumerate(shading.LIGHTS):
        offset = np.array(position) - points
        irradiance = intensity * offset[..., 2] / (offset**2).sum(-1) ** 1.5
        for cell, lamp in enumerate(shading.light_points(light, cells) if light < 2 else ()):
            for thing, centre, matrix, there in bodies:
                rays = (points[:, cell] - lamp) @ matrix
                distance = analytic_distance(thing.shape, (lamp - centre) @ matrix, rays)
                irradiance[:, cell] *= ~(there & (distance < 0.994))
        radiance += irradiance
    return tone(0.33 * radiance.mean(1)).reshape(height, width)


@pytest.mark.parametrize("config, seed", [(CLEVRER, 1), (QUICKSTART, 2)])
def test_floor_is_lit_as_by_rays_for_every_pixel(config, seed):
    """So the pixels that are left as they are, and the rays that are not cast, would have shown nothing."""
    scene, trajectory = generate_scene(config, seed)
    pose = trajectory.location[30], trajectory.orientation[30], trajectory.launched[30]
    picture, mask = Renderer(scene, height=64, width=96, supersampling=3).draw(*pose)
    expected = floor_levels(scene, *pose, 64, 96, 3)
    floor = ~with_neighbours(mask > 0)
    error = np.abs(picture[..., 0] - expected)[floor]
    assert floor.mean() > 0.6 and np.ptp(expected) > 60
    # The zone of contact darkening ends where it is a few levels, not where it is nothing.
    assert error.max() < 5 and error.mean() < 0.6


def golden_scenes():
    """Scenes with one pose each; the pictures and masks that MuJoCo's rays and NumPy's shading gave of them."""
    golden = np.load(Path(__file__).parents[1] / "golden" / "simulated_pictures.npz")
    poses = golden["location"], golden["orientation"], golden["present"]
    for i, kinds in enumerate(json.loads(str(golden["kinds"]))):
        objects = tuple(
            SceneObject(k, *kind, 0.0, 0, (0.0,) * 3, (0.0,) * 3, 0.0) for k, kind in enumerate(kinds)
        )
        camera = Camera(*golden["camera"][i], float(golden["focal_length"][i]))
        pose = [array[i, : len(kinds)] for array in poses]
        yield (
            Scene(objects, camera, clevrer_physics(0.07)),
            pose,
            golden["former_pictures"][i],
            golden["masks"][i],
        )


def test_pictures_are_those_of_mujocos_rays_and_have_not_changed():
    digest = hashlib.sha256()
    for scene, pose, former, masks in golden_scenes():
        picture, mask = Renderer(scene, height=32, width=48, supersampling=3).draw(*pose)
        difference = np.abs(picture.astype(int) - former)
        assert difference.mean() < 0.1 and difference.max() <= 12
        assert (mask == masks).all()
        digest.update(picture.tobytes())
    # The bits too are the same on every machine that computes as IEEE 754 says. Another digest is another version of
    # the simulator.
    assert SIMULATOR_VERSION == "2.0.0"
    assert digest.hexdigest() == "6ef3eafb1c84b0f983c9d6e70227a07f10175b784a436e0e90a5ce8b26f254f1"


def test_the_square_picture_shows_the_middle_of_the_wide_one():
    scene, trajectory = generate_scene(CLEVRER, 1)
    pose = trajectory.location[60], trajectory.orientation[60], trajectory.launched[60]
    square, _ = Renderer(scene, height=64, width=64, supersampling=3).draw(*pose)
    wide, _ = Renderer(scene, height=320, width=480, supersampling=1).draw(*pose)
    small = wide[:, 80:400].reshape(64, 5, 64, 5, 3).mean((1, 3))
    assert np.abs(small - square).mean() < 1.0
