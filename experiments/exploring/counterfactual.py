"""What would really have happened: the simulator runs again, with the change that was made to the slots."""

import itertools
import math
from collections.abc import Mapping, Set
from typing import NamedTuple

import numpy as np

from data_pipelines.simulator import Trajectory
from data_pipelines.simulator.config import FRAMES_PER_SECOND, HALF_SIZE
from data_pipelines.simulator.physics import Simulation, rotation_matrices
from data_pipelines.simulator.scenes import Scene
from data_pipelines.simulator.videos import render
from experiments.exploring import changes
from experiments.exploring.changes import Change
from experiments.exploring.clips import SUPERSAMPLING, Clip


class NoCounterpart(ValueError):
    """Nothing real corresponds to a change; one line says why."""


class Reality(NamedTuple):
    """Entry 0 is the changed frame, entry s the s-th frame after it."""

    video: np.ndarray  # u8[s+1 h w 3]
    segmentation: np.ndarray  # u8[s+1 h w]; 0 background, object_id + 1, copies behind the others


def happens(clip: Clip, objects: Mapping[int, int], num_slots: int, change: Change) -> Reality:
    """Simulates the clip's scene again, changed at a frame, and films it from there on.

    Args:
        objects: which object each slot shows in the frame that is changed.
        num_slots: of the model; copies are numbered from there.

    Raises:
        NoCounterpart: the clip is none of the simulator's, a slot shows no object, there is no room, or what was
            changed is not in the world but in the model.
    """
    if clip.origin is None:
        raise NoCounterpart(
            "nobody knows: the clip is a recording, and only a simulated scene can be run again"
        )
    _check_kinds(change)
    now = change.frame * clip.stride
    scene, objects = _with_copies(clip, dict(objects), num_slots, change, now)
    simulation = Simulation(scene)
    before = simulation.run(now + 1)
    for edit in change.edits:
        thing = None if isinstance(edit, changes.Double) else _object(objects, edit.slot)
        match edit:
            case changes.Remove():
                simulation.remove(thing)
            case changes.Move():
                simulation.shift(thing, _offset(clip, before.location[now, thing], edit.offset))
            case changes.Push():
                simulation.push(thing, _velocity(clip, before.location[now, thing], edit.velocity))
            case changes.Follow():
                other = _object(objects, edit.other)
                simulation.push(thing, (before.velocity[now, other] - before.velocity[now, thing])[:2])
            case changes.Swap():
                other = _object(objects, edit.other)
                difference = (before.velocity[now, other] - before.velocity[now, thing])[:2]
                simulation.push(thing, difference)
                simulation.push(other, -difference)
    if not change.relation:
        simulation.let_pass()
    placed = {objects[edit.slot] for edit in change.edits if isinstance(edit, changes.Move)}
    placed |= set(range(len(clip.origin.scene.objects), len(scene.objects)))
    trajectory = simulation.run(now + change.num_steps * clip.stride + 1)
    if change.relation:
        _check_room(scene, trajectory, now, placed)
    frames = now + clip.stride * np.arange(change.num_steps + 1)
    height, width = clip.video.shape[1:3]
    return Reality(
        *render(scene, trajectory, frames, height=height, width=width, supersampling=SUPERSAMPLING)
    )


def _check_kinds(change: Change) -> None:
    for edit in change.edits:
        if isinstance(edit, changes.Slide):
            raise NoCounterpart(
                "a latent was slid: that is a change of what the model thinks, not of the world"
            )
        if isinstance(edit, changes.Turn):
            raise NoCounterpart(
                "one of the model's own numbers for a motion was set: what that is in the world, the push says"
            )


def _object(objects: Mapping[int, int], slot: int) -> int:
    if slot not in objects:
        raise NoCounterpart(
            f"slot {slot + 1} shows no object there: the world has nothing to change in its place"
        )
    return objects[slot]


def _with_copies(
    clip: Clip, objects: dict[int, int], num_slots: int, change: Change, now: int
) -> tuple[Scene, Mapping[int, int]]:
    """The scene with the copies, launched at the frame, and which object each slot and copy then shows."""
    scene, trajectory = clip.origin.scene, clip.origin.trajectory
    things = list(scene.objects)
    numbered = num_slots
    for edit in change.edits:
        if not isinstance(edit, changes.Double):
            continue
        original = _object(objects, edit.slot)
        if original >= len(scene.objects):
            raise NoCounterpart("a copy of a copy: make two copies of the object instead")
        turned = rotation_matrices(trajectory.orientation[now, original])
        place = trajectory.location[now, original]
        x, y = place[:2] + _offset(clip, place, edit.offset)
        objects[numbered] = len(things)
        things.append(
            scene.objects[original]._replace(
                object_id=len(things),
                yaw=math.atan2(turned[1, 0], turned[0, 0]),
                launch_frame=now,
                position=(float(x), float(y), HALF_SIZE),
                velocity=(*trajectory.velocity[now, original, :2].tolist(), 0.0),
                spin=float(trajectory.angular_velocity[now, original, 2]),
            )
        )
        numbered += 1
    return scene._replace(objects=tuple(things)), objects


def _offset(clip: Clip, place: np.ndarray, pixels: tuple[float, float]) -> np.ndarray:
    """A way along the floor, f64[2] world units, that shows as so many pixels from a place."""
    camera, size = clip.origin.scene.camera, clip.video.shape[1:3]
    shown = camera.project(place, *size)[0]
    try:
        return (camera.on_level(shown + pixels, *size, place[2]) - place)[:2]
    except ValueError:
        raise NoCounterpart("the object would lie above the horizon: move it less far up") from None


def _velocity(clip: Clip, place: np.ndarray, pixels: tuple[float, float]) -> np.ndarray:
    """A velocity along the floor, f64[2] world units per second, that shows as so many pixels per frame."""
    camera, height = clip.origin.scene.camera, clip.video.shape[1]
    along = np.stack([camera.project_velocity(place, axis, height) for axis in np.eye(3)[:2]], -1)
    return np.linalg.solve(along, np.asarray(pixels) * FRAMES_PER_SECOND / clip.stride)


def _check_room(scene: Scene, trajectory: Trajectory, now: int, placed: Set[int]) -> None:
    """Refuses what was placed into something else: the simulator would blow the two apart."""
    there = np.flatnonzero(trajectory.launched[now])
    for first, second in itertools.combinations(there, 2):
        apart = np.linalg.norm(trajectory.location[now, first, :2] - trajectory.location[now, second, :2])
        if apart < 2 * HALF_SIZE and placed & {first, second}:
            things = scene.objects[first], scene.objects[second]
            names = " and the ".join(f"{thing.color} {thing.material} {thing.shape}" for thing in things)
            raise NoCounterpart(f"no room: the {names} would be in one place; drag further")
