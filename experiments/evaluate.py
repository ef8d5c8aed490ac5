"""Scores a trained model: how well it takes scenes apart, and how well it predicts them, beside the paper's numbers.

    python -m experiments.evaluate --run=WORKDIR
    python -m experiments.evaluate --export=FILE --data=NAME/CONFIG

Without options: the quickstart's run on the data that it was trained on. The table goes to stdout, and everything to
metrics.json in the run's folder. The paper's clips (1,000 clips of 10 frames with six objects in view) are taken where
the data has some. Predictions are scored pixel by pixel, and by where they put the objects: over all clips, over those
with a collision and without, and over the halves whose objects move more and less. Simulated clips, as many as wanted,
are made by

    python -m data_pipelines.build simulated_clevrer/64x64_six_objects --stride=4 --num_train=100

which names the data set to give to --data; --num_predicted asks for more frames than the usual six. The same model,
data and machine give the same numbers to the last bit.
"""

import argparse
import json
import pathlib

from data_pipelines.whole_files import check_output
from experiments import command_line
from experiments.evaluation import protocol
from experiments.evaluation.tables import table
from experiments.runs import run_folder, trained


def main(options: argparse.Namespace) -> None:
    """Scores the model, writes metrics.json and prints the table.

    Raises:
        FileNotFoundError, ValueError: the model, the data or an option is unusable.
    """
    found = trained.open_trained(options.run, options.export, options.step)
    output = output_path(found, options)
    record = protocol.score(found, options)
    run_folder.write_json(output, record)
    print(json.dumps(record, indent=2) if options.json else table(record))
    if not options.json:
        print(f"written to {output}")


def output_path(found: trained.Trained, options: argparse.Namespace) -> pathlib.Path:
    """Where the numbers go: into the run's folder, beside the exported file, or where the options say.

    Raises:
        OSError: it cannot be written.
    """
    if options.output:
        path = pathlib.Path(options.output)
    elif pathlib.Path(found.name).is_dir():
        path = pathlib.Path(found.name, "metrics.json")
    else:
        # A bundled model is named without a file; what is measured of it goes into the current folder.
        path = pathlib.Path(found.name).with_suffix(".metrics.json")
    check_output(path, "--output")
    return path


if __name__ == "__main__":
    command_line.run_tool(main, protocol.add_arguments)
