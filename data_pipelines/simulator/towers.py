"""Towers of blocks that stand or fall when they are let go."""

import math

import numpy as np

from data_pipelines.seeds import check_seed
from data_pipelines.simulator.camera import look_at
from data_pipelines.simulator.config import HALF_SIZE, LARGEST_VIDEO_SEED, TOWERS, TowerConfig
from data_pipelines.simulator.physics import simulate
from data_pipelines.simulator.records import SceneObject, SimulatedTower, Trajectory
from data_pipelines.simulator.scenes import Physics, Scene
from data_pipelines.simulator.videos import film, stored_frames

FALL = 0.1  # world units: a tower fell if some block sank by more

# Source: our choice; MuJoCo's usual contacts, which let a standing tower drift by some millimetres.
TOWER_PHYSICS = Physics(
    time_step=0.002,
    floor='friction="0.6 0.005 0.0001"',
    object='friction="0.6 0.005 0.0001" solref="0.012 1" solimp="0.95 0.99 0.001"',
)


def simulate_tower(
    seed: int,
    *,
    height: int,
    width: int,
    stride: int = 1,
    num_frames: int | None = None,
    supersampling: int = 3,
    config: TowerConfig = TOWERS,
) -> SimulatedTower:
    """Simulates the tower of a seed and draws source frames 0, stride, 2 * stride, ...

    Args:
        num_frames: stored frames; None for all that the source frames hold at this stride.

    Raises:
        ValueError: sizes are not positive, or more frames are asked for than there are.
    """
    frames = stored_frames(config.num_frames, stride, num_frames)
    scene, trajectory, fell = generate_tower(config, seed)
    fields = film(
        scene, trajectory, frames, height=height, width=width, supersampling=supersampling
    )._asdict()
    del fields["collisions"]  # the blocks touch from the start
    return SimulatedTower(**fields, fell=fell)


def generate_tower(config: TowerConfig, seed: int) -> tuple[Scene, Trajectory, bool]:
    """The tower of a seed, its motion, and whether it falls.

    Raises:
        ValueError: no draw was accepted within `config.max_tries`, or the seed is out of range.
    """
    check_seed("seed", seed, LARGEST_VIDEO_SEED)
    # Drawn once per seed, not per try: else towers that fall, the rarer kind, would be rejected away.
    wants_fall = np.random.default_rng([seed, config.max_tries]).random() < config.fall_probability
    for attempt in range(config.max_tries):
        scene = sample_tower(config, np.random.default_rng([seed, attempt]))
        trajectory = simulate(scene, config.num_frames)
        location = trajectory.location
        fell = bool((np.abs(location[-1, :, 2] - location[0, :, 2]) > FALL).any())
        if fell == wants_fall and np.abs(location[..., :2]).max() < config.floor_radius:
            return scene, trajectory, fell
    raise ValueError(
        f"no acceptable tower in {config.max_tries} tries for seed {seed}: relax the tower config"
    )


def sample_tower(config: TowerConfig, generator: np.random.Generator) -> Scene:
    """One draw from the family of towers, not yet simulated."""
    num_blocks = int(generator.choice(config.num_blocks))
    colors = generator.choice(config.colors, num_blocks, replace=False)
    tower_yaw = generator.uniform(0, 2 * math.pi)
    reach = generator.uniform(*config.largest_offset) * HALF_SIZE * np.array(config.offset_scale)
    offsets = generator.uniform(-reach, reach, (num_blocks, 2))
    offsets[0] = 0
    blocks = [
        SceneObject(
            object_id=i,
            shape="cube",
            material="rubber",
            color=str(color),
            yaw=float(tower_yaw + generator.uniform(-config.yaw_spread, config.yaw_spread)),
            launch_frame=0,
            position=(float(x), float(y), HALF_SIZE * (2 * i + 1)),
            velocity=(0.0, 0.0, 0.0),
            spin=0.0,
        )
        for i, (color, (x, y)) in enumerate(zip(colors, offsets.cumsum(axis=0)))
    ]
    camera = look_at(
        config.camera_target,
        config.camera_distance,
        config.camera_elevation,
        config.camera_field_of_view,
        generator.uniform(-config.camera_jitter, config.camera_jitter, 3),
    )
    return Scene(tuple(blocks), camera, TOWER_PHYSICS)
