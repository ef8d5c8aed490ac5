"""The files of the real block towers as people unzip them, and one video of them as a sample.

Source: three independent readers of the data of Lerer, Gross and Fergus (2016), which has no description of its own.
"""

import hashlib
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.annotations import sample_centres
from data_pipelines.builders.block_towers.example import UNKNOWN_COLOR, tower_example
from data_pipelines.builders.block_towers.strips import (
    MAX_BLOCKS,
    read_block_numbers,
    read_pictures,
    resize_by_area,
)
from data_pipelines.raw_files import find_files, note_file
from data_pipelines.samples import Problem, Sample

TABLE = "real.txt"
COLORS = ("red", "yellow", "green", "blue")  # colour ids 1 to 4; that order is our assumption
FIRST_COLOR_COLUMN, COLUMNS_WITH_COLORS = 14, 19
PAPER_VIDEOS, PAPER_TEST_VIDEOS = 493, 100
_FILENAME = re.compile(r"(img_concat|mask_order)_([1-9]\d*)\.png")


class RawTower(NamedTuple):
    """The files and the table row of one video, None where there is none, and what is wrong with that."""

    index: int
    pictures: Path | None
    masks: Path | None
    row: tuple[str, ...] | None
    problems: tuple[Problem, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that there are, beside the table."""
        return tuple(filter(None, (self.pictures, self.masks)))


def find_table(raw_dir: Path) -> Path:
    """The table of labels, anywhere below a folder.

    Raises:
        OSError: there is no table, or a folder may not be read.
        ValueError: there are two.
    """
    tables: dict[str, Path] = {}
    for path in find_files(raw_dir):
        if path.name == TABLE:
            note_file(tables, TABLE, path)
    if not tables:
        raise FileNotFoundError(
            f"{raw_dir} holds no {TABLE}: unzip the real block towers there, in any subfolder "
            f"({TABLE}, img_concat_1.png, mask_order_1.png and so on)"
        )
    return tables[TABLE]


def find_towers(raw_dir: Path) -> list[RawTower]:
    """Finds the strips below a folder by their names alone, however deep they lie, in the order of their numbers.

    That there are no masks at all is a problem of the first usable video.

    Raises:
        OSError: there is no table, no strip of pictures, or a folder that may not be read.
        ValueError: a file name occurs twice, or the table is none.
    """
    rows = _read_table(find_table(raw_dir))
    files: dict[str, dict[int, Path]] = {"img_concat": {}, "mask_order": {}}
    for path in find_files(raw_dir):
        if match := _FILENAME.fullmatch(path.name):
            note_file(files[match[1]], int(match[2]), path)
    pictures, masks = files["img_concat"], files["mask_order"]
    if not pictures:
        raise FileNotFoundError(
            f"{raw_dir} holds no strips of pictures (img_concat_1.png and so on, in any subfolder)"
        )
    towers = []
    for index in sorted(pictures.keys() | rows.keys()):
        problems = []
        if index not in pictures:
            problems.append(Problem(f"img_concat_{index}.png", "no such file below the raw folder", True))
        elif index not in rows:
            problems.append(Problem(TABLE, f"has no row of video {index}", True))
        elif masks and index not in masks:
            reason = "no such file below the raw folder, the video has no masks"
            problems.append(Problem(f"mask_order_{index}.png", reason, False))
        towers.append(
            RawTower(index, pictures.get(index), masks.get(index), rows.get(index), tuple(problems))
        )
    if not masks:
        reason = "there are none below the raw folder: no video has masks"
        _add_to_first_usable(towers, Problem("mask_order_*.png", reason, False))
    return towers


def _add_to_first_usable(towers: list[RawTower], problem: Problem) -> None:
    for place, tower in enumerate(towers):
        if not any(other.skipped for other in tower.problems):
            towers[place] = tower._replace(problems=(*tower.problems, problem))
            return


def choose_test_videos(indices: Collection[int], seed: int) -> set[int]:
    """Draws the test split: 100 of 493 videos, or as many in proportion, round(n * 100 / 493) and at least one.

    The videos of the smallest SHA-256 of "seed/number" are drawn: no generator whose stream a later version may
    change, and a video more or less moves few others.

    Source: paper section 4.1, 393 videos drawn for training and 100 for testing; which ones was not published.

    Raises:
        ValueError: fewer than two videos cannot be split.
    """
    if len(indices) < 2:
        raise ValueError(f"{len(indices)} usable videos are too few, a training and a test split need 2")
    number = max(1, round(len(indices) * PAPER_TEST_VIDEOS / PAPER_VIDEOS))
    drawn = sorted(indices, key=lambda index: hashlib.sha256(f"{seed}/{index}".encode()).digest())
    return set(drawn[:number])


def read_sample(raw: RawTower, height: int, width: int, stride: int) -> Sample:
    """Reads one video. Damaged pictures or labels leave it out; it is kept without masks where those are damaged.

    Args:
        raw: its files.
        height: rows of a frame, in pixels.
        width: columns of a frame, in pixels.
        stride: stored frame t is frame t * stride of the strip.
    """
    problems = raw.problems
    if any(problem.skipped for problem in problems):
        return Sample(None, problems)
    try:
        colors, fall = _parse_row(raw.row)
    except ValueError as error:
        return Sample(None, (*problems, Problem(TABLE, f"row of video {raw.index}: {error}", True)))
    try:
        pictures = read_pictures(raw.pictures)
    except ValueError as error:
        return Sample(None, (*problems, _problem(error, skipped=True)))
    numbers = np.zeros(pictures.shape[:3], np.uint8)
    if raw.masks is not None:
        try:
            numbers = _matching_numbers(raw.masks, numbers.shape, colors)
        except ValueError as error:
            problems += (_problem(error, skipped=False),)
    pictures, numbers = pictures[::stride], numbers[::stride]
    known = numbers.any(axis=(1, 2))  # some block is always in the picture
    if known.any() and not known.all():
        reason = f"masks for {known.sum()} of {len(known)} stored frames, the others are marked unknown"
        problems += (Problem(str(raw.masks), reason, False),)
    if colors is None:
        colors = (UNKNOWN_COLOR,) * int(numbers.max())
    shown = [(numbers == block).any(axis=(1, 2)) for block in range(1, len(colors) + 1)]
    visible = np.array(shown, bool).reshape(len(colors), len(numbers)).T | ~known[:, None]
    cells = np.ix_(*(sample_centres(numbers.shape[1], samples) for samples in (height, width)))
    example = tower_example(
        scene_index=raw.index,
        video_filename=raw.pictures.name,
        source_stride=stride,
        video=resize_by_area(pictures, height, width),
        segmentation=np.stack([frame[cells] for frame in numbers]),
        segmented_frames=known,
        colors=colors,
        inside_camera_view=visible,
        fall=fall,
    )
    return Sample(example, problems)


def _problem(error: ValueError, skipped: bool) -> Problem:
    file, _, reason = str(error).partition(": ")
    return Problem(file, reason, skipped)


def _matching_numbers(path: Path, shape: tuple[int, ...], colors: tuple[str, ...] | None) -> np.ndarray:
    numbers = read_block_numbers(path)
    if numbers.shape != shape:
        (t, s, _), (frames, side, _) = numbers.shape, shape
        raise ValueError(f"{path}: {t} frames of {s} x {s}, the pictures are {frames} of {side} x {side}")
    if not numbers.any():
        raise ValueError(f"{path}: shows no block")
    if colors is not None and numbers.max() > len(colors):
        raise ValueError(f"{path}: shows a block {numbers.max()}, {TABLE} has {len(colors)} blocks")
    return numbers


def _read_table(path: Path) -> dict[int, tuple[str, ...]]:
    """The words of each row by the video's number, which is the first of them."""
    rows = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = tuple(line.split())
        if not words:
            continue
        index = _integer(words[0])
        if index is None or index < 1 or len(words) < 2:
            raise ValueError(f"{path}: line {number} is no row of a video number, ..., and fell or not")
        if index in rows:
            raise ValueError(f"{path}: line {number} is a second row of video {index}")
        rows[index] = words
    return rows


def _parse_row(words: tuple[str, ...]) -> tuple[tuple[str, ...] | None, bool]:
    """Colours of the blocks from the bottom up, None where the table has none, and whether the tower fell."""
    fall = _integer(words[-1])
    if fall not in (0, 1):
        raise ValueError(f"its last column is {words[-1]}, neither 1 (fell) nor 0")
    if len(words) < COLUMNS_WITH_COLORS:
        return None, bool(fall)
    columns = words[FIRST_COLOR_COLUMN : FIRST_COLOR_COLUMN + MAX_BLOCKS]
    ids = [_integer(word) for word in columns]
    count = sum(id != 0 for id in ids)
    if not count or not all(id in range(1, len(COLORS) + 1) for id in ids[:count]):
        raise ValueError(f"its colours are {' '.join(columns)}, not ids from 1 to {len(COLORS)} and then 0")
    return tuple(COLORS[id - 1] for id in ids[:count]), bool(fall)


def _integer(word: str) -> int | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None
