"""What a reproduction leaves on disk: its numbers as CSV, and its picture."""

import csv
import math
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_pipelines.whole_files import whole_file
from experiments.pictures.drawing import (
    FONT_SIZE,
    HEADER_HEIGHT,
    Row,
    draw_rows,
    label_axes,
    new_figure,
    plot_line,
    render,
    slot_color,
    stack,
)
from experiments.reproduction.comparison import Result, Score, Scores, by_row, frame_scores
from experiments.reproduction.targets import Metric, Target
from oddn_jax.fields import shorten

# What all numbers of a run have in common: its data, how many clips or videos were scored, and how it is made again.
REPRODUCTION = "scored steps run recipe params_sha256 commit hardware command".split()
FACTS = ["data", "simulated", "split", *REPRODUCTION]
COLUMNS = [*"target budget metric row seed paper ours standard_error n over".split(), *FACTS]
MOST_SEEDS = 1_000  # all runs are planned before the first; our choice
REMEDY = "delete it, and make the table again"


def write_csv(path: pathlib.Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes lines of `COLUMNS`, whole or not at all."""
    text = {
        "newline": "",
        "encoding": "utf-8",
        "errors": "backslashreplace",
    }  # names of folders may be no text
    with whole_file(path) as partial, open(partial, "w", **text) as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    """The lines that `write_csv` wrote; at least one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or has other columns than this version's.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="backslashreplace") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or ()
            lines = list(reader)
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read ({error}): {REMEDY}") from None
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}: an earlier version wrote it; {REMEDY}")
    for number, line in enumerate(lines, 1):
        wrong = _wrong_entry(line)
        if wrong:
            raise ValueError(f"{path}: entry {number} {wrong}: {REMEDY}")
    if not lines:
        raise ValueError(f"{path} holds no entries: {REMEDY}")
    return lines


def _wrong_entry(line: Mapping[Any, Any]) -> str | None:
    """What an entry has that `csv_lines` gives none."""
    if None in line or None in line.values():
        return "is cut off, or has too many columns"
    of_score = None if line["ours"] else ""  # a score is of so many; where there is none, nothing is
    if not line["ours"] and line["seed"] != "all":
        return "is of a run and has no score"
    numbers = (
        ("ours", _finite, ""),
        ("standard_error", _finite, ""),
        ("n", int, of_score),
        ("seed", _seed, "all"),
    )
    for name, kind, instead in numbers:
        try:
            if line[name] != instead:
                kind(line[name])
        except ValueError:
            return f"has the {name} {shorten(line[name])}"
    return None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _seed(text: str) -> int:
    if not (text.isdecimal() and int(text) < MOST_SEEDS):
        raise ValueError
    return int(text)


def read_scores(target: Target, lines: Sequence[Mapping[str, str]]) -> dict[str, dict[str, Score]]:
    """The means over seeds in lines of a CSV file, by row and metric, in the units that runs have.

    Raises:
        ValueError: a number is none.
    """
    scales = {metric.key: metric.scale for metric in target.metrics}
    found: dict[str, dict[str, Score]] = {}
    for line in lines:
        key = next((key for key in scales if _is_of(key, line["metric"])), None)
        if line["seed"] != "all" or not line["ours"] or key is None:
            continue
        found.setdefault(line["row"], {})[line["metric"]] = _score(line, scales[key])
    return found


def read_results(target: Target, lines: Sequence[Mapping[str, str]]) -> dict[str, Result]:
    """What each run in lines of a CSV file gave, by its recipe, in the units that runs have.

    Lines of single frames are those of the run that has the line before them.

    Raises:
        ValueError: a number is none.
    """
    scales = {metric.key: metric.scale for metric in target.metrics}
    found: dict[str, Result] = {}
    recipe = ""
    for line in lines:
        key = next((key for key in scales if _is_of(key, line["metric"])), None)
        if line["seed"] != "all" and key is not None:
            recipe = line["recipe"] or recipe
            scores = found.setdefault(recipe, Result({}, {name: line[name] for name in FACTS})).scores
            scores.setdefault(line["row"], {})[line["metric"]] = _score(line, scales[key])
    return found


def as_stored(target: Target, result: Result) -> Result:
    """A result as it is when it is read again: in the unit of the file and back, numbers are rounded."""
    scales = {metric.key: metric.scale for metric in target.metrics}

    def stored(name: str, score: Score) -> Score:
        scale = next((scale for key, scale in scales.items() if _is_of(key, name)), 1.0)
        error = None if score.error is None else scale * score.error / scale
        return score._replace(mean=scale * score.mean / scale, error=error)

    rows = {
        row: {name: stored(name, score) for name, score in of_row.items()}
        for row, of_row in result.scores.items()
    }
    return result._replace(scores=rows)


def _score(line: Mapping[str, str], scale: float) -> Score:
    error = float(line["standard_error"]) / scale if line["standard_error"] else None
    return Score(float(line["ours"]) / scale, error, int(line["n"]), line["over"])


def _is_of(key: str, name: str) -> bool:
    """Whether a metric's name in a file is a key, or that of one of its frames."""
    return name == key or (name.startswith(f"{key}_") and name.removeprefix(f"{key}_").isdigit())


def csv_lines(
    target: Target,
    results: Mapping[tuple[str, int], Result],
    means: Scores,
    common: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """A line for each metric, row and seed, and the mean over seeds beside the paper's number as seed "all".

    Args:
        results: by row and seed of the run.
        means: over the seeds.
        common: columns of all lines.
    """
    lines = []
    rows = [*(row.name for row in target.rows), *target.references]
    shown = {key: result for key, result in by_row(results).items() if key[0] in rows}
    for metric in target.metrics:
        for row, seed in sorted(shown, key=lambda key: (rows.index(key[0]), key[1])):
            result = shown[row, seed]
            own = {**common, **result.facts, "row": row, "seed": seed}
            lines += [own | found for found in _csv_scores(metric, result.scores[row])]
        for row in rows:
            paper = {"paper": metric.paper[row]} if metric.paper.get(row) is not None else {}
            own = {**common, **paper, "row": row, "seed": "all"}
            lines += [
                own | found for found in _csv_scores(metric, means.get(row, {})) or [{"metric": metric.key}]
            ]
    return lines


def _csv_scores(metric: Metric, scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """A line for the metric, then those of its frames, which do not repeat how the run is made again."""
    lines = []
    for name in sorted(
        (name for name in scores if _is_of(metric.key, name)), key=lambda name: name != metric.key
    ):
        score = scores[name]
        error = "" if score.error is None else metric.scale * score.error
        ours = {"ours": metric.scale * score.mean, "standard_error": error}
        repeated = {} if name == metric.key else dict.fromkeys(REPRODUCTION, "")
        lines.append({"metric": name, **ours, "n": score.n, "over": score.over, **repeated})
    return lines


def draw_table(target: Target, title: str, scores: Scores) -> Image.Image:
    """A panel for each metric, a bar for each row, the paper's number beside the row's name."""
    rows = [row.name for row in target.rows] + [name for name in target.references if name in scores]
    figure = new_figure(760, (90 + 26 * len(rows)) * len(target.metrics) + 40)
    figure.suptitle(title, fontsize=11)
    for axes, metric in zip(figure.subplots(len(target.metrics), squeeze=False)[:, 0], target.metrics):
        labels = []
        for place, row in enumerate(rows):
            value, score = metric.paper.get(row), scores.get(row, {}).get(metric.key)
            labels.append(row if value is None else f"{row} (paper: {value:{metric.form}})")
            if score is not None:
                error = None if score.error is None else metric.scale * score.error
                color = np.array(slot_color(1 if row in target.references else 4)) / 255
                axes.barh(place, metric.scale * score.mean, xerr=error, color=color, ecolor="0.2")
        axes.set_yticks(range(len(rows)), labels)
        axes.invert_yaxis()
        label_axes(axes, f"{metric.label}, ours", "")
    return render(figure)


def draw_computation(title: str, gflops: Mapping[str, Mapping[str, float]]) -> Image.Image:
    """Bars of GFLOP, a panel for each way of counting, by way and row."""
    figure = new_figure(760, 150 * len(gflops) + 40)
    figure.suptitle(title, fontsize=11)
    for axes, (label, values) in zip(figure.subplots(len(gflops), squeeze=False)[:, 0], gflops.items()):
        axes.barh(list(values), list(values.values()), color=np.array(slot_color(4)) / 255)
        axes.invert_yaxis()
        label_axes(axes, label, "")
    return render(figure)


def draw_curves(target: Target, title: str, scores: Scores) -> Image.Image:
    """What is measured of each predicted frame: a panel for each such metric, five a row, and a line for each row."""
    metrics = [
        metric for metric in target.metrics if any(frame_scores(metric.key, of) for of in scores.values())
    ]
    columns = min(len(metrics), 5)
    lines = -(-len(metrics) // columns)
    figure = new_figure(max(760, 300 * columns), 290 * lines + 130)
    figure.suptitle(title, fontsize=11)
    named: dict[str, Any] = {}  # of the legend
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, metric in zip(panels, metrics):
        for line, (row, of_row) in enumerate(scores.items()):
            curve = frame_scores(metric.key, of_row)
            if curve:
                steps = np.arange(1, len(curve) + 1)
                means, errors = (
                    metric.scale * np.array([getattr(score, name) or 0.0 for score in curve])
                    for name in ("mean", "error")
                )
                plot_line(axes, steps, means, line, row)
                color = np.array(slot_color(line)) / 255
                axes.fill_between(steps, means - errors, means + errors, color=color, alpha=0.25)
                axes.set_xticks(steps)
        axes.set_ylim(0)
        label_axes(axes, "predicted frame", "", textwrap.fill(metric.label, 32))
        named |= {label: line for line, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(named.values(), named, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    return render(figure)


def draw_predictions(title: str, video: np.ndarray, predicted: Mapping[str, np.ndarray]) -> Image.Image:
    """The predicted frames f32[s h w 3] of each row below the true ones f32[t h w 3], which end with them."""
    rows = [Row("truth", video)]
    for name, frames in predicted.items():
        rows.append(Row(name, [*[None] * (len(video) - len(frames)), *frames]))
    picture = draw_rows(rows, [f"t = {t + 1}" for t in range(len(video))])
    strip = Image.new("RGB", (picture.width, HEADER_HEIGHT), "white")
    ImageDraw.Draw(strip).text((4, 3), title, "black", ImageFont.load_default(size=FONT_SIZE))
    return stack([strip, picture])
