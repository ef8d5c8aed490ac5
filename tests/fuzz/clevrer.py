"""CLEVRER's own files: annotations, object proposals with their run-length codes, questions."""

import json
import pathlib

from data_pipelines.annotations import read_annotation, read_segmentation
from data_pipelines.builders.clevrer_qa.raw import read_questions
from tests.data_pipelines.handmade import make_scene
from tests.fuzz.fuzzing import Target

NUM_FRAMES = 3


def _write(name: str):
    def write_seeds(folder: pathlib.Path) -> list[pathlib.Path]:
        scene = make_scene(0, NUM_FRAMES)
        scene.annotation["collision"] = [{"location": [0.5, 0.25, 0.2], "object_ids": [2, 0], "frame_id": 1}]
        path = folder / f"{name}_00000.json"
        path.write_text(json.dumps(getattr(scene, name)))
        return [path]

    return write_seeds


ANNOTATION = Target(
    lambda path: read_annotation(path, NUM_FRAMES), _write("annotation"), (ValueError,), is_json=True
)
PROPOSAL = Target(
    lambda path: read_segmentation(path, NUM_FRAMES, 16, 16, True), _write("proposal"), (ValueError,), is_json=True
)
