"""What the data sets of videos have in common: made in order by several processes, with an index for choosing clips."""

import abc
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import clips
from data_pipelines.builders.parts import Part, Row
from data_pipelines.builders.records import Plan, RecordBuilder
from data_pipelines.samples import Sample

# Of 32 frames of 64 x 64 some 3 MB. What a killed build loses at most, and what several machines divide.
VIDEOS_PER_PART = 128


class VideoTask(NamedTuple):
    """What makes one video."""

    make: Callable[[], Sample]  # runs in another process
    sources: tuple[Path, ...] = ()  # raw files


Tasks = dict[str, Sequence[VideoTask]]  # by split, in order


class VideoBuilder(RecordBuilder, skip_registration=True):
    """A TFDS builder of videos. Its configs have `height`, `width` and `source_stride`."""

    @abc.abstractmethod
    def _tasks(self, raw_dir: Path | None) -> Tasks:
        """What makes each video of each split."""

    def _plan(self, raw_dir: Path | None, splits: Collection[str] | None) -> Plan:
        return {split: list(_parts(split, tasks)) for split, tasks in self._tasks(raw_dir).items()}

    def _rows(self, part: Part, results: Iterator[Sample]) -> Iterator[Row]:
        for sample in results:
            entry = None if sample.example is None else index_entry(sample.example)
            yield Row(sample.example, entry, sample.problems)

    def _index(self) -> dict[str, Any]:
        config = self.builder_config
        return {"height": config.height, "width": config.width, "source_stride": config.source_stride}


def _parts(split: str, tasks: Sequence[VideoTask]) -> Iterator[Part]:
    for number, start in enumerate(range(0, len(tasks), VIDEOS_PER_PART)):
        share = tasks[start : start + VIDEOS_PER_PART]
        sources = tuple(source for task in share for source in task.sources)
        yield Part(split, number, tuple(task.make for task in share), sources)


def index_entry(example: dict[str, Any]) -> dict[str, Any]:
    """Which video a record is, and what choosing clips needs to know of it, in stored frames."""
    inside = np.asarray(example["inside_camera_view"])
    return {
        "scene_index": int(example["scene_index"]),
        "num_frames": len(inside),
        "num_objects": inside.shape[1],
        "collision_frames": [int(frame) for frame in example["collisions"]["frame_id"]],
        "all_visible": clips.all_visible_window(inside),
    }
