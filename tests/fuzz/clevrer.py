"""CLEVRER's own files: annotations, object proposals with their run-length codes, questions."""

import json
import pathlib

import numpy as np

from data_pipelines import rle
from data_pipelines.annotations import read_annotation, read_segmentation
from data_pipelines.builders.clevrer_qa.raw import read_questions
from tests.data_pipelines.handmade import encode_mask, make_scene
from tests.data_pipelines.test_clevrer_qa import SCENE
from tests.fuzz.fuzzing import Target

NUM_FRAMES = 3


def _write_annotation(folder: pathlib.Path) -> list[pathlib.Path]:
    annotation = make_scene(0, NUM_FRAMES).annotation
    annotation["collision"] = [{"location": [0.5, 0.25, 0.2], "object_ids": [2, 0], "frame_id": 1}]
    return [_write(folder / "annotation_00000.json", annotation)]


def _write_proposal(folder: pathlib.Path) -> list[pathlib.Path]:
    return [_write(folder / "proposal_00000.json", make_scene(0, NUM_FRAMES).proposal)]


def _write_questions(folder: pathlib.Path) -> list[pathlib.Path]:
    return [_write(folder / "train.json", [SCENE, SCENE | {"scene_index": 8}])]


def _write_mask(folder: pathlib.Path) -> list[pathlib.Path]:
    masks = np.random.default_rng(0).random((3, 20, 30)) < [[[0.1]], [[0.5]], [[1.0]]]
    return [_write(folder / f"{number}.json", encode_mask(mask)) for number, mask in enumerate(masks)]


def _write(path: pathlib.Path, content) -> pathlib.Path:
    path.write_text(json.dumps(content))
    return path


def _read_mask(path: pathlib.Path) -> np.ndarray:
    mask = json.loads(path.read_text(errors="surrogateescape"))
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str) or "size" not in mask:
        raise ValueError("no mask to decode")
    return rle.decode(mask, np.arange(2), np.arange(2))


ANNOTATION = Target(
    lambda path: read_annotation(path, NUM_FRAMES), _write_annotation, (ValueError,), is_json=True
)
PROPOSAL = Target(
    lambda path: read_segmentation(path, NUM_FRAMES, 16, 16, True),
    _write_proposal,
    (ValueError,),
    is_json=True,
)
QUESTIONS = Target(
    lambda path: list(read_questions(path, "train")), _write_questions, (ValueError,), is_json=True
)
MASK = Target(_read_mask, _write_mask, (ValueError,), is_json=True, names_file=False)
