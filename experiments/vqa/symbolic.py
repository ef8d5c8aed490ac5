"""Answers without a reasoner: the questions' programs run on the scene that linear probes read off a model's slots.

The idea of NS-DR (Yi et al. 2020) on slots that were learned without labels; those of the training videos fit the
probes, and the programs are the questions' own, so that it is an upper reference for what slots say of a scene. Of
descriptive and explanatory questions alone: what comes after a video, or without an object, is not read.
"""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from data_pipelines import build
from data_pipelines.builders.clevrer_qa.records import open_questions
from data_pipelines.datasets import open_split
from data_pipelines.simulator.questions.executor import execute
from data_pipelines.simulator.questions.truth import SceneTruth
from experiments.config import VQAConfig
from experiments.evaluation.scoring import number_labels
from experiments.evaluation.slot_contents import ATTRIBUTES
from experiments.runs.trained import Trained
from experiments.vqa import answering, extraction, questions, scores
from experiments.vqa.config import check
from experiments.vqa.questions import QUESTION_TYPES, Questions, select
from experiments.vqa.scenes import Labelled, Reader, match
from oddn_jax import compiler_options, metrics
from oddn_jax.reasoning.vocabulary import encode_answer

ANSWERED = ("descriptive", "explanatory")


def answer(config: VQAConfig) -> dict[str, Any]:
    """Reads the scenes of the validation videos and answers the questions about them.

    Returns:
        As `answering.train_and_evaluate`, but for `references`, of which there are none, `unanswerable`, the share of
        questions and choices whose program has no answer in the scene that was read (they get what is right most often
        among the training questions of their family), and `probes`: how well objects are found and known on the
        validation videos.

    Raises:
        FileNotFoundError, ValueError: an option, a data set or the model is unusable.
    """
    check(config)
    found = answering.open_model(config.features_of)
    if not hasattr(found.model, "decode"):
        raise ValueError(
            f"{found.name}: {type(found.model).__name__} has no slots that can be decoded one by one"
        )
    sources = answering.prepare(config)
    name, _, base = config.videos.partition("/")
    videos = build.dataset_path(name, base, config.data_dir)
    labelled = list(labelled_videos(found, sources.features, videos, "train"))
    reader = Reader(labelled, extraction.has_background(sources.features))
    held_out = list(labelled_videos(found, sources.features, videos, config.valid_split))
    scene_index = extraction.read_split(sources.features, config.valid_split)["scene_index"]
    truths = {int(index): reader.scene(video.slots) for index, video in zip(scene_index, held_out)}
    train = questions.read(sources.questions, "train")
    asked = questions.read(sources.questions, config.valid_split)
    places = np.flatnonzero(np.isin(asked.type, [QUESTION_TYPES.index(name) for name in ANSWERED]))
    asked = select(asked, places)
    predictions, unanswerable = run_programs(
        sources.questions, config.valid_split, places, truths, train, asked
    )
    return answering.describe(config, sources, train, asked) | {
        "num_steps": 0,
        "scores": scores.score(asked, predictions),
        "references": {},
        "unanswerable": unanswerable,
        "probes": quality(reader, held_out),
    }


def labelled_videos(
    found: Trained, folder: pathlib.Path, dataset_dir: pathlib.Path, split: str
) -> Iterator[Labelled]:
    """The slots of each video of a split beside what is true of it, in the order of the features.

    Raises:
        FileNotFoundError, ValueError: features or annotations are missing, or those of other videos.
    """
    arrays, opened = extraction.read_split(folder, split), open_split(dataset_dir, split)
    names = [name for name in ("latents", "dynamics") if name in arrays]
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
            np.linalg.norm(record["velocity"][:frames, :, :2], axis=-1),
            tuple(
                (int(frame), tuple(places_of[int(number)] for number in pair))
                for frame, pair in zip(touches["frame_id"], touches["object_ids"])
            ),
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


def run_programs(
    dataset_dir: pathlib.Path,
    split: str,
    places: np.ndarray,
    truths: dict[int, SceneTruth],
    train: Questions,
    asked: Questions,
) -> tuple[scores.Predictions, float]:
    """What the programs of questions answer on the scenes that were read, and the share of them that have no answer.

    Args:
        places: of the questions in the split, i[q].
        truths: by scene index.
        asked: the same questions.
    """
    records, usual = open_questions(dataset_dir, split), scores.majority(train, asked)
    answer_id, is_correct = usual.answer.copy(), usual.is_correct.copy()
    failed = number = 0
    for row, place in enumerate(places):
        record = records[int(place)]
        truth, program = truths[int(record["scene_index"])], record["program"].decode().split()
        choices = [choice.decode().split() for choice in record["choices"]["program"]]
        for i, choice in enumerate(choices[: record["num_choices"]] if record["num_choices"] else [[]]):
            number += 1
            try:
                said = execute((*choice, *program), truth)
                if record["num_choices"]:
                    is_correct[row, i] = said == "yes"
                else:
                    answer_id[row] = encode_answer(said)
            except ValueError:  # UnanswerableError, or a number that no right answer is
                failed += 1
    return scores.Predictions(answer_id, is_correct), failed / max(number, 1)


def quality(reader: Reader, videos: list[Labelled]) -> dict[str, float]:
    """Shares over videos: `found` of the true objects have a track near them, `extra` of the tracks have no object;
    `color`, `material` and `shape` of those found are right."""
    true = tracked = near = 0
    right = np.zeros(len(ATTRIBUTES))
    for video in videos:
        tracks = reader.follow(video.slots)
        of_track = match(tracks, video.location)
        true, tracked = true + len(video.object_id), tracked + len(of_track)
        matched = of_track >= 0
        near += int(matched.sum())
        right += (tracks.attributes[matched] == video.attributes[of_track[matched]]).sum(0)
    shares = dict(zip(ATTRIBUTES, (right / max(near, 1)).tolist()))
    return {"found": near / max(true, 1), "extra": (tracked - near) / max(tracked, 1), **shares}
