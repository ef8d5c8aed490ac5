"""Says whether a training fits a card, which need not be here, and how long it takes there at best.

    python -m experiments.memory --card=a100_40
    python -m experiments.memory --config=experiments/configs/clevrer.py:prediction --card=rtx3090 --num_devices=8 \
        --config.batch_size=16 --find_largest
    python -m experiments.memory --config=experiments/configs/clevrer_vqa.py:clevrer --card=a6000

For each way to compute a training step of the longest clips (`remat`, `compute_dtype`), or of a reasoner with CLEVRER's
mix of questions (`recompute`, `compute_dtype`), by XLA's own plan of the step that it compiles for that card:
parameters, optimiser, activations, and whether they fit what JAX takes of a card by default, three quarters. What
cuDNN takes for itself while it runs is not in the plan. Times are predicted from the operations and bytes of the
step's kernels, never measured. That needs the extra cuda12 or cuda13, no card and no driver, and a minute or two for
each way.

Without --card: for the devices of this machine, on which each step that fits is run once, and the peak measured.
--find_largest compiles two or more steps for each way, and names the largest batch that fits. A table goes to stdout
(--json: the record; --output=FILE keeps it).
"""

import pathlib
from json import dumps

import jax

from data_pipelines.whole_files import check_output
from experiments import command_line
from experiments.config import TrainConfig, VQAConfig, check, longest_clip
from experiments.measuring import ahead_of_time
from experiments.measuring.cards import CARDS
from experiments.measuring.memory import VIDEOS, measure_memory
from experiments.measuring.tables import memory_table
from experiments.runs import run_folder
from experiments.vqa import config as vqa_config
from experiments.vqa.needs import QUESTIONS

FLAGS = {
    "card": ("", f"compile for {', '.join(CARDS)}; without it for what is here"),
    "num_devices": (0, "that share the batch; 0 is one card, or all that are here"),
    "find_largest": (False, "name the largest batch that fits"),
    "only": ("", "one way, such as step,float32"),
    "json": (False, "print the record, not a table"),
    "output": ("", "a file that keeps the record"),
}
KINDS = TrainConfig | VQAConfig
PREDICTION = str(command_line.ROOT / "experiments/configs/clevrer.py:prediction")


def main(
    config: KINDS,
    workdir: pathlib.Path,
    *,
    card: str,
    num_devices: int,
    find_largest: bool,
    only: str,
    json: bool,
    output: str,
) -> None:
    """Compiles, and prints.

    Raises:
        ValueError: an option is out of its range, or the config cannot work.
        OSError: JAX's CUDA plugin is not installed, or the output cannot be written.
    """
    if card and card not in CARDS:
        raise ValueError(f"--card={card} is not one of {', '.join(CARDS)}")
    if num_devices < 0:
        raise ValueError(f"--num_devices is {num_devices}: it must be at least 1")
    if output:
        check_output(pathlib.Path(output), "--output")
    count = num_devices or (1 if card else jax.device_count())
    if not card and count > jax.device_count():
        raise ValueError(
            f"--num_devices={count}: there are {jax.device_count()} here; name a --card to compile for"
        )
    if isinstance(config, VQAConfig):
        vqa_config.check(config)
        training, system, batch = QUESTIONS, "ALOE", f"{config.batch_size} questions"
    else:
        check(config, count)
        training, system = VIDEOS, config.system
        batch = f"{config.batch_size} clips of {longest_clip(config)} frames"
    devices = ahead_of_time.absent_devices(CARDS[card], count) if card else jax.devices()[:count]
    record = {
        "system": system,
        "card": card or None,
        "device": devices[0].device_kind,
        "num_devices": count,
        "batch_size": config.batch_size,
        "batch": batch,
        "num_steps": config.num_steps,
        "ways": measure_memory(
            training, config, devices, CARDS.get(card), find_largest=find_largest, only=only
        ),
        **run_folder.versions(),
    }
    if output:
        run_folder.write_json(pathlib.Path(output), record)
    print(dumps(record, indent=2) if json else memory_table(record))


if __name__ == "__main__":
    ahead_of_time.do_not_look_for_a_driver()
    command_line.run(main, PREDICTION, kind=KINDS, **FLAGS)
