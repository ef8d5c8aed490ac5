"""A split comes about in parts, which any process on any machine makes; what is made is kept until the split is whole.

While it is incomplete it lies in `incomplete.VERSION`, beside the place of the data set:

  origin.json        what makes all of this: the simulator's card, null for real data
  train-00003        the records of a part
  train-00003.json   written after them: that the part is whole, and what the index will say of it

When all parts are there their records move to the data set, whose index of the split comes last. Every file appears
whole, and making a part or publishing a split again gives the same bytes. So nobody has to know of the others: a part
that was lost is made by whoever comes next, and two who make the same one do no harm.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from array_record.python.array_record_module import ArrayRecordWriter

from data_pipelines.datasets import (
    CARD_FILENAME,
    built_splits,
    check_card,
    index_path,
    read_card,
    read_indices,
    read_origin,
)
from data_pipelines.json_files import read_json
from data_pipelines.samples import Problem
from data_pipelines.whole_files import whole_file

ORIGIN = "origin.json"
Indices = dict[str, dict[str, Any]]  # as `datasets.read_indices`


class Part(NamedTuple):
    """A share of a split, one file of records."""

    split: str
    number: int  # within its split
    tasks: Sequence[Callable[[], Any]] = ()  # what other processes do for it
    sources: Sequence[Path] = ()  # the raw files that it is made from


class Row(NamedTuple):
    """What a builder makes of a part, one after the other: a record, an entry of the index, or both."""

    example: dict[str, Any] | None = None  # by the names of the features
    entry: dict[str, Any] | None = None
    problems: tuple[Problem, ...] = ()


class Incomplete:
    """The parts of a data set that are there, and the way from them to the data set.

    Args:
        dataset_dir: the folder of the data set.
        name: of the data set.
        card: of the simulator that makes it, None for real data.

    Raises:
        ValueError: the data set, or parts of it, are there with another card.
    """

    def __init__(self, dataset_dir: Path, name: str, card: dict | None):
        self.dataset_dir, self.name, self.card = dataset_dir, name, card
        self.folder = dataset_dir.with_name(f"incomplete.{dataset_dir.name}")
        if built_splits(dataset_dir):
            check_card(dataset_dir, read_card(dataset_dir), card)
        with contextlib.suppress(FileNotFoundError):
            check_card(self.folder, read_origin(self.folder / ORIGIN), card)

    def has(self, part: Part) -> bool:
        """Whether a part is there, whole, and made from the raw files as they are now."""
        try:
            facts = read_json(self._facts(part))
        except (FileNotFoundError, ValueError):  # damaged is as good as lost
            return False
        moved = self._published(part.split, part.number)  # by a publication that was cut short
        return (
            isinstance(facts, dict)
            and facts.get("made_from") == _fingerprint(part)
            and (self._records(part).is_file() or moved.is_file())
        )

    def write(self, part: Part, rows: Iterable[Row], serialize: Callable[[dict[str, Any]], bytes]) -> None:
        """Writes a part, record by record, whole or not at all.

        Raises:
            OSError: the disk is full.
        """
        made_from = _fingerprint(part)
        entries, problems, lengths = [], [], []
        if not (self.folder / ORIGIN).is_file():
            write_json(self.folder / ORIGIN, self.card)
        with whole_file(self._records(part)) as partial, _open_writer(partial) as writer:
            for row in rows:
                problems += row.problems
                if row.example is not None:
                    record = serialize(row.example)
                    writer.write(record)
                    lengths.append(len(record))
                if row.entry is not None:
                    entries.append(row.entry)
        facts = {"made_from": made_from, "num_records": len(lengths), "num_bytes": sum(lengths)}
        write_json(self._facts(part), facts | {"entries": entries, "problems": problems})

    def publish(
        self, parts: Sequence[Part], index: dict[str, Any], write_info: Callable[[Indices], None]
    ) -> None:
        """Makes a split of all its parts, which are there.

        Args:
            parts: of the split.
            index: what its index says beside the entries.
            write_info: writes TFDS's own files for all splits with the indices that it is given.

        Raises:
            ValueError: the split is empty, or shares videos with another one.
            FileNotFoundError: a part is gone, for another process has published the split meanwhile.
        """
        split = parts[0].split
        facts = [read_json(self._facts(part)) for part in parts]
        index = index | {
            "shard_lengths": [of_part["num_records"] for of_part in facts],
            "num_bytes": sum(of_part["num_bytes"] for of_part in facts),
            "problems": [problem for of_part in facts for problem in of_part["problems"]],
            "entries": [entry for of_part in facts for entry in of_part["entries"]],
        }
        if not sum(index["shard_lengths"]):
            self._remove(split)
            raise ValueError(f"{self.name}: the split {split} has no usable video, nothing was kept")
        written = {other: held for other, held in self._indices().items() if other != split} | {split: index}
        self._check_apart(written, split)
        self._move(parts)
        if self.card is not None:
            # What a simulator made must never pass for the real data.
            write_json(self.dataset_dir / CARD_FILENAME, self.card, indent=2)
        write_info(written)
        write_json(index_path(self.dataset_dir, split), index)
        # Another process may have published another split at the same moment; the last one to write writes all.
        while (present := self._indices()).keys() != written.keys():
            written = present
            write_info(written)
        self.clear()

    def clear(self) -> None:
        """Removes what is left of the making of splits that are there."""
        for split in built_splits(self.dataset_dir):
            self._remove(split)
        with contextlib.suppress(OSError):  # gone already, or other splits are coming about
            if [path.name for path in self.folder.iterdir()] == [ORIGIN]:
                (self.folder / ORIGIN).unlink()
            self.folder.rmdir()

    def _move(self, parts: Sequence[Part]) -> None:
        self.dataset_dir.mkdir(parents=True, exist_ok=True)
        for part in parts:
            target = self._published(part.split, part.number)
            try:
                os.replace(self._records(part), target)
            except FileNotFoundError:
                if not target.is_file():  # moved by a process that did not come to the end
                    raise
        for file in self.dataset_dir.glob(f"{self.name}-{part.split}.array_record-*"):
            if int(file.name.rpartition("-")[2]) >= len(parts):  # of a publication of more that was cut short
                file.unlink(missing_ok=True)

    def _remove(self, split: str) -> None:
        ours = re.compile(rf"\.?{re.escape(split)}-\d{{5}}(\..*)?")
        for file in self.folder.glob("*"):
            if ours.fullmatch(file.name):
                file.unlink(missing_ok=True)

    def _check_apart(self, indices: Indices, split: str) -> None:
        scenes = {entry["scene_index"] for entry in indices[split]["entries"]}
        for other, index in indices.items():
            both = scenes.intersection(entry["scene_index"] for entry in index["entries"])
            if both and other != split:
                raise ValueError(
                    f"video {min(both)} would be in {split} and is in {other}: the raw files have changed since that "
                    f"was built, remove {self.dataset_dir}"
                )

    def _indices(self) -> Indices:
        return read_indices(self.dataset_dir) if built_splits(self.dataset_dir) else {}

    def _records(self, part: Part) -> Path:
        return self.folder / f"{part.split}-{part.number:05d}"

    def _facts(self, part: Part) -> Path:
        return self.folder / f"{part.split}-{part.number:05d}.json"

    def _published(self, split: str, number: int) -> Path:
        return self.dataset_dir / f"{self.name}-{split}.array_record-{number:05d}"


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Writes a JSON file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=indent) + "\n")


@contextlib.contextmanager
def _open_writer(path: Path):
    writer = ArrayRecordWriter(str(path), "group_size:1")
    try:
        yield writer
    finally:
        try:
            writer.close()
        except RuntimeError as error:  # all that it knows; a full disk is first noticed here
            raise OSError(f"records cannot be written ({str(error).strip().splitlines()[0]})") from error


def _fingerprint(part: Part) -> str:
    """What a part is made from: how many videos, and its raw files by name and size, wherever they lie."""
    files = [(file.name, file.stat().st_size if file.is_file() else None) for file in part.sources]
    return hashlib.sha256(json.dumps([len(part.tasks), files]).encode()).hexdigest()
