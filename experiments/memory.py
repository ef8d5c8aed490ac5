"""Says whether a training fits a card, which need not be here, and how long it takes there at best.

    python -m experiments.memory --card=a100_40
    python -m experiments.memory --config=experiments/configs/clevrer.py:prediction --card=rtx3090 --num_devices=8 \
        --config.batch_size=16 --find_largest

For each way to compute a training step of the longest clips (`remat`, `compute_dtype`), by XLA's own plan of the step
that it compiles for that card: parameters, optimiser, activations, and whether they fit what JAX takes of a card by
default, three quarters. What cuDNN takes for itself while it runs is not in the plan. Times are predicted from the
operations and bytes of the step's kernels, never measured. That needs the extra cuda12 or cuda13, no card and no
driver, and a minute or two for each way.

Without --card: for the devices of this machine, on which each step that fits is run once, and the peak measured.
--find_largest compiles two steps more for each way, and names the largest batch that fits. A table goes to stdout
(--json: the record; --output=FILE keeps it).
"""

import pathlib
from json import dumps

import jax

from experiments import command_line
from experiments.config import TrainConfig, check, longest_clip
from experiments.measuring import ahead_of_time
from experiments.measuring.cards import CARDS
from experiments.measuring.memory import measure_memory
from experiments.measuring.tables import memory_table
from experiments.runs import run_folder

FLAGS = {
    "card": ("", f"compile for {', '.join(CARDS)}; without it for what is here"),
    "num_devices": (0, "that share the batch; 0 is one card, or all that are here"),
    "find_largest": (False, "name the largest batch that fits"),
    "only": ("", "one way, such as step,float32"),
    "json": (False, "print the record, not a table"),
    "output": ("", "a file that keeps the record"),
}
PREDICTION = str(command_line.ROOT / "experiments/configs/clevrer.py:prediction")


def main(
    config: TrainConfig,
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
        OSError: JAX's CUDA plugin is not installed, or the output's folder is missing.
    """
    if card and card not in CARDS:
        raise ValueError(f"--card={card} is not one of {', '.join(CARDS)}")
    if num_devices < 0:
        raise ValueError(f"--num_devices is {num_devices}: it must be at least 1")
    if output and not pathlib.Path(output).parent.is_dir():
        raise FileNotFoundError(f"--output: there is no folder {pathlib.Path(output).parent}")
    count = num_devices or (1 if card else jax.device_count())
    if not card and count > jax.device_count():
        raise ValueError(
            f"--num_devices={count}: there are {jax.device_count()} here; name a --card to compile for"
        )
    check(config, count)
    devices = ahead_of_time.absent_devices(CARDS[card], count) if card else jax.devices()[:count]
    record = {
        "system": config.system,
        "card": card or None,
        "device": devices[0].device_kind,
        "num_devices": count,
        "batch_size": config.batch_size,
        "num_frames": longest_clip(config),
        "num_steps": config.num_steps,
        "ways": measure_memory(config, devices, CARDS.get(card), find_largest=find_largest, only=only),
        **run_folder.versions(),
    }
    if output:
        run_folder.write_json(pathlib.Path(output), record)
    print(dumps(record, indent=2) if json else memory_table(record))


if __name__ == "__main__":
    ahead_of_time.do_not_look_for_a_driver()
    command_line.run(main, PREDICTION, **FLAGS)
