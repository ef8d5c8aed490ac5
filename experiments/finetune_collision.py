r"""Fine-tunes a pre-trained model on clips with collisions, CLEVRER-collision.

Without arguments: goes on from the quickstart of clevrer_pretrain, runs/quickstart. The paper's second stage:

    python -m experiments.finetune_collision --config=experiments/configs/clevrer_collision.py:prediction

The parameters, the model's options and the data are those of the pre-training run, `--config.init_from`; the optimiser
starts afresh. How far training predicts (`student_forcing_depth`, `long_range_steps`) is this stage's own: a plain run
can go on as ODDN-l,

    python -m experiments.finetune_collision --config.init_from=RUN \
        --config=experiments/configs/clevrer_collision.py:prediction,long_range

The same command again goes on from the last checkpoint.
"""

import pathlib

from experiments import command_line
from experiments.config import TrainConfig
from experiments.training.continuation import continue_pretraining
from experiments.training.loop import fit_and_draw

QUICKSTART = f"{pathlib.Path(__file__).parent / 'configs' / 'clevrer_collision.py'}:quickstart"


def main(config: TrainConfig, workdir: pathlib.Path) -> None:
    """Fine-tunes, draws what the model sees, and says where everything is."""
    config = continue_pretraining(config, command_line.overridden_options())
    fit_and_draw(
        config,
        workdir,
        f"train longer, the same command with --config.num_steps={2 * config.num_steps}; or the paper's second stage,\n"
        "  python -m experiments.finetune_collision "
        "--config=experiments/configs/clevrer_collision.py:prediction",
    )


if __name__ == "__main__":
    command_line.run(main, QUICKSTART)
