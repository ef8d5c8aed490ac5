"""Reading a built data set of questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.datasets import read_index


def open_questions(dataset_dir: str | Path, split: str) -> Sequence[dict[str, Any]]:
    """The questions of a split for random access, by the names of `example.question_features`, in the order of videos.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: the data set has no such split.
    """
    import tensorflow_datasets as tfds  # half a second

    path = Path(dataset_dir)
    splits = read_index(path)["splits"]
    if split not in splits:
        raise ValueError(f"{path} has no split {split!r}; there are {', '.join(splits)}")
    return tfds.builder_from_directory(str(path)).as_data_source(split)
