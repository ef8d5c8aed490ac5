"""Trains a system that ODDN is compared with.

Without arguments: a small IODINE on the quickstart's simulated scenes. The others, and their recipes:

    python -m experiments.train_baseline --config=experiments/configs/baselines.py:provide

The same command again goes on from the last checkpoint. A model of your own is trained in the same way, by a config
file whose `system` names its class: "my_models.toy:Toy".
"""

import pathlib

from experiments import command_line
from experiments.config import TrainConfig
from experiments.training.loop import fit_and_draw

QUICKSTART = f"{pathlib.Path(__file__).parent / 'configs' / 'baselines.py'}:iodine,quickstart"


def main(config: TrainConfig, workdir: pathlib.Path) -> None:
    """Trains, draws what the model sees, and says where everything is."""
    fit_and_draw(
        config,
        workdir,
        f"score it beside the paper's, `python -m experiments.evaluate --run={workdir}`, or draw its figures,\n"
        f"  python -m experiments.figures --run={workdir}",
    )


if __name__ == "__main__":
    command_line.run(main, QUICKSTART)
