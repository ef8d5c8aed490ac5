"""Trains ODDN on block towers.

Without arguments: a small model on simulated towers that are made first (kept in data/ for the next time), some
minutes on two CPU cores. The real towers need their strips, see data_pipelines/builders/block_towers/README.md:

    python -m experiments.block_towers --config=experiments/configs/block_towers.py:prediction

The same command again goes on from the last checkpoint.
"""

import pathlib

from experiments import command_line
from experiments.config import TrainConfig
from experiments.training.loop import fit_and_draw

QUICKSTART = f"{pathlib.Path(__file__).parent / 'configs' / 'block_towers.py'}:quickstart"


def main(config: TrainConfig, workdir: pathlib.Path) -> None:
    """Trains, draws what the model sees, and says where everything is."""
    fit_and_draw(
        config,
        workdir,
        f"train longer, the same command with --config.num_steps={2 * config.num_steps}; or on the real towers,\n"
        "  python -m experiments.block_towers --config=experiments/configs/block_towers.py:prediction",
    )


if __name__ == "__main__":
    command_line.run(main, QUICKSTART)
