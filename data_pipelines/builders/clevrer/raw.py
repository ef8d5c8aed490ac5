"""The files of CLEVRER as people unzip them, and one video of them as a sample."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.annotations import (
    NUM_FRAMES,
    Annotation,
    Segmentation,
    read_annotation,
    read_segmentation,
    without_annotation,
)
from data_pipelines.raw_files import find_files, note_file
from data_pipelines.samples import Problem, Sample
from data_pipelines.video import read_video

# Indices count over the whole data set, so a file's number tells its split.
SPLITS = {"train": range(0, 10000), "validation": range(10000, 15000), "test": range(15000, 20000)}
_FILENAME = re.compile(r"(video(?=.*mp4)|annotation(?=.*json)|proposal(?=.*json))_(\d{5})\.(?:mp4|json)")


class RawVideo(NamedTuple):
    """The files of one video, None where there is none, and what is wrong with that."""

    index: int
    video: Path | None
    annotation: Path | None
    proposal: Path | None
    problems: tuple[Problem, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that there are."""
        return tuple(filter(None, (self.video, self.annotation, self.proposal)))


def find_videos(raw_dir: Path) -> dict[str, list[RawVideo]]:
    """Finds CLEVRER's files below a folder by their names alone, however deep they lie: by split, in index order.

    People unzip the archives into folders of many names ("val" and "validation" among them), so the split comes from
    the index. A split without any video is left out. What a split lacks as a whole, all annotations (which CLEVRER
    does not publish of the test split) or all proposals, is a problem of its first video; so is, of the first split, a
    split of which there are annotations alone.

    Raises:
        OSError: there is no such folder, no CLEVRER video below it, or a folder that may not be read.
        ValueError: a file name occurs twice.
    """
    files: dict[str, dict[int, Path]] = {"video": {}, "annotation": {}, "proposal": {}}
    for path in find_files(raw_dir):
        if match := _FILENAME.fullmatch(path.name):
            note_file(files[match[1]], int(match[2]), path)
    if not files["video"]:
        raise FileNotFoundError(
            f"{raw_dir} holds no CLEVRER videos (video_00000.mp4 and so on, in any subfolder): "
            "unzip video_train.zip, video_validation.zip and their like there"
        )
    videos, left_out = {}, []
    for split, indices in SPLITS.items():
        of_split = {kind: _within(found, indices) for kind, found in files.items()}
        if of_split["video"]:
            videos[split] = _raw_videos(split, of_split)
        elif of_split["annotation"]:
            reason = f"{split} has none, though it has annotations: the split is left out"
            left_out.append(Problem("video_*.mp4", reason, True))
    first = next(iter(videos.values()))
    first[0] = first[0]._replace(problems=(*left_out, *first[0].problems))
    return videos


def _within(files: dict[int, Path], indices: range) -> dict[int, Path]:
    return {index: path for index, path in files.items() if index in indices}


def _raw_videos(split: str, files: dict[str, dict[int, Path]]) -> list[RawVideo]:
    videos, of_all = [], []
    if not files["annotation"] and split != "test":
        of_all.append(
            Problem("annotation_*.json", f"{split} has none: no objects, positions, collisions", False)
        )
    if not files["proposal"]:
        of_all.append(Problem("proposal_*.json", f"{split} has none: no video has masks", False))
    for index in sorted(files["video"].keys() | files["annotation"].keys()):
        problems = [] if videos else of_all
        if index not in files["video"]:
            problems.append(Problem(f"video_{index:05d}.mp4", "no such file below the raw folder", True))
        elif files["annotation"] and index not in files["annotation"]:
            problems.append(
                Problem(f"annotation_{index:05d}.json", "no such file below the raw folder", True)
            )
        elif files["proposal"] and index not in files["proposal"]:
            reason = "no such file below the raw folder, the video has no masks"
            problems.append(Problem(f"proposal_{index:05d}.json", reason, False))
        videos.append(RawVideo(index, *(found.get(index) for found in files.values()), tuple(problems)))
    return videos


def read_sample(raw: RawVideo, height: int, width: int, crop: bool) -> Sample:
    """Reads one video with what there is about it; a damaged file leaves the video out.

    Args:
        raw: its files.
        height: rows of a frame, in pixels.
        width: columns of a frame, in pixels.
        crop: the centre square of each frame is taken.
    """
    problems = raw.problems
    if any(problem.skipped for problem in problems):
        return Sample(None, problems)
    try:
        truth = None if raw.annotation is None else read_annotation(raw.annotation)
        if truth is not None and truth.scene_index != raw.index:
            raise ValueError(f"{raw.annotation}: its scene_index is {truth.scene_index}")
        segmentation = Segmentation(
            np.zeros((NUM_FRAMES, height, width), np.uint8), np.zeros(NUM_FRAMES, bool)
        )
        if raw.proposal is not None:
            labels = {} if truth is None else dict(zip(truth.attributes, (truth.object_id + 1).tolist()))
            segmentation = read_segmentation(raw.proposal, NUM_FRAMES, height, width, crop, labels)
            if not segmentation.known.all():
                reason = f"masks for {segmentation.known.sum()} of {NUM_FRAMES} frames, the others are marked unknown"
                problems += (Problem(str(raw.proposal), reason, False),)
        frames = read_video(raw.video, height, width, crop)
        if len(frames) != NUM_FRAMES:
            raise ValueError(f"{raw.video}: {len(frames)} frames instead of {NUM_FRAMES}")
    except (OSError, ValueError) as error:
        file, _, reason = str(error).partition(": ")
        return Sample(None, (*raw.problems, Problem(file, reason, True)))
    return Sample(_example(raw, frames, truth, segmentation), problems)


def _example(raw: RawVideo, frames: np.ndarray, truth: Annotation | None, segmentation: Segmentation) -> dict:
    if truth is None:
        truth = without_annotation(NUM_FRAMES)
    color, material, shape = zip(*truth.attributes) if truth.attributes else ((), (), ())
    # CLEVRER publishes no camera, hence no positions in the image.
    unknown = np.full((NUM_FRAMES, len(truth.object_id), 2), np.nan, np.float32)
    return {
        "scene_index": raw.index,
        "video_filename": raw.video.name,
        "source_stride": 1,
        "video": frames,
        "segmentation": segmentation.labels,
        "segmented_frames": segmentation.known,
        "has_segmentation": bool(segmentation.known.any()),
        "objects": {
            "object_id": list(truth.object_id),
            "color": list(color),
            "material": list(material),
            "shape": list(shape),
        },
        "location": truth.location,
        "velocity": truth.velocity,
        "inside_camera_view": truth.inside_camera_view,
        "image_position": unknown,
        "image_velocity": unknown,
        "collisions": {
            "frame_id": list(truth.collision_frame),
            "object_ids": list(truth.collision_object_ids),
            "location": list(truth.collision_location),
        },
    }
