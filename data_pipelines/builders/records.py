"""What all data sets have in common: options that the command line shows, and writing without TensorFlow.

TFDS's own writers shuffle, or spread over machines with Beam, through TensorFlow's file API, and write the fields of a
record in any order. This one writes ArrayRecord files in the order of the examples, part by part (see `parts`):
constant memory, the position of a record is that of its example, and the same data are the same bytes.
"""

import abc
import contextlib
import dataclasses
import errno
import itertools
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, naming
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from data_pipelines.builders.parts import Incomplete, Indices, Part, Row
from data_pipelines.datasets import VERSION, built_splits
from data_pipelines.parallel import ordered_map
from data_pipelines.progress import Progress

Plan = dict[str, list[Part]]  # by split, in order


def option(default: Any, description: str) -> Any:
    """A field of a builder config; the command line shows the description."""
    return dataclasses.field(default=default, metadata={"help": description})


def option_values(config: tfds.core.BuilderConfig) -> dict[str, Any]:
    """The options of a config, by name."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if "help" in field.metadata
    }


class BuildOptions(NamedTuple):
    """How a data set is built; none of it changes what is built."""

    jobs: int = 1
    strict: bool = False  # the first problem is an error
    progress: bool = False
    shard: int = 0  # of the parts of the splits, every `num_shards`-th from this one on is made
    num_shards: int = 1


class RecordBuilder(FileReaderBuilder, skip_registration=True):
    """A TFDS builder. Beside the records it writes the indices that `datasets` describes, and a simulator's card."""

    VERSION = tfds.core.Version(VERSION)
    options = BuildOptions()

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict | None:
        """The card that building this config would write today; None where the data come from raw files."""
        return None

    @classmethod
    def simulated_splits(cls, config: tfds.core.BuilderConfig) -> tuple[str, ...]:
        """The splits that this config can have; none where raw files decide it."""
        return ()

    @abc.abstractmethod
    def _plan(self, raw_dir: Path | None, splits: Collection[str] | None) -> Plan:
        """The parts of each split; of those that are named, or of all that there can be."""

    @abc.abstractmethod
    def _rows(self, part: Part, results: Iterator[Any]) -> Iterator[Row]:
        """What a part holds, from the results of its tasks, all of which are taken."""

    @abc.abstractmethod
    def _index(self) -> dict[str, Any]:
        """What the index of a split holds beside its entries."""

    def _card(self, raw_dir: Path | None) -> dict | None:
        """The card of the simulator that made the data, None for real ones."""
        return self.simulated_card(self.builder_config)

    def make(
        self, dataset_dir: Path, raw_dir: Path | None = None, splits: Collection[str] | None = None
    ) -> dict[str, tuple[int, int]]:
        """Makes the parts that are missing, or of them what falls to this shard, and every split that is then whole.

        Args:
            dataset_dir: the folder of the data set.
            raw_dir: holds raw files.
            splits: None for all that there can be.

        Returns:
            of each split that lacks parts of other shards, how many are there and how many there will be.

        Raises:
            FileNotFoundError, ValueError: raw files are missing or unusable, there is no such split, or what is there
                was made otherwise.
            OSError: the disk is full, or a process was killed; the same command goes on.
        """
        plan = self._plan(raw_dir, splits)
        for split in splits or ():
            if split not in plan:
                where = "" if raw_dir is None else f" in {raw_dir}"
                raise ValueError(f"{self.name} has no split {split!r}{where}; there are {', '.join(plan)}")
        place = Incomplete(dataset_dir, self.name, self._card(raw_dir))
        done = built_splits(dataset_dir)
        plan = {split: plan[split] for split in splits or plan if split not in done}
        parts = [part for of_split in plan.values() for part in of_split]
        mine = parts[self.options.shard :: self.options.num_shards]
        with _explain_full_disk(dataset_dir):
            self._make_parts(place, [part for part in mine if not place.has(part)], plan)
            place.clear()
        missing = {split: sum(map(place.has, plan[split])) for split in plan}
        done = built_splits(dataset_dir)
        return {split: (there, len(plan[split])) for split, there in missing.items() if split not in done}

    def _make_parts(self, place: Incomplete, missing: list[Part], plan: Plan) -> None:
        serializer = example_serializer.ExampleSerializer(self.info.features.get_serialized_info())

        def serialize(example: dict[str, Any]) -> bytes:
            message = serializer.get_tf_example(self.info.features.encode_example(example))
            return message.SerializeToString(deterministic=True)  # else its fields come in any order

        tasks = [task for part in missing for task in part.tasks]
        progress = Progress(self.name, len(tasks), "videos", self.options.progress and bool(tasks))
        results = ordered_map(
            tasks, self.options.jobs
        )  # one for all parts: starting a process takes a second
        with contextlib.closing(results), contextlib.closing(progress):
            for part in missing:
                taken = _counted(itertools.islice(results, len(part.tasks)), progress)
                with self._unless_published(place, part.split):
                    place.write(part, self._checked(self._rows(part, taken), progress), serialize)
        for split, parts in plan.items():
            if all(map(place.has, parts)):
                with self._unless_published(place, split):
                    place.publish(parts, self._index(), lambda indices: self._write_info(place, indices))

    @contextlib.contextmanager
    def _unless_published(self, place: Incomplete, split: str) -> Iterator[None]:
        """Another process may have made the whole split meanwhile, and removed what it was made from."""
        try:
            yield
        except FileNotFoundError:
            if split not in built_splits(place.dataset_dir):
                raise

    def _checked(self, rows: Iterator[Row], progress: Progress) -> Iterator[Row]:
        for row in rows:
            for problem in row.problems:
                line = f"{problem.file}: {problem.reason}"
                if self.options.strict:
                    raise ValueError(line)
                progress.note(("skipped: " if problem.skipped else "incomplete: ") + line)
            yield row

    def _write_info(self, place: Incomplete, indices: Indices) -> None:
        """Writes TFDS's own files for a data set with some splits, each whole."""
        infos = []
        for split in sorted(indices, key=lambda name: (name != "train", name != "validation", name)):
            template = naming.ShardedFileTemplate(
                dataset_name=self.name,
                data_dir=place.dataset_dir,
                split=split,
                filetype_suffix="array_record",
                template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
            )
            lengths, size = indices[split]["shard_lengths"], indices[split]["num_bytes"]
            infos.append(
                tfds.core.SplitInfo(
                    name=split, shard_lengths=lengths, num_bytes=size, filename_template=template
                )
            )
        self.info.set_splits(tfds.core.splits.SplitDict(infos))
        with tempfile.TemporaryDirectory(prefix="incomplete.info.", dir=place.dataset_dir.parent) as folder:
            self.info.write_to_directory(folder)
            for path in sorted(
                Path(folder).iterdir(), reverse=True
            ):  # dataset_info.json, which names all, comes last
                os.replace(path, place.dataset_dir / path.name)

    def _download_and_prepare(self, dl_manager, download_config) -> None:
        # TFDS's own way here; self.data_dir is a temporary folder, which gets its name when this returns.
        raw_dir = Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None
        self.make(Path(self.data_dir), raw_dir)


def _counted(results: Iterator[Any], progress: Progress) -> Iterator[Any]:
    for result in results:
        progress.advance()
        yield result


@contextlib.contextmanager
def _explain_full_disk(dataset_dir: Path) -> Iterator[None]:
    """Names the folder and what to do when its disk runs full: the system's own message does not."""
    try:
        yield
    except OSError as error:
        written = str(error).startswith("records cannot be written")
        if not written and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"{dataset_dir}: the disk is full, or cannot be written ({error}): make room and give the same command "
            "again; what is whole is kept"
        ) from error
