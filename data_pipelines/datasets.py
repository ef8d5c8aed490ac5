"""Where built data sets lie and what is in them.

Beside TFDS's records a data set holds `index.json`: what choosing clips needs to know of each record, so that nobody
has to read the videos for it, and what was wrong with the raw files. It is written last.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

VERSION = "1.0.0"  # of the form in which videos are stored
INDEX_FILENAME = "index.json"
CARD_FILENAME = "simulator.json"  # what the simulator was told; real data have none


class DatasetSummary(NamedTuple):
    """What there is in a data set."""

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
    """The folder of a data set, built or not."""
    return Path(data_dir) / name / config / VERSION


def is_built(name: str, config: str, data_dir: str | Path) -> bool:
    """Whether a data set is there, complete."""
    return (dataset_path(name, config, data_dir) / INDEX_FILENAME).is_file()


def read_index(dataset_dir: str | Path) -> dict[str, Any]:
    """Reads the index of a data set.

    Raises:
        FileNotFoundError: the folder holds no data set.
    """
    path = Path(dataset_dir)
    try:
        return json.loads((path / INDEX_FILENAME).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path} holds no data set; build it: {_build_command(path)}") from None


def dataset_summary(dataset_dir: str | Path) -> DatasetSummary:
    """Tells what there is in a data set without reading a video.

    Raises:
        FileNotFoundError: the folder holds no data set.
    """
    path = Path(dataset_dir)
    index = read_index(path)
    entries = [entry for split in index["splits"].values() for entry in split]
    card = path / CARD_FILENAME
    return DatasetSummary(
        path=path,
        name=path.parent.parent.name,
        config=path.parent.name,
        version=path.name,
        splits={split: len(of_split) for split, of_split in index["splits"].items()},
        height=index["height"],
        width=index["width"],
        num_frames=min(entry["num_frames"] for entry in entries),
        source_stride=index["source_stride"],
        num_objects=max(entry["num_objects"] for entry in entries),
        card=json.loads(card.read_text()) if card.is_file() else None,
    )


def open_split(dataset_dir: str | Path, split: str) -> Split:
    """Opens one split for random access.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: the data set has no such split.
    """
    import tensorflow_datasets as tfds  # half a second, and the paths above do not need it

    path = Path(dataset_dir)
    index = read_index(path)
    if split not in index["splits"]:
        raise ValueError(f"{path} has no split {split!r}; there are {', '.join(index['splits'])}")
    records = tfds.builder_from_directory(str(path)).as_data_source(split)
    return Split(records, index["splits"][split], index["source_stride"], f"{path} ({split})")


def _build_command(path: Path) -> str:
    # The folder is DATA_DIR/NAME/CONFIG/VERSION.
    data_dir, name, config = path.parent.parent.parent, path.parent.parent.name, path.parent.name
    raw_dir = "" if name.startswith("simulated") else " --raw_dir=FOLDER"
    return f"python -m data_pipelines.build {name}/{config} --data_dir={data_dir}{raw_dir}"
