"""How a reasoner learned: its loss and its right answers over the steps, beside the blind one's."""

import pathlib

from experiments.pictures import drawing
from experiments.runs.logs import read_rows

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
            rows = [row for row in read_rows(workdir / folder / "metrics.jsonl") if row["split"] == split]
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
