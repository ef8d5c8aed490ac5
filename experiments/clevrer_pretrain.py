"""Trains ODDN on CLEVRER.

Without arguments: the quickstart, a small model on simulated scenes that are made first (kept in data/ for the next
time), some minutes on two CPU cores. The paper's run needs CLEVRER:

    python -m experiments.clevrer_pretrain --config=experiments/configs/clevrer.py:prediction

The same command again goes on from the last checkpoint.
"""

import pathlib

from experiments import command_line, datasets, figures
from experiments.config import TrainConfig
from experiments.logs import say
from experiments.train import fit

QUICKSTART = f"{pathlib.Path(__file__).parent / 'configs' / 'clevrer.py'}:quickstart"


def main(config: TrainConfig, workdir: pathlib.Path) -> None:
    """Trains, draws what the model sees, and says where everything is."""
    state = fit(config, workdir)
    step = int(state.step)
    if not figures.written(workdir, step):
        say("drawing what the model sees")
        figures.write(config, state.params, step, datasets.prepare(config), workdir)
    print(
        f"trained {step} steps on {config.data.name}/{config.data.config}\n"
        f"  {workdir}/figures        input, reconstruction, slots and predicted frames\n"
        f"  {workdir}/metrics.jsonl  what was logged; `tensorboard --logdir={workdir}/tensorboard` draws it\n"
        f"  {workdir}/checkpoints    to resume from\n"
        f"next: train longer, the same command with --config.num_steps={2 * config.num_steps}; or the paper's run,\n"
        f"  python -m experiments.clevrer_pretrain --config=experiments/configs/clevrer.py:prediction"
    )


if __name__ == "__main__":
    command_line.run(main, QUICKSTART)
