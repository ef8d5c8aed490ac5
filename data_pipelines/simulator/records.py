"""The records that the simulator hands out: one scene, what happened in it, and its pictures.

World: metre-like units, z up, x toward the camera, y to the right.
Axis letters: t time, n objects, h w picture.
"""

from typing import NamedTuple

import numpy as np


class SceneObject(NamedTuple):
    """One object, as CLEVRER describes it, and how it enters the scene."""

    object_id: int  # 0, 1, ... in the scene
    shape: str  # cube, sphere, cylinder
    material: str  # rubber, metal
    color: str  # a key of CLEVR's colour table
    yaw: float  # radians, at the start
    launch_frame: int  # before this frame the object is parked out of the world, 0 for the first
    position: tuple[float, float, float]  # world units, at launch
    velocity: tuple[float, float, float]  # world units per second, at launch
    spin: float  # radians per second about z, at launch


class Collision(NamedTuple):
    """The first touch of two objects after more than ten frames apart."""

    frame_id: int  # source frame (25 per second)
    object_ids: tuple[int, int]
    location: tuple[float, float, float]  # world units, midpoint of the two centres


class Trajectory(NamedTuple):
    """Ground truth of every source frame; source frames come at 25 per second."""

    location: np.ndarray  # f64[t n 3] world units
    orientation: np.ndarray  # f64[t n 4] unit quaternions w x y z
    velocity: np.ndarray  # f64[t n 3] world units per second
    angular_velocity: np.ndarray  # f64[t n 3] radians per second
    launched: np.ndarray  # bool[t n]
    inside_camera_view: np.ndarray  # bool[t n], in CLEVRER's 3:2 picture
    collisions: tuple[Collision, ...]  # by time; also those after the visible frames


class SimulatedStates(NamedTuple):
    """What is true of some frames of a scene that is not drawn; `frame t` is a stored frame, as below."""

    objects: tuple[SceneObject, ...]
    location: np.ndarray  # f32[t n 3] world units
    velocity: np.ndarray  # f32[t n 3] world units per second
    inside_camera_view: np.ndarray  # bool[t n], in CLEVRER's 3:2 picture
    collisions: tuple[Collision, ...]  # as those of a SimulatedVideo


class SimulatedVideo(NamedTuple):
    """Pictures at the size and stride asked for, with the truth of those frames only.

    `frame t` below is a stored frame: source frame `t * stride`.
    """

    video: np.ndarray  # u8[t h w 3]
    segmentation: np.ndarray  # u8[t h w]; 0 background, object_id + 1
    objects: tuple[SceneObject, ...]
    location: np.ndarray  # f32[t n 3] world units
    velocity: np.ndarray  # f32[t n 3] world units per second
    inside_camera_view: np.ndarray  # bool[t n]; in this picture, which may be narrower than CLEVRER's
    image_position: np.ndarray  # f32[t n 2] pixels, x then y, of the object's centre
    image_velocity: np.ndarray  # f32[t n 2] pixels per stored frame: the exact derivative, not a difference
    # Both objects in CLEVRER's 3:2 view; frame_id counts stored frames: the first one at or after the touch.
    collisions: tuple[Collision, ...]


class SimulatedTower(NamedTuple):
    """Pictures of a tower of blocks that is let go at frame 0; the fields are those of SimulatedVideo.

    Objects are numbered from the bottom up.
    """

    video: np.ndarray  # u8[t h w 3]
    segmentation: np.ndarray  # u8[t h w]; 0 background, object_id + 1
    objects: tuple[SceneObject, ...]
    location: np.ndarray  # f32[t n 3] world units
    velocity: np.ndarray  # f32[t n 3] world units per second
    inside_camera_view: np.ndarray  # bool[t n]
    image_position: np.ndarray  # f32[t n 2] pixels, x then y
    image_velocity: np.ndarray  # f32[t n 2] pixels per stored frame
    fell: bool  # some block ended lower than it began
