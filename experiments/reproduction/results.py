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
from experiments.reproduction.budgets import BUDGETS, Entry, Stage
from experiments.reproduction.comparison import Result
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
    plans: Mapping[str, Sequence[Entry]],
    found: Mapping[str, Outcome],
    known: Mapping[str, Mapping[tuple[str, int], Result]],
    options: argparse.Namespace,
) -> dict[str, str]:
    """The texts of tables that have a run, by name; their files, and with the target `all` the "page", are written.

    Args:
        known: results that stand in the tables' files already, by name of the table, row and seed.
        options: of `experiments.reproduce`. With `only` no table is written: one run is none.
    """
    workdir, texts = pathlib.Path(options.workdir), {}
    usual = BUDGETS[options.budget].num_seeds
    extra = f" --data={shlex.quote(options.data)}" if options.data else ""
    for name, entries in plans.items():
        outcome = found.get(name, Outcome({}, {}))
        command = f"python -m experiments.reproduce {name} --budget={options.budget}{extra}"
        results = known[name] | {
            (entry.row, entry.seed): files.as_stored(
                TARGETS[name],
                result_of(entry, outcome.records[entry.row, entry.seed], command, usual),
            )
            for entry in entries
            if (entry.row, entry.seed) in outcome.records
        }
        if results:
            output = None if options.only else workdir / f"{options.budget}-{name}"
            texts[name] = report(name, options.budget, entries, results, outcome, output)
    if texts and options.target == "all" and not options.only:
        texts["page"] = f"all on one page: {page.write(workdir, options.budget)}"
    return texts


def result_of(entry: Entry, record: Mapping[str, Any], command: str, num_seeds: int) -> Result:
    """What a run's record gives a table.

    Args:
        command: that makes the table.
    """
    last = last_trained(entry)
    if entry.seed >= num_seeds:
        command += f" --seeds={entry.seed + 1}"
    facts = {
        "data": record.get("data", record.get("questions")),
        "simulated": "simulated" if record["simulated"] else "real",
        "scored": f"{record['num_clips']} clips"
        if "num_clips" in record
        else f"{record['num_videos']} videos",
        "steps": last.config.num_steps,
        "run": last.folder,
        "recipe": entry.recipe,
        "command": f"{command} --only={shlex.quote(entry.label)}",
        **{name: record[name] for name in ("split", "params_sha256", "commit", "hardware")},
    }
    return Result(comparison.read_scores(entry.row, record), facts)


def last_trained(entry: Entry) -> Stage:
    """The last run of an entry that is trained: programs are not."""
    return entry.stages[-2 if entry.by_programs else -1]


def report(
    name: str,
    budget: str,
    entries: Sequence[Entry],
    results: Mapping[tuple[str, int], Result],
    outcome: Outcome,
    output: pathlib.Path | None,
) -> str:
    """Writes OUTPUT.csv and OUTPUT.png where there is an output, and returns the table as text.

    A picture of predicted frames is left as it is where a system of it has no run here.
    """
    target, means = TARGETS[name], comparison.over_seeds(results)
    facts = next(iter(results.values())).facts
    seeds = sorted({seed for _, seed in results})
    config, variants = entries[0].stages[0].config, {row.variant for row in target.rows}
    header = [
        f"{facts['data']}, {'*simulated*' if facts['simulated'] == 'simulated' else 'real'}, "
        f"{facts['split']} split, {facts['scored']}",
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
    common = {"target": name, "budget": budget} | {of: facts[of] for of in ("data", "simulated", "split")}
    output.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(output.with_suffix(".csv"), files.csv_lines(target, results, means, common))
    title = f"{target.title}. {facts['simulated'].capitalize()} data, budget {budget}, {numbered(seeds)}"
    here = {
        entry.row: last_trained(entry)
        for entry in reversed(entries)
        if (entry.row, entry.seed) in outcome.records
    }
    is_whole = not target.has_pictures or {row for row, _ in results} <= here.keys()
    if is_whole or (here and not output.with_suffix(".png").exists()):
        drawing.save_png(draw(target, title, means, here), output.with_suffix(".png"))
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


def draw(target: Target, title: str, means: comparison.Scores, runs: Mapping[str, Stage]) -> Image.Image:
    """The picture: predicted frames of the first clip, curves over the frames, or bars.

    Args:
        runs: of each row, whose predicted frames are shown.
    """
    if target.has_pictures:
        shown = {row: running.predictions(stage) for row, stage in runs.items()}
        predicted = {row.name: shown[row.name]["predicted"][0] for row in target.rows if row.name in shown}
        return files.draw_predictions(title, next(iter(shown.values()))["video"][0], predicted)
    if target.metrics[0].key == "predicted_mse":
        rows = [*(row.name for row in target.rows), *target.references]
        chart = files.draw_curves(target, title, {row: means[row] for row in rows if row in means})
    else:
        chart = files.draw_table(target, title, means)
    return drawing.few_colors(chart)
