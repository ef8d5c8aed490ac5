"""What the data sets of videos have in common: made in order by several processes, with an index for choosing clips."""

import abc
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines import clips
from data_pipelines.builders.records import RecordBuilder
from data_pipelines.parallel import ordered_map
from data_pipelines.progress import Progress
from data_pipelines.samples import Problem, Sample

Tasks = dict[str, list[Callable[[], Sample]]]  # by split, in order


class VideoBuilder(RecordBuilder, skip_registration=True):
    """A TFDS builder of videos. Its configs have `height`, `width` and `source_stride`."""

    RECORDS_PER_SHARD = 256  # 400 MB of 128 frames of 64 x 64

    @abc.abstractmethod
    def _tasks(self, raw_dir: Path | None) -> Tasks:
        """What makes each video of each split. Tasks run in other processes."""

    def _card(self, raw_dir: Path | None) -> dict | None:
        """The card of the simulator that made the videos, None for real ones."""
        return self.simulated_card(self.builder_config)

    def _split_generators(self, dl_manager):
        raw_dir = self._raw_dir(dl_manager)
        tasks = self._tasks(raw_dir)
        self._write_card(self._card(raw_dir))
        self._problems: list[Problem] = []
        self._entries: dict[str, list[dict]] = {split: [] for split in tasks}
        progress = Progress(self.name, sum(map(len, tasks.values())), "videos", self.options.progress)
        self._progress = self._open.enter_context(contextlib.closing(progress))
        return {split: self._generate_examples(split, tasks[split]) for split in tasks}

    def _generate_examples(self, split, tasks) -> Iterator[tuple[int, dict[str, Any]]]:
        entries = self._entries[split]
        for sample in ordered_map(tasks, self.options.jobs):
            self._progress.advance()
            for problem in sample.problems:
                line = f"{problem.file}: {problem.reason}"
                if self.options.strict:
                    raise ValueError(line)
                self._progress.note(("skipped: " if problem.skipped else "incomplete: ") + line)
                self._problems.append(problem)
            if sample.example is not None:
                yield len(entries), sample.example
                entries.append(index_entry(sample.example))
        if not entries:
            raise ValueError(f"{self.name}: the split {split} has no usable video, nothing was kept")

    def _index(self) -> dict[str, Any]:
        config = self.builder_config
        return {
            "height": config.height,
            "width": config.width,
            "source_stride": config.source_stride,
            "splits": self._entries,
            "problems": self._problems,
        }


def index_entry(example: dict[str, Any]) -> dict[str, Any]:
    """Which video a record is, and what choosing clips needs to know of it, in stored frames."""
    inside = np.asarray(example["inside_camera_view"])
    return {
        "scene_index": int(example["scene_index"]),
        "num_frames": len(example["video"]),
        "num_objects": inside.shape[1],
        "collision_frames": [int(frame) for frame in example["collisions"]["frame_id"]],
        "all_visible": clips.all_visible_window(inside),
    }
