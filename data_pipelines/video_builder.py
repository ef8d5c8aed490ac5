"""What the video data sets have in common: ordered parallel generation, and writing without TensorFlow.

TFDS's own writer shuffles through TensorFlow's file API as soon as a split exceeds one gigabyte, which CLEVRER does.
This one appends to ArrayRecord shards in the order of the videos: constant memory, and the position of a record is the
position of its video.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core import example_serializer, naming

from data_pipelines import clips
from data_pipelines.datasets import CARD_FILENAME, INDEX_FILENAME, VERSION
from data_pipelines.parallel import ordered_map
from data_pipelines.progress import Progress
from data_pipelines.samples import Problem, Sample

VIDEOS_PER_SHARD = 256  # 400 MB of 128 frames of 64 x 64

Tasks = dict[str, list[Callable[[], Sample]]]  # by split, in order


def option(default: Any, description: str) -> Any:
    """A field of a builder config; the command line shows the description."""
    return dataclasses.field(default=default, metadata={"help": description})


class BuildOptions(NamedTuple):
    """How a data set is built; none of it changes what is built."""

    jobs: int = 1
    strict: bool = False  # the first problem is an error
    progress: bool = False


class VideoBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder of videos. Its configs have `height`, `width` and `source_stride`.

    Beside the records it writes the index that `datasets` describes.
    """

    VERSION = tfds.core.Version(VERSION)
    options = BuildOptions()

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict | None:
        """The card that building this config would write today; None where the videos come from raw files."""
        return None

    def _tasks(self, raw_dir: Path | None) -> Tasks:
        """What makes each video of each split. Tasks run in other processes."""
        raise NotImplementedError

    def _card(self, raw_dir: Path | None) -> dict | None:
        """The card of the simulator that made the videos, None for real ones."""
        return self.simulated_card(self.builder_config)

    def _split_generators(self, dl_manager):
        raw_dir = Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None
        tasks = self._tasks(raw_dir)
        card = self._card(raw_dir)
        if card is not None:
            (Path(self.data_dir) / CARD_FILENAME).write_text(json.dumps(card, indent=2) + "\n")
        self._problems: list[Problem] = []
        total = sum(map(len, tasks.values()))
        self._progress = Progress(self.name, total, "videos", self.options.progress)
        return {split: self._generate_examples(tasks[split]) for split in tasks}

    def _generate_examples(self, tasks) -> Iterator[tuple[int, dict[str, Any]]]:
        position = 0
        for sample in ordered_map(tasks, self.options.jobs):
            self._progress.advance()
            for problem in sample.problems:
                line = f"{problem.file}: {problem.reason}"
                if self.options.strict:
                    raise ValueError(line)
                self._progress.note(("skipped: " if problem.skipped else "incomplete: ") + line)
                self._problems.append(problem)
            if sample.example is not None:
                yield position, sample.example
                position += 1

    def _download_and_prepare(self, dl_manager, download_config) -> None:
        # self.data_dir is a temporary folder here, which TFDS gives its final name when this returns.
        index: dict[str, list[dict]] = {}
        split_infos = []
        generators = self._split_generators(dl_manager)
        try:
            for split, examples in generators.items():
                index[split] = []
                split_infos.append(self._write_split(split, examples, index[split]))
                if not index[split]:
                    raise ValueError(f"{self.name}: the split {split} has no usable video, nothing was kept")
        finally:
            for examples in generators.values():
                examples.close()
            self._progress.close()
        self.info.set_splits(tfds.core.splits.SplitDict(split_infos))
        config = self.builder_config
        content = {
            "height": config.height,
            "width": config.width,
            "source_stride": config.source_stride,
            "splits": index,
            "problems": self._problems,
        }
        (Path(self.data_dir) / INDEX_FILENAME).write_text(json.dumps(content) + "\n")

    def _write_split(self, split: str, examples, entries: list[dict]) -> tfds.core.SplitInfo:
        template = naming.ShardedFileTemplate(
            dataset_name=self.name,
            data_dir=self.data_path,
            split=split,
            filetype_suffix="array_record",
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
        )
        features = self.info.features
        serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
        shard_lengths, num_bytes, writer = [], 0, None
        try:
            for position, example in examples:
                if position % VIDEOS_PER_SHARD == 0:
                    if writer is not None:
                        writer.close()
                    path = template.sharded_filepath(shard_index=len(shard_lengths), num_shards=None)
                    writer = ArrayRecordWriter(str(path), "group_size:1")
                    shard_lengths.append(0)
                message = serializer.get_tf_example(features.encode_example(example))
                record = message.SerializeToString(deterministic=True)  # else its fields come in any order
                writer.write(record)
                shard_lengths[-1] += 1
                num_bytes += len(record)
                entries.append(index_entry(example))
        finally:
            if writer is not None:
                writer.close()
        return tfds.core.SplitInfo(
            name=split, shard_lengths=shard_lengths, num_bytes=num_bytes, filename_template=template
        )


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
