"""Sampling of scenes: which objects there are, where they start, and how they are set in motion."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from data_pipelines.simulator.camera import Camera, look_at
from data_pipelines.simulator.config import HALF_SIZE, SceneConfig
from data_pipelines.simulator.records import SceneObject

GRAVITY = 9.81  # world units per second squared
ROLLING_DECELERATION = 0.34  # of a sphere on clevrer_physics' floor; measured
STEP_BACK = 0.05  # world units
MAX_WAY_BACK = 14.0  # beyond the far edge of the picture
MAX_PLACEMENTS = 200


class Physics(NamedTuple):
    """Constants of one family of scenes; the two texts are attributes of MuJoCo geoms."""

    time_step: float  # seconds
    floor: str
    object: str


class Scene(NamedTuple):
    """Objects, the camera that watches them, and the laws that move them."""

    objects: tuple[SceneObject, ...]
    camera: Camera
    physics: Physics


def clevrer_physics(floor_friction: float) -> Physics:
    """Objects that slide or roll far and bounce: restitutions of 0.56 to 0.70.

    The floor's priority makes its friction rule every contact with it. The objects' direct spring and damper
    (negative solref) give the bounce; MuJoCo's default is almost inelastic. Source: our choice; measured.
    """
    return Physics(
        time_step=0.004,
        floor=f'priority="1" friction="{floor_friction} 0.002 0.018" condim="6" solref="0.008 1" '
        'solimp="0.95 0.99 0.001"',
        object='friction="0.10 0.002 0.0001" condim="3" solref="-30000 -60" solimp="0.99 0.99 0.001"',
    )


def sample_scene(config: SceneConfig, generator: np.random.Generator) -> Scene | None:
    """One draw from the family of scenes, not yet simulated; None where the objects found no room."""
    jitter = config.camera_jitter
    camera = look_at(
        config.camera_target,
        config.camera_distance,
        config.camera_elevation,
        config.camera_field_of_view,
        generator.uniform(-jitter, jitter, 3),
    )
    num_objects = int(generator.choice(config.num_objects, p=config.num_objects_probability))
    kinds = list(itertools.product(config.shapes, config.materials, config.colors))
    chosen = [kinds[i] for i in generator.choice(len(kinds), num_objects, replace=False)]
    sample_starts = _starts_outside if config.start == "outside" else _starts_inside
    starts = sample_starts(config, generator, camera, [shape for shape, _, _ in chosen])
    if starts is None:
        return None
    objects = (
        SceneObject(i, *kind, yaw=float(generator.uniform(0, 2 * math.pi)), **start)
        for i, (kind, start) in enumerate(zip(chosen, starts))
    )
    return Scene(tuple(objects), camera, clevrer_physics(config.floor_friction))


def _starts_outside(config, generator, camera, shapes) -> list[dict] | None:
    """Between 1 and n - 2 objects rest in view; the others come in from outside a 3:2 picture."""
    num_objects = len(shapes)
    resting = _spread(config, generator, camera, int(generator.integers(1, max(2, num_objects - 1))))
    if resting is None:
        return None
    starts = [_start(position) for position in resting]
    last_is_late = generator.random() < config.late_launch_probability
    for i in range(len(resting), num_objects):
        aimed = generator.random() < config.aim_probability
        target = resting[generator.integers(len(resting))] if aimed else _point(generator, config.target_area)
        target = target + generator.normal(0, config.aim_noise, 2)
        heading = _incoming_heading(generator)
        way = _way_out_of_view(camera, target, heading)
        deceleration = ROLLING_DECELERATION if shapes[i] == "sphere" else GRAVITY * config.floor_friction
        speed = math.sqrt(2 * deceleration * way + generator.uniform(*config.speed) ** 2)
        starts.append(
            _start(
                target - heading * way,
                heading * speed,
                _launch_frame(config, generator, last_is_late and i == num_objects - 1),
                float(generator.normal(0, 0.5)),
            )
        )
    return starts


def _starts_inside(config, generator, camera, shapes) -> list[dict] | None:
    """Every object stands in view; the first and some others are pushed, often toward another one."""
    positions = _spread(config, generator, camera, len(shapes))
    if positions is None:
        return None
    starts = []
    for i, position in enumerate(positions):
        if i and generator.random() >= config.moving_probability:
            starts.append(_start(position))
            continue
        others = positions[:i] + positions[i + 1 :]
        if generator.random() < config.aim_probability:
            heading = others[generator.integers(len(others))] - position
            heading = heading / np.linalg.norm(heading)
        else:
            heading = _direction(generator.uniform(0, 360))
        velocity = heading * generator.uniform(*config.speed)
        starts.append(_start(position, velocity, 0, float(generator.normal(0, 0.5))))
    return starts


def _start(position, velocity=(0.0, 0.0), launch_frame=0, spin=0.0) -> dict:
    """The fields of SceneObject that say how it enters, from positions and velocities on the floor."""
    return {
        "launch_frame": launch_frame,
        "position": (float(position[0]), float(position[1]), HALF_SIZE),
        "velocity": (float(velocity[0]), float(velocity[1]), 0.0),
        "spin": spin,
    }


def _point(generator, area) -> np.ndarray:
    low, high = np.transpose(area)
    return generator.uniform(low, high)


def _direction(degrees: float) -> np.ndarray:
    """0 degrees is to the right in the picture (y), 90 degrees toward the camera (x)."""
    return np.array([math.sin(math.radians(degrees)), math.cos(math.radians(degrees))])


def _spread(config, generator, camera, count) -> list[np.ndarray] | None:
    """Positions f64[2] in the resting area and in view, a minimum spacing apart."""
    positions: list[np.ndarray] = []
    for _ in range(MAX_PLACEMENTS):
        if len(positions) == count:
            return positions
        position = _point(generator, config.resting_area)
        centre = np.array([*position, HALF_SIZE])
        visible = camera.in_view(centre, -0.7 * HALF_SIZE, config.accepted_aspect_ratio)
        if visible and all(np.linalg.norm(position - other) > config.minimum_spacing for other in positions):
            positions.append(position)
    return positions if len(positions) == count else None


def _incoming_heading(generator) -> np.ndarray:
    """Mostly from the sides, sometimes from the front or the back."""
    side, spread = ((0, 35), (180, 35), (90, 30), (-90, 30))[generator.choice(4, p=(0.38, 0.38, 0.12, 0.12))]
    return _direction(side + generator.uniform(-spread, spread))


def _way_out_of_view(camera, target, heading) -> float:
    """How far back from the target an object is wholly out of a 3:2 picture."""
    ways = np.cumsum(np.full(round(MAX_WAY_BACK / STEP_BACK), STEP_BACK))
    ways = np.concatenate([[0.0], ways])
    points = np.column_stack([target - ways[:, None] * heading, np.full(len(ways), HALF_SIZE)])
    outside = ~camera.in_view(points, 0.77 * HALF_SIZE)
    return float(ways[outside.argmax() if outside.any() else -1]) + 2 * STEP_BACK


def _launch_frame(config, generator, late: bool) -> int:
    if late:
        return int(generator.integers(*config.late_launch_frames))
    if generator.random() < config.launch_at_start_probability:
        return 0
    return int(generator.integers(*config.launch_frames))
