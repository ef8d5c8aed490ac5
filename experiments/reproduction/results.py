"""What a target gives: the table, the CSV file, the picture."""

import argparse
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from experiments.config import TrainConfig, longest_clip
from experiments.evaluation import paper
from experiments.pictures import drawing
from experiments.reproduction import comparison, computation, files, page, running
from experiments.reproduction.budgets import Entry, Stage
from experiments.reproduction.sweep import Outcome
from experiments.reproduction.targets import TARGETS, Target

MIN_LONG_RANGE = 5  # frames of a clip; shorter ones give ODDN-l nothing that ODDN does not predict


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


def report_all(
    plans: Mapping[str, Sequence[Entry]], found: Mapping[str, Outcome], options: argparse.Namespace
) -> list[str]:
    """The texts of all tables that have a run; their files, and with the target `all` the page, are written.

    Args:
        options: of `experiments.reproduce`. With `only` no table is written: one run is none.
    """
    workdir, texts = pathlib.Path(options.workdir), []
    extra = f" --data={shlex.quote(options.data)}" if options.data else ""
    for name, outcome in found.items():
        if outcome.records:
            output = None if options.only else workdir / f"{options.budget}-{name}"
            texts.append(report(name, options.budget, plans[name], outcome, output, extra))
    if texts and options.target == "all" and not options.only:
        report_computation(workdir / "table4")
        texts.append(f"all on one page: {page.write(workdir, options.budget)}")
    return texts


def report(
    name: str,
    budget: str,
    entries: Sequence[Entry],
    outcome: Outcome,
    output: pathlib.Path | None,
    options: str = "",
) -> str:
    """Writes OUTPUT.csv and OUTPUT.png where there is an output, and returns the table as text.

    Args:
        options: of the command, besides the table, the budget and the run.
    """
    target, records = TARGETS[name], outcome.records
    results = {
        (row, seed): scores
        for (of, seed), record in records.items()
        for row, scores in comparison.read_scores(of, record).items()
    }
    means = comparison.over_seeds(results)
    # What was trained last: programs are not.
    last = {(entry.row, entry.seed): entry.stages[-2 if entry.by_programs else -1] for entry in entries}
    record = next(iter(records.values()))
    data, kind = record.get("data", record.get("questions")), "simulated" if record["simulated"] else "real"
    seeds = sorted({seed for _, seed in records})
    config, variants = entries[0].stages[0].config, {row.variant for row in target.rows}
    header = [
        f"{data}, {'*simulated*' if record['simulated'] else 'real'}, {record['split']} split, "
        + (f"{record['num_clips']} clips" if "num_clips" in record else f"{record['num_videos']} videos"),
        f"budget {budget}: {spent(entries[0])}; {numbered(seeds)}",
        paper.LABEL
        if any(metric.paper for metric in target.metrics)
        else "the paper has no numbers for this",
    ]
    if isinstance(config, TrainConfig) and longest_clip(config) < MIN_LONG_RANGE and "long_range" in variants:
        header.append(
            f"ODDN-l is trained as ODDN: clips of {longest_clip(config)} frames have no long range to predict"
        )
    text = comparison.table(target, means, {row for row, _ in outcome.failed}, header)
    if output is None:
        return text
    command = f"python -m experiments.reproduce {name} --budget={budget}{options}"
    facts = {
        (row, seed): {
            "steps": last[row, seed].config.num_steps,
            "run": last[row, seed].folder,
            "command": f"{command} --only={shlex.quote(f'{row}, seed {seed}')}",
            **{column: record[column] for column in ("params_sha256", "commit", "hardware")},
        }
        for (row, seed), record in records.items()
    }
    common = {"target": name, "budget": budget, "data": data, "simulated": kind, "split": record["split"]}
    output.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(output.with_suffix(".csv"), files.csv_lines(target, results, means, facts, common))
    title = f"{target.title}. {kind.capitalize()} data, budget {budget}, {numbered(seeds)}"
    drawing.save_png(draw(target, title, means, last, records), output.with_suffix(".png"))
    return f"{text}\n\nwritten to {output}.csv and {output}.png"


def spent(entry: Entry) -> str:
    """What each run of an entry is trained for."""
    parts = []
    for _, config in entry.stages:
        clips = isinstance(config, TrainConfig)
        seen = f"clips of up to {longest_clip(config)} frames" if clips else "questions"
        parts.append(f"{config.num_steps:,} steps of {config.batch_size} {seen}")
    return ", then ".join(parts)


def numbered(seeds: Sequence[int]) -> str:
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
        return files.draw_curves(target, title, {row: means[row] for row in rows if row in means})
    return files.draw_table(target, title, means)
