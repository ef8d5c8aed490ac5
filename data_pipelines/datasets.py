"""Where built data sets lie and what is in them.

Beside TFDS's records a data set holds for each of its splits `SPLIT.index.json`: what choosing clips needs to know of
each record, so that nobody has to read the videos for it, and what was wrong with the raw files. It is written last, so
that a split is there when its index is; a data set may have some of its splits only.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.home import expand_home

VERSION = "2.0.0"  # of the form in which data sets are stored
CARD_FILENAME = "simulator.json"  # what the simulator was told; real data have none
_INDEX = ".index.json"
_ORDER = ("train", "validation", "test")


class DatasetSummary(NamedTuple):
    """What there is in a data set, or in one split of it."""

    path: Path
    name: str
    config: str
    version: str
    splits: dict[str, int]  # videos
    height: int  # pixels
    width: int  # pixels
    num_frames: int  # stored frames of the shortest video
    source_stride: int  # stored frame t is source frame t * source_stride
    num_objects: int  # of the video with most
    card: dict | None  # of the simulator, None for real videos


class Split(NamedTuple):
    """One split of a data set, open for reading."""

    records: Sequence[dict[str, Any]]  # by the names of `features.video_features`
    entries: list[dict[str, Any]]  # what the index knows of each record
    source_stride: int
    label: str  # for messages


def dataset_path(name: str, config: str, data_dir: str | Path) -> Path:
    """The folder of a data set, built or not; `data_dir` may begin with `~`.

    Raises:
        ValueError: there is no such home folder.
    """
    return Path(expand_home(str(data_dir))) / name / config / VERSION


def index_path(dataset_dir: Path, split: str) -> Path:
    """The index of a split."""
    return dataset_dir / f"{split}{_INDEX}"


def built_splits(dataset_dir: str | Path) -> tuple[str, ...]:
    """The splits of a data set that are there, complete; training first."""
    names = [path.name.removesuffix(_INDEX) for path in Path(dataset_dir).glob(f"[!.]*{_INDEX}")]
    return tuple(
        sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    )


def read_indices(dataset_dir: str | Path) -> dict[str, dict[str, Any]]:
    """Reads the index of each split that is there.

    Returns:
        By split: `entries`, what is known of each video, in order; `problems`, (file, reason, whether the video was
        left out); `shard_lengths` and `num_bytes` of the records; of videos `height`, `width` and `source_stride`.

    Raises:
        FileNotFoundError: the folder holds no data set.
    """
    path = Path(dataset_dir)
    return {split: json.loads(index_path(path, split).read_text()) for split in _splits_there(path)}


def _splits_there(path: Path) -> tuple[str, ...]:
    splits = built_splits(path)
    if not splits:
        raise FileNotFoundError(f"{path} holds no data set; build it: {build_command(path)}")
    return splits


def read_index(dataset_dir: str | Path, split: str) -> dict[str, Any]:
    """Reads the index of one split, as `read_indices`.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: the data set has no such split.
    """
    path = Path(dataset_dir)
    splits = _splits_there(path)
    if split not in splits:
        raise ValueError(f"{path} has no split {split!r}; there are {', '.join(splits)}")
    return json.loads(index_path(path, split).read_text())


def dataset_summary(dataset_dir: str | Path, split: str | None = None) -> DatasetSummary:
    """Tells what there is in a data set without reading a video.

    Args:
        dataset_dir: its folder.
        split: tells of this one alone; what a program does with one split must not hang on which others are there.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: the data set has no such split.
    """
    path = Path(dataset_dir)
    indices = read_indices(path) if split is None else {split: read_index(path, split)}
    entries = [entry for index in indices.values() for entry in index["entries"]]
    any_index = next(iter(indices.values()))
    return DatasetSummary(
        path=path,
        name=path.parent.parent.name,
        config=path.parent.name,
        version=path.name,
        splits={name: len(index["entries"]) for name, index in indices.items()},
        height=any_index["height"],
        width=any_index["width"],
        num_frames=min(entry["num_frames"] for entry in entries),
        source_stride=any_index["source_stride"],
        num_objects=max(entry["num_objects"] for entry in entries),
        card=read_card(path),
    )


def read_card(folder: str | Path) -> dict | None:
    """What the simulator was told that made the data of a folder; None for real ones."""
    card = Path(folder) / CARD_FILENAME
    return json.loads(card.read_text()) if card.is_file() else None


def check_card(folder: Path, present: dict | None, wanted: dict | None) -> None:
    """Refuses data that another simulator made, or from other settings, or of which only one side was simulated.

    Raises:
        ValueError: names what differs and what to do.
    """
    if present is None or wanted is None:
        different = [] if present == wanted else ["origin, for only one of the two is simulated,"]
    else:
        keys = ("simulator", "config", "options")
        different = [key for key in keys if present.get(key) != wanted.get(key)]
    if different:
        raise ValueError(
            f"{folder} was made by another release or from other files, with another {different[0]} than this one has "
            f"under the name {folder.parent.name}: remove the folder to make it again"
        )


def open_records(dataset_dir: str | Path, split: str) -> Sequence[dict[str, Any]]:
    """The records of a split that is there, for random access."""
    import tensorflow_datasets as tfds  # half a second, and the paths above do not need it

    return tfds.builder_from_directory(str(Path(dataset_dir).absolute())).as_data_source(split)


def open_split(dataset_dir: str | Path, split: str) -> Split:
    """Opens one split of videos for random access.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: the data set has no such split.
    """
    index = read_index(dataset_dir, split)
    records = open_records(dataset_dir, split)
    return Split(records, index["entries"], index["source_stride"], f"{dataset_dir} ({split})")


def build_command(dataset_dir: Path, *splits: str) -> str:
    """What makes a data set, or some splits of it."""
    # The folder is DATA_DIR/NAME/CONFIG/VERSION.
    data_dir, name, config = dataset_dir.parents[2], dataset_dir.parents[1].name, dataset_dir.parent.name
    wanted = "".join(f" --split={split}" for split in splits)
    raw_dir = "" if name.startswith("simulated") else " --raw_dir=FOLDER"
    return f"python -m data_pipelines.build {name}/{config}{wanted} --data_dir={data_dir}{raw_dir}"
