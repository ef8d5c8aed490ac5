"""How a reasoner learned: its loss and its right answers over the steps, beside the blind one's."""

import json
import pathlib
from collections.abc import Mapping

from experiments.pictures import drawing

RUNS = {"": "", "blind": " (blind)"}  # folders below the run's


def write(workdir: pathlib.Path) -> pathlib.Path:
    """Writes figures/learning.png from the logs of a run and of its blind reference; returns its path."""
    panels = {
        "training loss, nats": ("train", {"loss": "loss"}),
        "right answers in validation": (
            "valid",
            {
                f"{name}_per_question": name
                for name in ("descriptive", "explanatory", "predictive", "counterfactual")
            },
        ),
    }
    figure = drawing.new_figure(900, 320)
    for axes, (title, (split, names)) in zip(figure.subplots(1, 2), panels.items()):
        color = 0
        for folder, note in RUNS.items():
            rows = [row for row in _read_rows(workdir / folder) if row["split"] == split]
            for name, label in names.items():
                points = [(row["step"], row[name]) for row in rows if name in row]
                if points:
                    drawing.plot_line(axes, *zip(*points), color, label + note)
                color += 1
        drawing.label_axes(axes, "step", "", title)
        if axes.lines:
            axes.legend(fontsize=8)
    path = workdir / "figures" / "learning.png"
    path.parent.mkdir(exist_ok=True)
    return drawing.save_png(drawing.render(figure), path)


def _read_rows(folder: pathlib.Path) -> list[Mapping[str, float]]:
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
