"""Trains a config with several seeds, one after the other, and compares them.

    python -m experiments.seeds --config=experiments/configs/clevrer.py:prediction --num_seeds=5

The run of seed N is WORKDIR/seed_N; the seeds count up from `--config.seed`. Without arguments: three quickstarts.
Where `--config.init_from` is such a set of seeds, each run starts from its own; a fine-tuning on collisions takes the
model and the data from there, as finetune_collision does. A table goes to stdout and to WORKDIR/seeds.json. It marks
the seed with the lowest validation loss, which needs no labels; publish all of them. The same command again goes on
where it stopped.
"""

import dataclasses
import math
import pathlib
from typing import Any

import jax

from data_pipelines.seeds import check_seed
from experiments import clevrer_pretrain, command_line
from experiments.config import TrainConfig
from experiments.runs import run_folder
from experiments.runs.logs import read_rows, say
from experiments.training.continuation import continue_pretraining
from experiments.training.loop import fit

COLUMNS = ("seed", "step", "loss", "mse", "mse_predicted", "mse_copy_last", "slot_usage")


def main(config: TrainConfig, workdir: pathlib.Path, num_seeds: int) -> None:
    """Trains all seeds and prints the table.

    Raises:
        ValueError: `num_seeds` is not positive; otherwise as `fit`.
        FloatingPointError: a seed diverged; the others are trained and reported first.
    """
    if num_seeds < 1:
        raise ValueError(f"--num_seeds is {num_seeds}: it must be at least 1")
    check_seed("config.seed", config.seed)
    check_seed("config.seed and --num_seeds: the last seed", config.seed + num_seeds - 1)
    rows, stopped = [], {}
    for seed in range(config.seed, config.seed + num_seeds):
        folder = workdir / f"seed_{seed}"
        say(f"seed {seed}: {folder}")
        try:
            of_seed = config_of_seed(config, seed)
            if of_seed.init_from and of_seed.data.clips == "collision":
                of_seed = continue_pretraining(of_seed, command_line.overridden_options())
            fit(of_seed, folder)
        except FloatingPointError as error:
            stopped[seed] = str(error)
            say(f"seed {seed} stopped: {error}")
        if jax.process_index() == 0:
            run = {"seed": seed, "workdir": str(folder), "stopped": stopped.get(seed)}
            rows.append(run | best_validation(folder))
            run_folder.write_json(workdir / "seeds.json", {"best_seed": best_seed(rows), "runs": rows})
    if jax.process_index() == 0:
        print(f"{config.data.name}/{config.data.config}, {config.data.valid_split} split\n{table(rows)}")
    if stopped:
        raise FloatingPointError(
            f"{len(stopped)} of {num_seeds} seeds stopped: {', '.join(map(str, stopped))}"
        )


def config_of_seed(config: TrainConfig, seed: int) -> TrainConfig:
    """The config with another seed, which starts from the same seed of `init_from` where that is a set of them."""
    init_from = config.init_from
    if init_from and pathlib.Path(init_from, f"seed_{seed}").is_dir():
        init_from = str(pathlib.Path(init_from, f"seed_{seed}"))
    return dataclasses.replace(config, seed=seed, init_from=init_from)


def best_validation(workdir: pathlib.Path) -> dict[str, float | None]:
    """The validation of a run that has the lowest loss, by the names of `COLUMNS`; nothing where there is none."""
    rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["split"] == "valid"]
    rows = [row for row in rows if math.isfinite(row.get("loss", math.nan))]
    best = min(rows, key=lambda row: row["loss"], default={})
    return {name: best.get(name) for name in COLUMNS[1:]}


def best_seed(rows: list[dict[str, Any]]) -> int | None:
    """The seed with the lowest validation loss: all are validated on the same clips with the same noise."""
    finished = [row for row in rows if row["loss"] is not None and not row["stopped"]]
    return min(finished, key=lambda row: row["loss"])["seed"] if finished else None


def table(rows: list[dict[str, Any]]) -> str:
    """One line a seed, the best one marked."""
    best = best_seed(rows)
    lines = ["".join(f"{name:>15}" for name in COLUMNS)]
    for row in rows:
        cells = ("-" if row[name] is None else f"{row[name]:.5g}" for name in COLUMNS)
        note = "  stopped" if row["stopped"] else "  best" if row["seed"] == best else ""
        lines.append("".join(f"{cell:>15}" for cell in cells) + note)
    return "\n".join(lines)


if __name__ == "__main__":
    command_line.run(main, clevrer_pretrain.QUICKSTART, num_seeds=(3, "how many seeds are trained"))
