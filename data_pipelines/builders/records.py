"""What all data sets have in common: options that the command line shows, and writing without TensorFlow.

TFDS's own writer shuffles through TensorFlow's file API as soon as a split exceeds one gigabyte, which CLEVRER does,
and writes the fields of a record in any order. This one appends to ArrayRecord shards in the order of the examples:
constant memory, the position of a record is that of its example, and the same data are the same bytes.
"""

import abc
import contextlib
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core import example_serializer, naming

from data_pipelines.datasets import CARD_FILENAME, INDEX_FILENAME, VERSION


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


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder. Beside the records it writes the index that `datasets` describes, and a simulator's card."""

    VERSION = tfds.core.Version(VERSION)
    RECORDS_PER_SHARD: int
    options = BuildOptions()

    @classmethod
    def simulated_card(cls, config: tfds.core.BuilderConfig) -> dict | None:
        """The card that building this config would write today; None where the data come from raw files."""
        return None

    @abc.abstractmethod
    def _index(self) -> dict[str, Any]:
        """What the index holds, when all records are written."""

    def _raw_dir(self, dl_manager) -> Path | None:
        return Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None

    def _write_card(self, card: dict | None) -> None:
        # What a simulator made must never pass for the real data.
        if card is not None:
            (Path(self.data_dir) / CARD_FILENAME).write_text(json.dumps(card, indent=2) + "\n")

    def _download_and_prepare(self, dl_manager, download_config) -> None:
        # self.data_dir is a temporary folder here, which TFDS gives its final name when this returns.
        with contextlib.ExitStack() as self._open:  # closed in the end, whatever happens
            generators = self._split_generators(dl_manager)
            for examples in generators.values():
                self._open.callback(examples.close)
            split_infos = [self._write_split(split, examples) for split, examples in generators.items()]
        self.info.set_splits(tfds.core.splits.SplitDict(split_infos))
        (Path(self.data_dir) / INDEX_FILENAME).write_text(json.dumps(self._index()) + "\n")

    def _write_split(self, split: str, examples: Iterable[tuple[int, Any]]) -> tfds.core.SplitInfo:
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
                if position % self.RECORDS_PER_SHARD == 0:
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
        finally:
            if writer is not None:
                writer.close()
        return tfds.core.SplitInfo(
            name=split, shard_lengths=shard_lengths, num_bytes=num_bytes, filename_template=template
        )
