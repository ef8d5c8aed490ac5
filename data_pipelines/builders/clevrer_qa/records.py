"""Reading a built data set of questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.datasets import open_records, read_index


def open_questions(dataset_dir: str | Path, split: str) -> Sequence[dict[str, Any]]:
    """The questions of a split for random access, by the names of `example.question_features`, in the order of videos.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: the data set has no such split.
    """
    read_index(dataset_dir, split)
    return open_records(dataset_dir, split)
