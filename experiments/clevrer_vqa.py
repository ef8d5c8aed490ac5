"""Answers questions about videos: trains ALOE on what a model has extracted from them, and scores it.

Without arguments: the quickstart, a small ALOE on the features of the quickstart's model; videos and questions are
simulated first (kept in data/ for the next time), minutes on two CPU cores. The paper's setting needs CLEVRER, its
questions and a model trained on it:

    python -m experiments.clevrer_vqa --config=experiments/configs/clevrer_vqa.py:clevrer --config.features_of=RUN

Features that are missing are extracted first, as extract_latents does. The same command again goes on from the last
checkpoint. Beside the scores stand those of a blind reasoner, which sees only the questions and is trained as long, of
the most frequent answer to each kind of question, and of executing the questions' programs on the simulator's truth.
"""

import pathlib

from experiments import command_line
from experiments.config import VQAConfig
from experiments.vqa import curves
from experiments.vqa.answering import table, train_and_evaluate

QUICKSTART = f"{pathlib.Path(__file__).parent / 'configs' / 'clevrer_vqa.py'}:quickstart"


def main(config: VQAConfig, workdir: pathlib.Path) -> None:
    """Trains, scores, and says where everything is."""
    record = train_and_evaluate(config, workdir)
    curves.write(workdir)
    print(
        f"{table(record)}\n\n"
        f"  {workdir}/metrics.json     these numbers, and what they are of\n"
        f"  {workdir}/submission.json  the answers, as CLEVRER's test server takes them\n"
        f"  {workdir}/figures          loss and accuracy over the steps"
    )


if __name__ == "__main__":
    command_line.run(main, QUICKSTART, kind=VQAConfig)
