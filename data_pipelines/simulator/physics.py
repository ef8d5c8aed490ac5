"""Rigid-body motion of a scene with MuJoCo."""

import math

import mujoco
import numpy as np

from data_pipelines.simulator.config import FRAMES_PER_SECOND, HALF_SIZE
from data_pipelines.simulator.records import Collision, SceneObject, Trajectory
from data_pipelines.simulator.scenes import GRAVITY, Physics, Scene

VIEW_MARGIN = 0.35 * HALF_SIZE  # an object is in view until its centre is this far outside the picture
QUIET_FRAMES = 10  # two objects that touch again sooner than this are still in the same collision


_GEOMS = {
    "sphere": f'type="sphere" size="{HALF_SIZE}"',
    "cylinder": f'type="cylinder" size="{HALF_SIZE} {HALF_SIZE}"',
    "cube": f'type="box" size="{HALF_SIZE} {HALF_SIZE} {HALF_SIZE}"',
}


def build_model(shapes: list[str], physics: Physics) -> mujoco.MjModel:
    """A floor (geom 0) and a free body of mass 1 per shape (geoms 1, 2, ...), parked far apart."""
    bodies = "".join(
        f'<body pos="{30 + 3 * i} 40 {HALF_SIZE}"><freejoint/>'
        f'<geom {_GEOMS[shape]} mass="1" {physics.object}/></body>'
        for i, shape in enumerate(shapes)
    )
    # MuJoCo takes or leaves its warm start for the whole scene at once. Without it objects that never touch solve
    # apart, and removing one leaves every bit of the others as it was.
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><option timestep="{physics.time_step}" integrator="implicitfast" cone="elliptic" '
        f'gravity="0 0 {-GRAVITY}"><flag warmstart="disable"/></option>'
        f'<worldbody><geom type="plane" size="60 60 0.1" {physics.floor}/>{bodies}</worldbody></mujoco>'
    )


def simulate(scene: Scene, num_frames: int, *, drop: int | None = None) -> Trajectory:
    """Runs a scene for `num_frames` source frames.

    Before its launch, or for ever if it is the object `drop` (what if it had not been there?), an object is
    parked out of everyone's way and reported at its start, not launched and out of view.
    """
    objects = scene.objects
    model = build_model([thing.shape for thing in objects], scene.physics)
    data = mujoco.MjData(model)
    steps_per_frame = round(1 / FRAMES_PER_SECOND / scene.physics.time_step)
    poses = np.tile([_start_pose(thing) for thing in objects], (num_frames, 1, 1))
    velocities = np.zeros((num_frames, len(objects), 6))
    launched = np.zeros((num_frames, len(objects)), bool)
    collisions: list[Collision] = []
    last_touch: dict[tuple[int, int], int] = {}
    for frame in range(num_frames):
        for _ in range(steps_per_frame if frame else 0):
            mujoco.mj_step(model, data)
            for pair in _touching(data):
                if frame - last_touch.get(pair, -math.inf) > QUIET_FRAMES:
                    collisions.append(Collision(frame, pair, _midpoint(data, pair)))
                last_touch[pair] = frame
        for i, thing in enumerate(objects):
            if thing.launch_frame == frame and i != drop:
                data.qpos[7 * i : 7 * i + 7] = _start_pose(thing)
                data.qvel[6 * i : 6 * i + 6] = _start_velocity(thing)
            launched[frame, i] = thing.launch_frame <= frame and i != drop
        moving = launched[frame]
        poses[frame, moving] = data.qpos.reshape(-1, 7)[moving]
        velocities[frame, moving] = data.qvel.reshape(-1, 6)[moving]
    location, orientation = poses[..., :3], poses[..., 3:]
    return Trajectory(
        location=location,
        orientation=orientation,
        velocity=velocities[..., :3],
        # MuJoCo keeps the angular velocity of a free body in the body's own frame.
        angular_velocity=np.einsum("tnij,tnj->tni", rotation_matrices(orientation), velocities[..., 3:]),
        launched=launched,
        inside_camera_view=launched & scene.camera.in_view(location, VIEW_MARGIN),
        collisions=tuple(collisions),
    )


def rotation_matrices(quaternions: np.ndarray) -> np.ndarray:
    """Unit quaternions f64[... 4] (w, x, y, z) to matrices f64[... 3 3], body to world."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _start_pose(thing: SceneObject) -> list[float]:
    return [*thing.position, math.cos(thing.yaw / 2), 0.0, 0.0, math.sin(thing.yaw / 2)]


def _start_velocity(thing: SceneObject) -> list[float]:
    """Spheres start rolling without slipping; the angular part is in the body's frame."""
    if thing.shape != "sphere":
        return [*thing.velocity, 0.0, 0.0, thing.spin]
    x, y = -thing.velocity[1] / HALF_SIZE, thing.velocity[0] / HALF_SIZE
    cosine, sine = math.cos(thing.yaw), math.sin(thing.yaw)
    return [*thing.velocity, cosine * x + sine * y, cosine * y - sine * x, 0.0]


def _touching(data: mujoco.MjData) -> list[tuple[int, int]]:
    """Pairs of objects, smaller first, that are in contact now."""
    geoms = data.contact.geom
    return [(int(a) - 1, int(b) - 1) for a, b in np.sort(geoms[(geoms > 0).all(axis=1)], axis=1)]


def _midpoint(data: mujoco.MjData, pair: tuple[int, int]) -> tuple[float, float, float]:
    x, y, z = data.qpos.reshape(-1, 7)[list(pair), :3].mean(axis=0)
    return float(x), float(y), float(z)
