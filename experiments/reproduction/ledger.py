"""Which runs need not be made: their numbers stand in the table's CSV file, from another machine or an earlier day."""

import pathlib
from collections.abc import Sequence

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
    path: pathlib.Path, target: Target, entries: Sequence[Entry], seeds: int
) -> dict[tuple[str, int], Result]:
    """The results in a table's CSV file, by row and seed, that need no run: same recipe, and no folder here.

    Args:
        seeds: how many are asked for; results of later ones need no run in any case.

    Raises:
        ValueError: the file is damaged, or another version's.
    """
    if not path.is_file():
        return {}
    held = files.read_results(target, files.read_csv(path))
    return {
        (entry.row, entry.seed): held[entry.recipe]
        for entry in entries
        if entry.recipe in held and (entry.seed >= seeds or not entry.stages[-1].folder.exists())
    }
