"""What do the numbers of a slot say? Linear maps and small networks read colour, material, shape, place and velocity.

    python -m experiments.probe_slots --export=clevrer
    python -m experiments.probe_slots --run=WORKDIR --data=NAME/CONFIG --json

Of each slot that stands for an annotated object, in a frame and in the one before: its latents, how they have changed
since, and its dynamics. Both are fitted on the first half of the clips and tested on the other; "nothing" is the most
frequent class, and the mean. Without options: the quickstart's run, on the clips that evaluate scores. Any model with
slots will do. What the network reads and the linear map does not is there, but not for everyone.
"""

import argparse
import json

import oddn_jax
from data_pipelines.datasets import dataset_summary
from experiments import command_line
from experiments.evaluation import protocol, scoring, slot_contents
from experiments.runs import datasets, trained
from experiments.runs.clips import Clips, by_rule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    protocol.add_clip_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON, not a table")


def main(options: argparse.Namespace) -> None:
    """Looks at clips, fits, and prints.

    Raises:
        FileNotFoundError, ValueError: the model, the data or an option is unusable.
    """
    protocol.check_at_least_1(options, "num_frames", "limit", "stride", "batch_size")
    found = trained.open_trained(options.run, options.export, options.step)
    data, dataset_dir, split = protocol.find_data(found, options)
    available = datasets.frames_available(dataset_summary(dataset_dir, split), data.stride)
    num_frames = options.num_frames or min(protocol.NUM_FRAMES, available)
    if num_frames < 2:
        raise ValueError(
            f"clips of {num_frames} frame do not change: take longer videos, a larger --num_frames or a smaller "
            "--stride"
        )
    clips = by_rule(Clips(dataset_dir, split, "paper", num_frames, data.stride, options.limit), options.clips)
    look = scoring.look_of(found.model, 0)
    samples = slot_contents.read_slots(
        look, found.params, clips, options.batch_size, oddn_jax.compiler_options()
    )
    read = slot_contents.read(samples)
    record = protocol.describe(found, data, clips, "probe_slots") | read
    if options.json:
        print(json.dumps(record, indent=2, allow_nan=False))
        return
    simulated = ", *simulated*" if record["simulated"] else ""
    print(f"{found.name}; {record['data']}{simulated}, {split}, {record['num_clips']} clips ({clips.rule})")
    print(slot_contents.table(read))


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
