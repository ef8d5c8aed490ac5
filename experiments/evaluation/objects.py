"""Where predictions put each object: what the error of pixels hides.

An object is where the middle of its mask is, a slot where the middle of the region is in which its mask is the largest.
The slot of an object is the one that shares more than half of their union with it in the last observed frame, and
predictions go on with the same slots. A slot's region has its shadow in it, too, or lacks an edge: what counts is how
far it moves, so the object is taken to be where it was last seen, moved as its slot is. A model with perfect masks has
no error then, and one whose slots stay has the error of a copy.

Source: our choice; the paper plots the error of pixels alone (Figure 7).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.evaluation.probe import MATCH_THRESHOLD

# A collision is looked at where it changes the velocity of both objects by at least this share of the picture's width
# in a frame: below, the direction of the change is that of rounding. A change points the right way within this angle:
# a model whose objects do not turn has none right, one that guesses directions a 16th. Source: our choice.
LEAST_CHANGE = 1 / 64
RIGHT_ANGLE = np.pi / 4


class Tracks(NamedTuple):
    """The objects n of a clip through its frames t; predicted are the last s. Positions are pixels, x then y."""

    centre: np.ndarray  # f64[t n 2], NaN where no pixel of the object is in view
    diameter: np.ndarray  # f64[t n] pixels, of the disc that is as large as the part in view
    predicted: np.ndarray | None  # f64[s n 2]; None for a model without slots
    lost: np.ndarray | None  # bool[s n]
    width: int  # of the picture, pixels


def centres(labels: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the pixels that carry each label, and their number.

    Args:
        labels: i[t h w].
        wanted: i[n].

    Returns:
        f64[t n 2] pixels, x then y, NaN where a label does not occur; i64[t n].
    """
    regions = labels[:, None] == np.asarray(wanted)[:, None, None]
    area = regions.sum((-2, -1))
    height, width = labels.shape[1:]
    moments = regions.sum(-2) @ np.arange(width), regions.sum(-1) @ np.arange(height)
    found = np.full((*area.shape, 2), np.nan)
    np.divide(np.stack(moments, -1), area[..., None], out=found, where=area[..., None] > 0)
    return found, area


def own_slots(overlap: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The slot that stands for each label, i64[n], -1 where none does; no slot stands for two.

    Args:
        overlap: intersection over union, within the foreground, of label i and slot j: f[i j].
        labels: i[n].
    """
    shares = overlap[labels]
    return np.where(shares.max(-1, initial=0) > MATCH_THRESHOLD, shares.argmax(-1), -1)


def kept(overlap: np.ndarray, object_id: np.ndarray) -> dict[str, float]:
    """`slot_kept`: the share of a clip's objects that have one and the same slot from first to last.

    Counted are the objects that have a slot in the first frame and in the last; between them a frame without one, while
    an object is hidden for instance, does no harm. A clip without such objects has no score.

    Args:
        overlap: intersection over union, within the foreground, of label i and slot j in each frame: f[t i j].
        object_id: i[n], padded with -1.
    """
    slots = np.stack([own_slots(of_frame, object_id[object_id >= 0] + 1) for of_frame in overlap])
    slots = slots[:, (slots[0] >= 0) & (slots[-1] >= 0)]
    same = ((slots == slots[0]) | (slots < 0)).all(0)
    return {"slot_kept": same.mean()} if same.size else {}


def follow(
    segmentation: np.ndarray,
    object_id: np.ndarray,
    num_observed: int,
    overlap: np.ndarray | None = None,
    slot_observed: np.ndarray | None = None,
    slot_predicted: np.ndarray | None = None,
) -> Tracks:
    """Follows the objects of a clip, and where a model predicts them.

    An object whose slot cannot be told stays where it was last seen. It is lost in a predicted frame where it has no
    slot, where its slot has no pixel there, or where it is more than its own diameter away from where it should be.

    Args:
        segmentation: i[t h w], object_id + 1 and 0 for the background.
        object_id: i[n], padded with -1.
        num_observed: the last of these frames is the one in which slots are matched.
        overlap: of that frame, f[i j]: intersection over union, within the foreground, of label i and slot j.
        slot_observed: the slot at each pixel of that frame, i[h w].
        slot_predicted: of each predicted frame, i[s h w].

    Raises:
        ValueError: the arrays do not fit together.
    """
    num_predicted = len(segmentation) - num_observed
    objects = object_id[object_id >= 0]
    centre, area = centres(segmentation, objects + 1)
    diameter = 2 * np.sqrt(area / np.pi)
    if slot_predicted is None:
        return Tracks(centre, diameter, None, None, segmentation.shape[2])
    if slot_predicted.shape != segmentation[num_observed:].shape or num_observed < 1:
        raise ValueError(
            f"predicted slots {list(slot_predicted.shape)} do not fit {num_predicted} frames of "
            f"{list(segmentation.shape[1:])} pixels"
        )
    slots = own_slots(overlap, objects + 1)
    before, _ = centres(slot_observed[None], slots)
    after, _ = centres(slot_predicted, slots)
    moved = np.where(slots[:, None] >= 0, after - before, np.nan)
    drawn = np.isfinite(moved).all(-1)
    predicted = centre[num_observed - 1] + np.where(drawn[..., None], moved, 0)
    away = np.linalg.norm(predicted - centre[num_observed:], axis=-1) > diameter[num_observed:]
    return Tracks(centre, diameter, predicted, ~drawn | away, segmentation.shape[2])


def is_scored(tracks: Tracks, num_predicted: int) -> np.ndarray:
    """Which objects count in which predicted frames, bool[s n]: those in view there and in the last observed one."""
    seen = np.isfinite(tracks.centre).all(-1)
    return seen[-num_predicted:] & seen[-num_predicted - 1]


def scores(tracks: Sequence[Tracks], num_predicted: int) -> list[dict[str, np.ndarray]]:
    """The scores of each clip, by name, f64[s]: means over its objects in view.

    `predicted_`, `copy_last_` (objects stay) and `mean_place_` `centre_error`: the distance in pixels of where an
    object is said to be from where it is; `mean_place` puts all objects where they are on average in the predicted
    frames of all clips, the best place there is. `predicted_lost` and `copy_last_lost`: shares of the objects, see
    `follow`. A clip that has no object to score in some predicted frame has no scores.
    """
    counted = [is_scored(of_clip, num_predicted) for of_clip in tracks]
    places = [of_clip.centre[-num_predicted:][which] for of_clip, which in zip(tracks, counted)]
    mean_place = np.concatenate(places).mean(0) if any(map(len, places)) else np.zeros(2)
    return [_clip_scores(*of_clip, mean_place) for of_clip in zip(tracks, counted)]


def _clip_scores(tracks: Tracks, counted: np.ndarray, mean_place: np.ndarray) -> dict[str, np.ndarray]:
    if not counted.any(-1).all():
        return {}
    truth, last = tracks.centre[-len(counted) :], tracks.centre[-len(counted) - 1]

    def error(place):
        return np.linalg.norm(place - truth, axis=-1)

    def mean(values):
        return np.where(counted, values, 0).sum(-1) / counted.sum(-1)

    found = {
        "copy_last_centre_error": mean(error(last)),
        "mean_place_centre_error": mean(error(mean_place)),
        "copy_last_lost": mean(error(last) > tracks.diameter[-len(counted) :]),
    }
    if tracks.predicted is None:
        return found
    return {
        "predicted_centre_error": mean(error(tracks.predicted)),
        "predicted_lost": mean(tracks.lost),
    } | found


def turns(tracks: Tracks, collision_frame: np.ndarray, collision_places: np.ndarray) -> list[bool]:
    """Of each collision among the predicted frames, whether both objects turn the right way after it.

    The change of an object's velocity is its way from the frame in which the touch first shows to the next, less its
    way between the two frames before the touch; what was observed of these is the truth. Left out are collisions of
    which one of those frames is not there or an object is not in view, and those that change the velocity of either
    object by less than `LEAST_CHANGE`. An object that is lost does not turn.

    Args:
        collision_frame: i[c], padded with -1.
        collision_places: i[c 2], which of the objects touch, padded with -1.
    """
    if tracks.predicted is None:
        return []
    num_observed = len(tracks.centre) - len(tracks.predicted)
    believed = np.concatenate([tracks.centre[:num_observed], tracks.predicted])
    found = []
    for frame, places in zip(collision_frame, collision_places):
        if frame < max(num_observed, 2) or frame + 1 >= len(tracks.centre) or places.min() < 0:
            continue
        true, said = (_change(centre[:, places], frame) for centre in (tracks.centre, believed))
        size = np.linalg.norm(true, axis=-1)
        if not (size >= LEAST_CHANGE * tracks.width).all():  # nor where it is NaN
            continue
        lost = tracks.lost[frame - num_observed : frame - num_observed + 2, places].any(0)
        cosine = (true * said).sum(-1) / np.maximum(size * np.linalg.norm(said, axis=-1), 1e-9)
        found.append(bool((~lost & (cosine > np.cos(RIGHT_ANGLE))).all()))
    return found


def _change(centre: np.ndarray, frame: int) -> np.ndarray:
    return (centre[frame + 1] - centre[frame]) - (centre[frame - 1] - centre[frame - 2])
