"""Where built data sets lie and what is in them.

Beside TFDS's records a data set holds for each of its splits `SPLIT.index.json`: what choosing clips needs to know of
each record, so that nobody has to read the videos for it, and what was wrong with the raw files. It is written last, so
that a split is there when its index is; a data set may have some of its splits only.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.home import expand_home
from data_pipelines.json_files import read_json

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
        ValueError: an index is damaged.
    """
    path = Path(dataset_dir)
    return {split: _read(index_path(path, split)) for split in _splits_there(path)}


def _read(path: Path) -> dict[str, Any]:
    index = read_json(path)
    if not isinstance(index, dict) or not isinstance(index.get("entries"), list):
        raise ValueError(f"{path}: is no index of a split, {_again(path.parent)}")
    return index


def _again(dataset_dir: Path) -> str:
    return f"damaged: remove {dataset_dir} and build it again, {build_command(dataset_dir)}"


def _splits_there(path: Path) -> tuple[str, ...]:
    splits = built_splits(path)
    if not splits:
        raise FileNotFoundError(f"{path} holds no data set; build it: {build_command(path)}")
    return splits


def read_index(dataset_dir: str | Path, split: str) -> dict[str, Any]:
    """Reads the index of one split, as `read_indices`.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: the data set has no such split, or its index is damaged.
    """
    path = Path(dataset_dir)
    splits = _splits_there(path)
    if split not in splits:
        raise ValueError(f"{path} has no split {split!r}; there are {', '.join(splits)}")
    return _read(index_path(path, split))


def dataset_summary(dataset_dir: str | Path, split: str | None = None) -> DatasetSummary:
    """Tells what there is in a data set without reading a video.

    Args:
        dataset_dir: its folder.
        split: tells of this one alone; what a program does with one split must not hang on which others are there.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: the data set has no such split, or is not of videos.
    """
    path = Path(dataset_dir)
    indices = read_indices(path) if split is None else {split: read_index(path, split)}
    entries = [entry for index in indices.values() for entry in index["entries"]]
    any_index = next(iter(indices.values()))
    if "height" not in any_index:
        raise ValueError(f"{path} holds no videos: {path.parent.parent.name} is a data set without pictures")
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
    """What the simulator was told that made the data of a folder; None for real ones.

    Raises:
        ValueError: the card is damaged.
    """
    card = Path(folder) / CARD_FILENAME
    return read_origin(card) if card.is_file() else None


def read_origin(path: Path) -> dict | None:
    """What a file says of where data come from: a simulator's card, or null for real ones.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is damaged.
    """
    content = read_json(path)
    if content is not None and not isinstance(content, dict):
        raise ValueError(f"{path}: is no card of a simulator")
    return content


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


class Records(Sequence):
    """The records of a split; one that cannot be read is said with its file and what to do.

    Raises:
        ValueError: the files of the data set are damaged or gone.
    """

    def __init__(self, dataset_dir: str | Path, split: str):
        import tensorflow_datasets as tfds  # half a second, and the paths above do not need it

        self._path, self._split = Path(dataset_dir), split
        with self._explained("cannot be opened"):
            # From the root: TFDS takes a folder called ~ for the home folder.
            builder = tfds.builder_from_directory(str(self._path.absolute()))
            self._source = builder.as_data_source(split)
            self._number = len(self._source)

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, position: int) -> dict[str, Any]:
        if not -self._number <= position < self._number:
            raise IndexError(position)
        with self._explained(f"record {position} cannot be read"):
            return self._source[position % self._number]

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:  # TFDS, ArrayRecord and protobuf each raise their own kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{self._path} ({self._split}): {what} ({reason:.200}), {_again(self._path)}"
            ) from error


def open_records(dataset_dir: str | Path, split: str) -> Records:
    """The records of a split that is there, for random access.

    Raises:
        ValueError: the files of the data set are damaged or gone.
    """
    return Records(dataset_dir, split)


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
