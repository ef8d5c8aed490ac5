"""The slots of videos beside what is true of them: what probes are fitted with."""

import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from data_pipelines.datasets import open_split
from experiments.evaluation.scoring import number_labels
from experiments.evaluation.slot_contents import ATTRIBUTES
from experiments.runs.trained import Trained
from experiments.vqa import feature_files
from oddn_jax import compiler_options, metrics
from oddn_jax.models import model_name


class Labelled(NamedTuple):
    """A video: n objects in t frames."""

    slots: np.ndarray  # f32[t k d] latents, dynamics, or both one after the other
    overlap: np.ndarray  # f32[t i j]: intersection over union, within the foreground, of label i and slot j
    object_id: np.ndarray  # i[n]
    attributes: np.ndarray  # i[n 3], places in COLORS, MATERIALS and SHAPES
    location: np.ndarray  # f32[t n 2] world units on the floor
    velocity: np.ndarray  # f32[t n 2] world units a second
    collisions: tuple[tuple[int, tuple[int, int]], ...]  # first frame, places of the two objects


def labelled_videos(
    found: Trained, folder: pathlib.Path, dataset_dir: pathlib.Path, split: str, which: str
) -> Iterator[Labelled]:
    """The slots of each video of a split beside what is true of it, in the order of the features.

    Args:
        which: features, as `features.extracted` takes them; "both" is the latents alone where there are no dynamics.

    Raises:
        FileNotFoundError, ValueError: features or annotations are missing, or those of other videos.
    """
    arrays, opened = feature_files.read_split(folder, split), open_split(dataset_dir, split)
    names = [name for name in ("latents", "dynamics") if name in arrays and which in ("both", name)]
    slots = np.concatenate([arrays[name] for name in names], -1)
    overlap_of = make_overlap(found)
    for place, scene_index in enumerate(arrays["scene_index"]):
        record = opened.records[place]
        if record["scene_index"] != scene_index:
            raise ValueError(f"{folder}: the {split} features are not those of the videos in {dataset_dir}")
        objects, frames = record["objects"], len(slots[place])
        object_id = np.asarray(objects["object_id"], int)
        shown = {"segmentation": record["segmentation"][None, :frames], "object_id": object_id[None]}
        numbered, _ = number_labels(shown)
        touches = record["collisions"]
        places_of = {number: n for n, number in enumerate(object_id.tolist())}
        yield Labelled(
            slots[place],
            overlap_of(arrays["latents"][place], numbered["segmentation"][0]),
            numbered["object_id"][0],
            np.stack([np.asarray(objects[name], int) for name in ATTRIBUTES], -1).reshape(
                -1, len(ATTRIBUTES)
            ),
            record["location"][:frames, :, :2],
            record["velocity"][:frames, :, :2],
            tuple(
                (int(frame), tuple(places_of[int(number)] for number in pair))
                for frame, pair in zip(touches["frame_id"], touches["object_ids"])
            ),
        )


def check_model(found: Trained) -> None:
    """Raises ValueError unless the model's slots can be matched to objects by the masks that it decodes."""
    if not hasattr(found.model, "decode"):
        kind = model_name(type(found.model))
        raise ValueError(
            f"{found.name}: {kind} has no slots that can be decoded one by one: name another model "
            "as config.features_of"
        )


def make_overlap(found: Trained) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function from latents f32[t k l] and a segmentation i[t h w] to `Labelled.overlap`."""
    model, most = found.model, metrics.MAX_MATCHED_LABELS

    def overlap(params, latents, segmentation):
        masks = model.apply(model.to_variables(params), latents, method="decode").slot_masks
        return metrics.iou(segmentation, metrics.largest_slot(masks), most, foreground_only=True)

    compiled = jax.jit(overlap, compiler_options=compiler_options())
    return lambda latents, segmentation: np.asarray(
        compiled(found.params, latents, segmentation.astype(np.int32))
    )
