"""Rigid-body motion of a scene with MuJoCo."""

import itertools
import math
from collections.abc import Iterable

import mujoco
import numpy as np
from mujoco.rollout import Rollout

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
    """A floor (geom 0) and a free body of mass 1 per shape (geoms 1, 2, ...), parked far apart.

    A sensor for each pair of bodies, in the order of `itertools.combinations`, counts their contacts.
    """
    bodies = "".join(
        f'<body pos="{30 + 3 * i} 40 {HALF_SIZE}"><freejoint/>'
        f'<geom name="{i}" {_GEOMS[shape]} mass="1" {physics.object}/></body>'
        for i, shape in enumerate(shapes)
    )
    sensors = "".join(
        f'<contact geom1="{i}" geom2="{j}" data="found"/>'
        for i, j in itertools.combinations(range(len(shapes)), 2)
    )
    # MuJoCo takes or leaves its warm start for the whole scene at once. Without it objects that never touch solve
    # apart, and removing one leaves every bit of the others as it was.
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><option timestep="{physics.time_step}" integrator="implicitfast" cone="elliptic" '
        f'gravity="0 0 {-GRAVITY}"><flag warmstart="disable"/></option>'
        f'<worldbody><geom type="plane" size="60 60 0.1" {physics.floor}/>{bodies}</worldbody>'
        f"<sensor>{sensors}</sensor></mujoco>"
    )


class Simulation:
    """A scene in motion, run as far as it is wanted; what is changed at its last frame so far shows from there on.

    Before its launch, or for ever if it is the object `drop` (what if it had not been there?), an object is
    parked out of everyone's way and reported at its start, not launched and out of view.
    """

    def __init__(self, scene: Scene, *, drop: int | None = None):
        self._scene = scene
        self._model = build_model([thing.shape for thing in scene.objects], scene.physics)
        self._data = mujoco.MjData(self._model)
        self._steps_per_frame = round(1 / FRAMES_PER_SECOND / scene.physics.time_step)
        self._pairs = list(itertools.combinations(range(len(scene.objects)), 2))
        self._launch_frames = [
            math.inf if i == drop else thing.launch_frame for i, thing in enumerate(scene.objects)
        ]
        self._removal_frames = [math.inf] * len(scene.objects)
        self._solid = True  # objects stop each other
        # MuJoCo's whole state: time, then for all bodies position and orientation, then for all bodies velocities.
        self._state = np.concatenate([[0.0], self._model.qpos0, np.zeros(self._model.nv)])
        self._set_contacts(False, range(len(scene.objects)))
        self._launch(0)
        self._states = [self._state[None]]  # of the frames so far; the last one is `_state`
        self._num_frames = 1
        self._last_touch: dict[tuple[int, int], int] = {}
        self._collisions: list[Collision] = []

    def run(self, num_frames: int) -> Trajectory:
        """Goes on to `num_frames` source frames; returns all of these so far."""
        while self._num_frames < num_frames:
            launches = (frame for frame in self._launch_frames if frame >= self._num_frames)
            last = min(*launches, num_frames - 1, num_frames - 1)
            self._advance(last - self._num_frames + 1)
            self._launch(last)
        return self._trajectory()

    def remove(self, object_id: int) -> None:
        """Takes an object away."""
        self._removal_frames[object_id] = self._num_frames - 1
        self._launch_frames[object_id] = min(self._launch_frames[object_id], self._num_frames - 1)
        self._set_contacts(False, [object_id])

    def shift(self, object_id: int, offset: np.ndarray) -> None:
        """Puts an object elsewhere on the floor, f64[2] world units from where it is."""
        self._positions(self._state)[object_id, :2] += offset

    def push(self, object_id: int, velocity: np.ndarray) -> None:
        """Adds a velocity f64[2] along the floor (world units per second); spheres roll on as they then must."""
        self._velocities(self._state)[object_id, :2] += velocity
        if self._scene.objects[object_id].shape == "sphere":
            spin = np.array([-velocity[1], velocity[0], 0.0]) / HALF_SIZE
            to_world = rotation_matrices(self._positions(self._state)[object_id, 3:])
            self._velocities(self._state)[object_id, 3:] += spin @ to_world  # in the body's own frame

    def let_pass(self) -> None:
        """Lets objects pass through each other; the floor carries them as before."""
        self._solid = False
        self._model.geom_conaffinity[1:] = 0

    def _advance(self, num_frames: int) -> None:
        """Steps through frames in which nothing is launched but, in the end, at the last of them."""
        steps = num_frames * self._steps_per_frame
        with Rollout(nthread=0) as rollout:
            states, contacts = rollout.rollout(self._model, [self._data], self._state[None], nstep=steps)
        first = self._num_frames
        for step, pair in np.argwhere(contacts[0] > 0):
            frame, pair = first + int(step) // self._steps_per_frame, self._pairs[pair]
            if frame - self._last_touch.get(pair, -math.inf) > QUIET_FRAMES:
                self._collisions.append(Collision(frame, pair, self._midpoint(states[0, step], pair)))
            self._last_touch[pair] = frame
        self._states.append(states[0, self._steps_per_frame - 1 :: self._steps_per_frame])
        self._state = self._states[-1][-1]
        self._num_frames += num_frames

    def _launch(self, frame: int) -> None:
        """Puts the objects that are launched at a frame where they start."""
        objects = self._scene.objects
        launched = [i for i, launch_frame in enumerate(self._launch_frames) if launch_frame == frame]
        for i in launched:
            self._positions(self._state)[i] = _start_pose(objects[i])
            self._velocities(self._state)[i] = _start_velocity(objects[i])
        self._set_contacts(True, launched)

    def _set_contacts(self, possible: bool, objects: Iterable[int]) -> None:
        """Parked objects touch nothing and fall: on the floor they would cost as much time as the others."""
        for i in objects:
            self._model.geom_contype[i + 1] = possible
            self._model.geom_conaffinity[i + 1] = possible and self._solid

    def _positions(self, states: np.ndarray) -> np.ndarray:
        """The view f64[... n 7] of states."""
        return states[..., 1 : 1 + self._model.nq].reshape(*states.shape[:-1], -1, 7)

    def _velocities(self, states: np.ndarray) -> np.ndarray:
        """The view f64[... n 6] of states."""
        return states[..., 1 + self._model.nq :].reshape(*states.shape[:-1], -1, 6)

    def _midpoint(self, state: np.ndarray, pair: tuple[int, int]) -> tuple[float, float, float]:
        x, y, z = self._positions(state)[list(pair), :3].mean(axis=0)
        return float(x), float(y), float(z)

    def _trajectory(self) -> Trajectory:
        states = np.concatenate(self._states)
        frame = np.arange(len(states))[:, None]
        launched = (frame >= self._launch_frames) & (frame < self._removal_frames)
        starts = [_start_pose(thing) for thing in self._scene.objects]
        poses = np.where(launched[..., None], self._positions(states), starts)
        velocities = np.where(launched[..., None], self._velocities(states), 0.0)
        location, orientation = poses[..., :3], poses[..., 3:]
        return Trajectory(
            location=location,
            orientation=orientation,
            velocity=velocities[..., :3],
            # MuJoCo keeps the angular velocity of a free body in the body's own frame.
            angular_velocity=np.einsum("tnij,tnj->tni", rotation_matrices(orientation), velocities[..., 3:]),
            launched=launched,
            inside_camera_view=launched & self._scene.camera.in_view(location, VIEW_MARGIN),
            collisions=tuple(self._collisions),
        )


def simulate(scene: Scene, num_frames: int, *, drop: int | None = None) -> Trajectory:
    """Runs a scene for `num_frames` source frames; see `Simulation`."""
    return Simulation(scene, drop=drop).run(num_frames)


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
