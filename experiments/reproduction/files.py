"""What a reproduction leaves on disk: its numbers as CSV, and its picture."""

import csv
import pathlib
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
from experiments.reproduction.comparison import Score, Scores, frame_scores
from experiments.reproduction.targets import Metric, Target

COLUMNS = (
    "target budget data simulated split metric row seed paper ours standard_error n over steps run params_sha256 commit"
).split()


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


def csv_lines(
    target: Target,
    results: Mapping[tuple[str, int], Mapping[str, Score]],
    means: Scores,
    facts: Mapping[tuple[str, int], Mapping[str, Any]],
    common: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """A line for each metric, row and seed, and the mean over seeds beside the paper's number as seed "all".

    Args:
        results: by row and seed, by metric.
        means: over the seeds.
        facts: columns that a row and seed has for itself.
        common: columns of all lines.
    """
    lines = []
    rows = [*(row.name for row in target.rows), *target.references]
    for metric in target.metrics:
        for (row, seed), scores in results.items():
            if row not in rows:
                continue
            own = {**common, **facts.get((row, seed), {}), "row": row, "seed": seed}
            lines += [own | found for found in _csv_scores(metric, scores)]
        for row in rows:
            paper = {"paper": metric.paper[row]} if metric.paper.get(row) is not None else {}
            own = {**common, **paper, "row": row, "seed": "all"}
            lines += [
                own | found for found in _csv_scores(metric, means.get(row, {})) or [{"metric": metric.key}]
            ]
    return lines


def _csv_scores(metric: Metric, scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    lines = []
    for name, score in scores.items():
        if name == metric.key or name.removeprefix(f"{metric.key}_").isdigit():
            error = "" if score.error is None else metric.scale * score.error
            ours = {"ours": metric.scale * score.mean, "standard_error": error}
            lines.append({"metric": name, **ours, "n": score.n, "over": score.over})
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
    for axes, (label, by_row) in zip(figure.subplots(len(gflops), squeeze=False)[:, 0], gflops.items()):
        axes.barh(list(by_row), list(by_row.values()), color=np.array(slot_color(4)) / 255)
        axes.invert_yaxis()
        label_axes(axes, label, "")
    return render(figure)


def draw_curves(title: str, scores: Scores) -> Image.Image:
    """The error of each predicted frame, a line for each row."""
    figure = new_figure(760, 460)
    axes = figure.add_subplot()
    for line, (row, of_row) in enumerate(scores.items()):
        curve = frame_scores("predicted_mse", of_row)
        if curve:
            steps, means = np.arange(1, len(curve) + 1), np.array([score.mean for score in curve])
            errors = np.array([score.error or 0.0 for score in curve])
            plot_line(axes, steps, means, line, row)
            color = np.array(slot_color(line)) / 255
            axes.fill_between(steps, means - errors, means + errors, color=color, alpha=0.25)
            axes.set_xticks(steps)
    axes.set_ylim(0)
    label_axes(axes, "predicted frame", "mean squared error (pixels in [0, 1])", title)
    axes.legend(frameon=False)
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
