"""What a scene holds, as far as linear probes read it off a model's slots: objects, their places, their collisions.

The labels of the training videos fit the probes; of any other video the slots alone are used. What comes after a video,
and what would have come without an object, is not known.

Source: our choice, after NS-DR (Yi et al. 2020), which reads a scene with networks that were trained on labels.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from data_pipelines.simulator.questions.truth import MOVING_SPEED, SceneTruth
from experiments.evaluation.linear_probes import Probe, fit_classes, fit_numbers
from experiments.evaluation.objects import own_slots
from experiments.evaluation.slot_contents import ATTRIBUTES
from experiments.runs.logs import say
from experiments.vqa.labels import Labelled

# Objects are 0.4 world units wide at least: two slots that stay nearer than this share one; and a slot stands for an
# object that it stays nearer than this. Source: our choice.
SAME_PLACE = 0.3


class Tracks(NamedTuple):
    """What slots are read to be: objects n in t frames."""

    attributes: np.ndarray  # i[n 3]
    location: np.ndarray  # f64[t n 2] world units
    inside: np.ndarray  # bool[t n]


class Reader:
    """The probes that read a scene off the slots of a video."""

    def __init__(self, videos: Sequence[Labelled], has_background: bool):
        """Fits the probes: first those of single slots, then those of motion, on what the first ones read.

        Where the first ones never tell two objects apart, nothing moves or touches in any scene, which is said.

        Args:
            has_background: the first slot is the background's in all frames.

        Raises:
            ValueError: no slot shows an object.
        """
        self._first = int(has_background)
        self._fit_slots(videos)
        self._fit_motion(videos)

    def _fit_slots(self, videos: Sequence[Labelled]) -> None:
        inputs, is_object, shown, attributes, places = [], [], [], [], []
        for video in videos:
            for frame, overlap in enumerate(video.overlap):
                slots = video.slots[frame, self._first :]
                own = own_slots(overlap, video.object_id + 1) - self._first
                found = own >= 0
                inputs.append(slots)
                is_object.append(np.isin(np.arange(len(slots)), own[found]))
                shown.append(slots[own[found]])
                attributes.append(video.attributes[found])
                places.append(video.location[frame, found])
        shown, attributes = np.concatenate(shown), np.concatenate(attributes)
        self._place = fit_numbers(shown, np.concatenate(places))
        self._attributes: dict[str, Probe] = {
            name: fit_classes(shown, attributes[:, column], len(values))
            for column, (name, values) in enumerate(ATTRIBUTES.items())
        }
        self._presence = fit_classes(np.concatenate(inputs), np.concatenate(is_object).astype(int), 2)

    def _fit_motion(self, videos: Sequence[Labelled]) -> None:
        speeds, moves, pairs, touches = [], [], [], []
        for video in videos:
            tracks = self.follow(video.slots)
            of_track = match(tracks, video.location)
            for n, object_ in enumerate(of_track):
                if object_ >= 0:
                    speeds.append(_speed(tracks.location[:, n]))
                    moves.append(np.linalg.norm(video.velocity[:, object_], axis=-1) > MOVING_SPEED)
            for a, b in itertools.combinations(np.flatnonzero(of_track >= 0), 2):
                both = {int(of_track[a]), int(of_track[b])}
                frames = [frame for frame, pair in video.collisions if set(pair) == both]
                pairs.append(_approach(tracks.location[:, a], tracks.location[:, b]))
                touches.append(np.isin(np.arange(len(tracks.location)), frames))
        self._moving = self._touching = None
        if not pairs:
            say(
                "no training video has two objects that can be told apart: no motion and no collision is read"
            )
            return
        self._moving = fit_classes(np.concatenate(speeds), np.concatenate(moves).astype(int), 2)
        self._touching = fit_classes(np.concatenate(pairs), np.concatenate(touches).astype(int), 2)

    def follow(self, slots: np.ndarray) -> Tracks:
        """The objects of a video f32[t k d].

        Slots are followed from frame to frame by what they hold. An object is in view from the first frame in which its
        slot shows it to the last; a slot that does so in between with a mean probability above one half is an object,
        and of two that stay in one place only the surer.
        """
        slots = follow_slots(slots[:, self._first :])
        shown = self._presence.probabilities(slots)[..., 1]
        inside = np.stack([_between(of_slot > 0.5) for of_slot in shown.T], 1)
        sure = np.where(inside, shown, 0).sum(0) / np.maximum(inside.sum(0), 1)
        location = self._place(slots)
        kept: list[int] = []
        for slot in np.argsort(-sure, kind="stable"):
            if sure[slot] > 0.5 and not any(_stay_together(location, inside, slot, other) for other in kept):
                kept.append(int(slot))
        kept.sort()
        logits = [probe(slots[:, kept]) for probe in self._attributes.values()]
        seen = inside[:, kept, None]
        attributes = [np.where(seen, values, 0).sum(0).argmax(-1) for values in logits]
        return Tracks(np.stack(attributes, -1), location[:, kept], inside[:, kept])

    def scene(self, slots: np.ndarray) -> SceneTruth:
        """What is known of a video f32[t k d], in its own frames, for the programs of questions."""
        tracks = self.follow(slots)
        frames, number = tracks.inside.shape
        moving = np.zeros((frames, number), bool)
        for n in range(number if self._moving else 0):
            moving[:, n] = self._moving.probabilities(_speed(tracks.location[:, n])).argmax(-1) == 1
        collisions = []
        for a, b in itertools.combinations(range(number if self._touching else 0), 2):
            approach = _approach(tracks.location[:, a], tracks.location[:, b])
            likely = self._touching.probabilities(approach)[:, 1] * tracks.inside[:, [a, b]].all(-1)
            collisions += [(frame, (a, b)) for frame in peaks(likely)]
        named = (
            tuple(values[of_object] for of_object, values in zip(row, ATTRIBUTES.values()))
            for row in tracks.attributes
        )
        return SceneTruth(tuple(named), frames, tracks.inside, moving, tuple(sorted(collisions)), ())


def follow_slots(slots: np.ndarray) -> np.ndarray:
    """The same slots f[t k d], in each frame in the order in which they go on best with those of the frame before.

    One to one, at the least sum of squared differences.
    """
    ordered = [slots[0]]
    for frame in slots[1:]:
        cost = ((ordered[-1][:, None] - frame) ** 2).sum(-1)
        ordered.append(frame[linear_sum_assignment(cost)[1]])
    return np.stack(ordered)


def match(tracks: Tracks, location: np.ndarray) -> np.ndarray:
    """The true object that each of n tracks stands for, i[n], by where they are, f[t m 2]; -1 where none is near."""
    difference = np.linalg.norm(tracks.location[:, :, None] - location[:, None], axis=-1)
    weight = tracks.inside[..., None]
    distance = (difference * weight).sum(0) / np.maximum(weight.sum(0), 1)
    found = np.full(len(tracks.attributes), -1)
    rows, columns = linear_sum_assignment(distance)
    near = distance[rows, columns] < SAME_PLACE
    found[rows[near]] = columns[near]
    return found


def peaks(likely: np.ndarray) -> list[int]:
    """The frames in which a probability f[t] is above one half and no lower than in the two frames beside it; of equal
    neighbours the first."""
    padded = np.pad(likely, 1)
    above = (likely > 0.5) & (likely > padded[:-2]) & (likely >= padded[2:])
    return np.flatnonzero(above).tolist()


def _between(shown: np.ndarray) -> np.ndarray:
    """From the first to the last true one, bool[t]."""
    return np.logical_or.accumulate(shown) & np.logical_or.accumulate(shown[::-1])[::-1]


def _stay_together(location: np.ndarray, inside: np.ndarray, slot: int, other: int) -> bool:
    both = inside[:, slot] & inside[:, other]
    distance = np.linalg.norm(location[both, slot] - location[both, other], axis=-1)
    return bool(len(distance)) and float(np.median(distance)) < SAME_PLACE


def _velocity(location: np.ndarray) -> np.ndarray:
    return np.gradient(location, axis=0) if len(location) > 1 else np.zeros_like(location)


def _speed(location: np.ndarray) -> np.ndarray:
    """f[t 1] world units a frame."""
    return np.linalg.norm(_velocity(location), axis=-1, keepdims=True)


def _approach(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What tells a touch of two paths f[t 2]: how far apart they are around a frame, and by how much each turns."""
    distance = np.linalg.norm(a - b, axis=-1)
    around = np.pad(distance, 1, mode="edge")
    turns = [np.linalg.norm(_velocity(_velocity(path)), axis=-1) for path in (a, b)]
    return np.stack(
        [around[:-2], distance, around[2:], np.minimum(around[:-2], distance) ** 2, *np.sort(turns, 0)], -1
    )
