"""Which runs need not be made: their numbers stand in the table's CSV file, from another machine or an earlier day."""

import hashlib
import pathlib
from collections.abc import Mapping, Sequence

from data_pipelines.whole_files import whole_file
from experiments.reproduction import files
from experiments.reproduction.budgets import Entry
from experiments.reproduction.comparison import Result
from experiments.reproduction.targets import Target


def num_seeds(path: pathlib.Path) -> int:
    """How many seeds a table's CSV file has; 0 where there is no file.

    Raises:
        ValueError: the file is damaged, or another version's.
    """
    lines = files.read_csv(path) if path.is_file() else []
    return max((int(line["seed"]) + 1 for line in lines if line["seed"] != "all"), default=0)


def known_results(
    path: pathlib.Path, target: Target, entries: Sequence[Entry]
) -> dict[tuple[str, int], Result]:
    """The results in a table's CSV file, by row and seed, of runs of the same recipe.

    Raises:
        ValueError: the file is damaged, or another version's.
    """
    if not path.is_file():
        return {}
    held = files.read_results(target, files.read_csv(path))
    return {
        (entry.row, entry.seed): held[entry.recipe]
        for entry in entries
        if entry.recipe in held and entry.row in held[entry.recipe].scores
    }


def set_aside(path: pathlib.Path, entries: Sequence[Entry]) -> pathlib.Path | None:
    """Copies a table's CSV file where it holds results of other recipes, which writing it again drops.

    Returns:
        the copy, PATH with a sum of its content in the name; None where nothing would be lost.
    """
    if not path.is_file():
        return None
    recipes = {line["recipe"] for line in files.read_csv(path) if line["recipe"]}
    if recipes <= {entry.recipe for entry in entries}:
        return None
    content = path.read_bytes()
    copy = path.with_suffix(f".{hashlib.sha256(content).hexdigest()[:8]}.csv")
    with whole_file(copy) as partial:
        partial.write_bytes(content)
    return copy


def is_needed(entry: Entry, known: Mapping[tuple[str, int], Result]) -> bool:
    """Whether a run has to be made, or scored again: no result of it is known, or its folder is here."""
    return (entry.row, entry.seed) not in known or entry.stages[-1].folder.exists()
