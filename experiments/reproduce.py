"""Makes the paper's tables and figures again: trains what is missing, scores it, and prints it beside the paper's.

    python -m experiments.reproduce table3 --budget=tiny

TARGET is table1, table2, table3, table4, figure3, figure7 or figure8. Every system gets the same steps, batch, clips
and seeds. Budgets: `tiny`, minutes on two CPU cores, shows that everything runs; `small`, the quickstart's steps and
three seeds; `full`, the paper's sizes on CLEVRER, for accelerators. The first two train on simulated data, and say so
everywhere: nothing that is measured there compares with the paper but the order of the systems.

Runs lie below WORKDIR/BUDGET, each a run folder as train_baseline, finetune_collision and clevrer_vqa make them; tables
share them. The numbers go to stdout, to BUDGET-TARGET.csv and .png in WORKDIR. The same command again goes on where it
was stopped; what is trained and scored stays. Table 4 needs no training.
"""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from PIL import Image

from experiments import command_line, datasets, drawing, paper
from experiments.config import TrainConfig, longest_clip
from experiments.logs import say
from experiments.reproduction import comparison, computation, costs, files, running
from experiments.reproduction.budgets import BUDGETS, Entry, Stage, plan
from experiments.reproduction.targets import TARGETS, Target

MIN_LONG_RANGE = 5  # frames of a clip; shorter ones give ODDN-l nothing that ODDN does not predict
FAILURES = (ValueError, OSError, MemoryError, FloatingPointError, jax.errors.JaxRuntimeError)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this program's options."""
    parser.add_argument(
        "target", metavar="TARGET", choices=[*TARGETS, "table4"], help=", ".join(TARGETS) + ", table4"
    )
    parser.add_argument("--budget", choices=BUDGETS, default="tiny", help="(default: %(default)s)")
    parser.add_argument(
        "--data", metavar="NAME/CONFIG", help="to train the models on (default: the budget's)"
    )
    parser.add_argument("--data_dir", default="data", help="where data sets lie (default: %(default)s)")
    parser.add_argument("--seeds", metavar="N", type=int, help="(default: 1 with tiny, otherwise 3)")
    parser.add_argument("--workdir", default="runs/reproduce", help="(default: %(default)s)")
    parser.add_argument(
        "--dry_run", action="store_true", help="list the runs and what they would cost; do nothing"
    )
    parser.add_argument(
        "--timed_steps",
        metavar="N",
        type=int,
        default=2,
        help="with --dry_run: steps that are timed of each model without a log (default: %(default)s; 0: none)",
    )


def main(options: argparse.Namespace) -> None:
    """Makes the target, and prints it.

    Raises:
        ValueError, FileNotFoundError: an option or the data is unusable; or, at the end, runs have failed.
    """
    workdir, budget = pathlib.Path(options.workdir), BUDGETS[options.budget]
    if options.seeds is not None and options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, not {options.seeds}")
    if options.data is not None and options.data.count("/") != 1:
        raise ValueError(f"--data {options.data!r} is no NAME/CONFIG of a data set")
    if options.target == "table4":
        print("table4 needs no training" if options.dry_run else report_computation(workdir / "table4"))
        return
    target = TARGETS[options.target]
    num_seeds = options.seeds or budget.num_seeds
    folder = workdir / options.budget
    entries = plan(target, budget, folder, num_seeds, options.data, options.data_dir)
    if options.dry_run:
        print(f"{target.title}, budget {options.budget}, {_numbered(range(num_seeds))}")
        print(costs.table(entries, options.timed_steps))
        return
    check_data(entries)
    records, failed = measure_all(entries, target)
    if records:
        output = workdir / f"{options.budget}-{options.target}"
        print(report(options.target, options.budget, entries, records, failed, output))
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(entries)} runs failed, first {next(iter(failed.values()))}; the same command tries "
            "them again"
        )


def report_computation(output: pathlib.Path) -> str:
    """Counts Table 4, writes OUTPUT.csv and OUTPUT.png, and returns the table as text."""
    rows = {name: computation.compute(model) for name, model in computation.MODELS.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    lines = computation.lines(rows)
    files.write_csv(output.with_suffix(".csv"), lines)
    gflops = {
        label: {line["row"]: line["ours"] for line in lines if line["metric"] == label}
        for label in computation.METRICS.values()
        if "GFLOP" in label
    }
    drawing.save_png(files.draw_computation("Table 4", gflops), output.with_suffix(".png"))
    return f"{computation.table(rows)}\n\nwritten to {output}.csv and {output}.png"


def check_data(entries: Sequence[Entry]) -> None:
    """Finds or simulates the data of the first run: without, all would fail in the same way."""
    config = entries[0].stages[0].config
    if isinstance(config, TrainConfig):
        datasets.prepare(config)


def measure_all(
    entries: Sequence[Entry], target: Target
) -> tuple[dict[tuple[str, int], dict[str, Any]], dict[tuple[str, int], str]]:
    """The records of all runs by row and seed, and what went wrong with the others."""
    records, failed = {}, {}
    for number, entry in enumerate(entries, 1):
        say(f"{number} of {len(entries)}: {entry.row}, seed {entry.seed}: {entry.stages[-1].folder}")
        try:
            records[entry.row, entry.seed] = running.measure(entry, target.has_pictures)
        except FAILURES as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            failed[entry.row, entry.seed] = f"{entry.row}, seed {entry.seed}: {line}"
            say(f"failed: {line}")
        jax.clear_caches()  # the next model shares no compiled code with this one
    return records, failed


def report(
    name: str,
    budget: str,
    entries: Sequence[Entry],
    records: Mapping[tuple[str, int], Mapping[str, Any]],
    failed: Mapping[tuple[str, int], str],
    output: pathlib.Path,
) -> str:
    """Writes OUTPUT.csv and OUTPUT.png, and returns the table as text."""
    target = TARGETS[name]
    results = {
        (row, seed): scores
        for (of, seed), record in records.items()
        for row, scores in comparison.read_scores(of, record).items()
    }
    means = comparison.over_seeds(results)
    last = {(entry.row, entry.seed): entry.stages[-1] for entry in entries}
    record = next(iter(records.values()))
    data, kind = record.get("data", record.get("questions")), "simulated" if record["simulated"] else "real"
    seeds = sorted({seed for _, seed in records})
    config, variants = entries[0].stages[0].config, {row.variant for row in target.rows}
    header = [
        f"{data}, {'*simulated*' if record['simulated'] else 'real'}, {record['split']} split, "
        + (f"{record['num_clips']} clips" if "num_clips" in record else f"{record['num_videos']} videos"),
        f"budget {budget}: {spent(entries[0])}; {_numbered(seeds)}",
        paper.LABEL
        if any(metric.paper for metric in target.metrics)
        else "the paper has no numbers for this",
    ]
    if isinstance(config, TrainConfig) and longest_clip(config) < MIN_LONG_RANGE and "long_range" in variants:
        header.append(
            f"ODDN-l is trained as ODDN: clips of {longest_clip(config)} frames have no long range to predict"
        )
    facts = {
        key: {
            "steps": last[key].config.num_steps,
            "run": last[key].folder,
            **{column: record[column] for column in ("params_sha256", "commit")},
        }
        for key, record in records.items()
    }
    common = {"target": name, "budget": budget, "data": data, "simulated": kind, "split": record["split"]}
    output.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(output.with_suffix(".csv"), files.csv_lines(target, results, means, facts, common))
    title = f"{target.title}. {kind.capitalize()} data, budget {budget}, {_numbered(seeds)}"
    drawing.save_png(draw(target, title, means, last, records), output.with_suffix(".png"))
    text = comparison.table(target, means, {row for row, _ in failed}, header)
    return f"{text}\n\nwritten to {output}.csv and {output}.png"


def spent(entry: Entry) -> str:
    """What each run of an entry is trained for."""
    parts = []
    for _, config in entry.stages:
        clips = isinstance(config, TrainConfig)
        seen = f"clips of up to {longest_clip(config)} frames" if clips else "questions"
        parts.append(f"{config.num_steps:,} steps of {config.batch_size} {seen}")
    return ", then ".join(parts)


def _numbered(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def draw(
    target: Target,
    title: str,
    means: comparison.Scores,
    last: Mapping[tuple[str, int], Stage],
    records: Mapping[tuple[str, int], Any],
) -> Image.Image:
    """The picture: predicted frames of the first clip, curves over the frames, or bars."""
    if target.has_pictures:
        shown = {row: running.predictions(last[row, seed]) for row, seed in reversed(records)}
        predicted = {row.name: shown[row.name]["predicted"][0] for row in target.rows if row.name in shown}
        return files.draw_predictions(title, next(iter(shown.values()))["video"][0], predicted)
    if target.metrics[0].key == "predicted_mse":
        rows = [*(row.name for row in target.rows), *target.references]
        return files.draw_curves(title, {row: means[row] for row in rows if row in means})
    return files.draw_table(target, title, means)


if __name__ == "__main__":
    command_line.run_tool(main, add_arguments)
