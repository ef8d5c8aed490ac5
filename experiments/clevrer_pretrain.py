"""Trains ODDN on CLEVRER.

Without arguments: the quickstart, a small model on simulated scenes that are made first (kept in data/ for the next
time), some minutes on two CPU cores. The paper's run needs CLEVRER:

    python -m experiments.clevrer_pretrain --config=experiments/configs/clevrer.py:prediction

The same command again goes on from the last checkpoint.
"""

import pathlib

from experiments import command_line
from experiments.config import TrainConfig
from experiments.training.loop import fit_and_draw

QUICKSTART = f"{pathlib.Path(__file__).parent / 'configs' / 'clevrer.py'}:quickstart"


def main(config: TrainConfig, workdir: pathlib.Path) -> None:
    """Trains, draws what the model sees, and says where everything is."""
    fit_and_draw(
        config,
        workdir,
        f"train longer, the same command with --config.num_steps={2 * config.num_steps}; fine-tune on collisions,\n"
        f"  python -m experiments.finetune_collision --config.init_from={workdir}\n"
        "or the paper's run,\n"
        "  python -m experiments.clevrer_pretrain --config=experiments/configs/clevrer.py:prediction",
    )


if __name__ == "__main__":
    command_line.run(main, QUICKSTART)
