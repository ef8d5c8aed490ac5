"""`experiments.reproduce` with a table of two tiny models and a budget of two steps: a real command, for tests.

python -m tests.experiments.small_reproduction TARGET [OPTIONS]
"""

import argparse
import os
import sys

from PIL import Image

from experiments import command_line, reproduce
from experiments.configs import baselines
from experiments.reproduction.budgets import BUDGETS, Budget
from experiments.reproduction.targets import TARGETS
from tests.experiments import tiny

# Two rows that are one model: what the first has compiled serves the second.
SYSTEMS = {"oddn": "ODDN", "no_relation": "ODDN"}
STEPS = dict(num_steps=2, save_every=1, eval_every=2, log_every=1, num_valid_clips=4)
if "SMALL_STEPS" in os.environ:  # a run that lasts, and saves nothing by itself
    STEPS |= dict.fromkeys(("num_steps", "save_every", "eval_every"), int(os.environ["SMALL_STEPS"]))


def shrink() -> None:
    """Puts the tiny models, steps and tables in the place of the real ones."""

    def get_config(variant):
        return tiny.get_config(SYSTEMS[variant.partition(",")[0]])

    baselines.get_config = get_config
    BUDGETS["tiny"] = Budget(1, True, STEPS)
    for name, target in TARGETS.items():
        rows = tuple(row for row in target.rows if row.variant in SYSTEMS and not row.features)
        TARGETS[name] = target._replace(rows=rows)


def options(*arguments):
    """What the program reads from a command; runs are made in this process, where tests put their own in its place."""
    parser = argparse.ArgumentParser()
    reproduce.add_arguments(parser)
    return parser.parse_args(["--jobs=0", *arguments])


def record_of(mse, simulated=True):
    """What `running.measure` returns, made up."""
    one = {"mean": mse, "standard_error": 0.1, "n": 4}
    curve = {"mean": [mse, 2 * mse], "standard_error": [0.1, 0.1], "n": 4}
    names = ("predicted_mse", "copy_last_mse", "mean_frame_mse")
    facts = {"data": "some/data", "simulated": simulated, "split": "validation", "num_clips": 4}
    return facts | {
        "metrics": {name: one for name in ("mse", "ari", "fg_ari")} | dict.fromkeys(names, curve),
        "params_sha256": "00",
        "commit": "c0",
        "hardware": "cpu",
    }


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


if __name__ == "__main__":
    shrink()
    command_line.run_tool(reproduce.main, reproduce.add_arguments, ["reproduce", *sys.argv[1:]])
