"""From a seed to a scene worth keeping, its motion, and its pictures with their truth."""

import numpy as np

from data_pipelines.seeds import check_seed
from data_pipelines.simulator.config import FRAMES_PER_SECOND, HALF_SIZE, LARGEST_VIDEO_SEED, SceneConfig
from data_pipelines.simulator.physics import VIEW_MARGIN, Simulation
from data_pipelines.simulator.records import Collision, SimulatedStates, SimulatedVideo, Trajectory
from data_pipelines.simulator.renderer import Renderer
from data_pipelines.simulator.scenes import Scene, sample_scene

MAX_HEIGHT_ERROR = 0.05  # world units: beyond it something toppled or jumped


def generate_scene(config: SceneConfig, seed: int) -> tuple[Scene, Trajectory]:
    """The scene of a seed and its motion over all source frames, the unseen ones included.

    Raises:
        ValueError: no draw was accepted within `config.max_tries`, or the seed is out of range.
    """
    check_seed("seed", seed, LARGEST_VIDEO_SEED)
    probability = config.unseen_collision_probability
    # Drawn once per seed, not per try: else the rarer kind of scene would be rejected away.
    wants_unseen = None if probability is None else _generator(seed, config.max_tries).random() < probability
    for attempt in range(config.max_tries):
        scene = sample_scene(config, _generator(seed, attempt))
        if scene is None:
            continue
        simulation = Simulation(scene)
        # Most draws fail by what is seen, and need no unseen frames.
        if not _accepted(config, scene, simulation.run(config.num_frames), None):
            continue
        trajectory = simulation.run(config.num_frames + config.num_unseen_frames)
        if _accepted(config, scene, trajectory, wants_unseen):
            return scene, trajectory
    raise ValueError(
        f"no acceptable scene in {config.max_tries} tries for seed {seed}: relax the scene config"
    )


def simulate_video(
    config: SceneConfig,
    seed: int,
    *,
    height: int,
    width: int,
    stride: int = 1,
    num_frames: int | None = None,
    supersampling: int = 3,
) -> SimulatedVideo:
    """Simulates the scene of a seed and draws source frames 0, stride, 2 * stride, ...

    The picture's height fixes the scale: 64 x 64 is the central square of CLEVRER's 480 x 320, and 96 x 64
    (width x height) all of it.

    Args:
        num_frames: stored frames; None for all that the visible source frames hold at this stride.
        supersampling: each pixel averages supersampling**2 rays.

    Raises:
        ValueError: sizes are not positive, or more frames are asked for than the scene has.
    """
    frames = stored_frames(config.num_frames, stride, num_frames)
    scene, trajectory = generate_scene(config, seed)
    return film(scene, trajectory, frames, height=height, width=width, supersampling=supersampling)


def simulate_states(
    config: SceneConfig, seed: int, *, stride: int = 1, num_frames: int | None = None
) -> SimulatedStates:
    """What is true of the frames that `simulate_video` draws, without drawing them.

    Raises:
        ValueError: as `simulate_video`.
    """
    frames = stored_frames(config.num_frames, stride, num_frames)
    scene, trajectory = generate_scene(config, seed)
    return SimulatedStates(
        objects=scene.objects,
        location=trajectory.location[frames].astype(np.float32),
        velocity=trajectory.velocity[frames].astype(np.float32),
        inside_camera_view=trajectory.inside_camera_view[frames],
        collisions=stored_collisions(trajectory, stride, len(frames)),
    )


def film(
    scene: Scene, trajectory: Trajectory, frames: np.ndarray, *, height: int, width: int, supersampling: int
) -> SimulatedVideo:
    """Draws evenly spaced source frames i64[t], the first of them 0, and gathers their truth."""
    video, segmentation = render(
        scene, trajectory, frames, height=height, width=width, supersampling=supersampling
    )
    location, velocity = trajectory.location[frames], trajectory.velocity[frames]
    stride = int(frames[1]) if len(frames) > 1 else 1
    camera = scene.camera
    image_velocity = camera.project_velocity(location, velocity, height) * stride / FRAMES_PER_SECOND
    return SimulatedVideo(
        video=video,
        segmentation=segmentation,
        objects=scene.objects,
        location=location.astype(np.float32),
        velocity=velocity.astype(np.float32),
        inside_camera_view=trajectory.launched[frames]
        & camera.in_view(location, VIEW_MARGIN, width / height),
        image_position=camera.project(location, height, width)[0].astype(np.float32),
        image_velocity=image_velocity.astype(np.float32),
        collisions=stored_collisions(trajectory, stride, len(frames)),
    )


def stored_frames(num_source_frames: int, stride: int, num_frames: int | None) -> np.ndarray:
    """The source frames i64[t] that are drawn.

    Raises:
        ValueError: the source frames do not hold that many.
    """
    if stride < 1 or (num_frames is not None and num_frames < 1):
        raise ValueError(f"stride and num_frames must be at least 1: {stride}, {num_frames}")
    available = np.array(range(0, num_source_frames, stride))  # of any size, which NumPy's ranges do not take
    if num_frames is not None and num_frames > len(available):
        raise ValueError(
            f"{num_frames} frames at stride {stride} need {(num_frames - 1) * stride + 1} source frames; "
            f"the scene has {num_source_frames}"
        )
    return available[:num_frames]


def render(
    scene: Scene, trajectory: Trajectory, frames: np.ndarray, *, height: int, width: int, supersampling: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws source frames i64[t]: pictures u8[t h w 3] and masks u8[t h w].

    Raises:
        ValueError: sizes are not positive.
    """
    if min(height, width, supersampling) < 1:
        raise ValueError(
            f"height, width and supersampling must be positive: {height}, {width}, {supersampling}"
        )
    # At least 8 points on the key light, or its soft shadow shows bands.
    shadow_rays = (-(-8 // supersampling**2), 1)
    renderer = Renderer(
        scene, height=height, width=width, supersampling=supersampling, shadow_rays=shadow_rays
    )
    drawn = [
        renderer.draw(trajectory.location[t], trajectory.orientation[t], trajectory.launched[t])
        for t in frames
    ]
    return np.stack([picture for picture, _ in drawn]), np.stack([mask for _, mask in drawn])


def visible_collisions(trajectory: Trajectory, num_frames: int) -> tuple[Collision, ...]:
    """The collisions before source frame `num_frames` with both objects in the camera's 3:2 view."""
    return _collisions_in(trajectory.collisions, trajectory.inside_camera_view, 0, num_frames)


def stored_collisions(trajectory: Trajectory, stride: int, num_frames: int) -> tuple[Collision, ...]:
    """The visible collisions, their frame_id counting stored frames: the first one at or after the touch."""
    last = (num_frames - 1) * stride
    return tuple(
        collision._replace(frame_id=-(-collision.frame_id // stride))
        for collision in visible_collisions(trajectory, last + 1)
    )


def _generator(seed: int, attempt: int) -> np.random.Generator:
    return np.random.default_rng([seed, attempt])


def _accepted(config: SceneConfig, scene: Scene, trajectory: Trajectory, wants_unseen: bool | None) -> bool:
    if np.abs(trajectory.location[..., 2] - HALF_SIZE).max() > MAX_HEIGHT_ERROR:
        return False
    margin = config.accepted_margin * HALF_SIZE
    in_view = trajectory.launched & scene.camera.in_view(
        trajectory.location, margin, config.accepted_aspect_ratio
    )
    start, stop = 0, config.num_frames
    if config.all_in_view_frames:
        together = in_view[: config.num_frames].all(axis=1)
        start = int(together.argmax())
        stop = start + config.all_in_view_frames
        if stop > len(together) or not together[start:stop].all():
            return False
    collisions = _collisions_in(trajectory.collisions, in_view, start, stop)
    pairs = {collision.object_ids for collision in collisions}
    fewest, most = config.num_collisions
    return (
        bool(in_view[: config.num_frames].any(axis=0).all())
        and fewest <= len(collisions) <= most
        and (len(pairs) == len(collisions) or not config.distinct_collision_pairs)
        and wants_unseen
        in (None, _has_unseen_collision(trajectory.collisions, in_view, config.num_frames, pairs))
    )


def _has_unseen_collision(collisions, in_view, num_frames, seen_pairs) -> bool:
    """Whether two objects in the last visible frame that have not met will meet in view."""
    return any(
        in_view[num_frames - 1, list(collision.object_ids)].all() and collision.object_ids not in seen_pairs
        for collision in _collisions_in(collisions, in_view, num_frames, len(in_view))
    )


def _collisions_in(collisions, in_view, start, stop) -> tuple[Collision, ...]:
    return tuple(
        collision
        for collision in collisions
        if start <= collision.frame_id < stop
        and in_view[collision.frame_id, list(collision.object_ids)].all()
    )
