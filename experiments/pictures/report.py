"""report.html: the figures and numbers of a model in one page that needs nothing else, neither network nor scripts."""

import base64
import html
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines.whole_files import whole_file
from experiments.pictures.drawing import label_axes, new_figure, plot_line, render, save_png
from experiments.runs.logs import read_rows

# Of metrics.json: what its numbers are about.
MEASURED = (
    "data",
    "simulated",
    "split",
    "clips",
    "num_clips",
    "num_frames",
    "stride",
    "step",
    "commit",
    "command",
)
CURVES = {
    "loss": "nats per clip",
    "mse": "squared error in [0, 1]",
    "mse_predicted": "squared error in [0, 1]",
    "mask_entropy": "1: all slots share every pixel",
}
STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fdfdfc; --soft: #5c5c5c; --line: #d8d8d4; --card: #f3f3ef; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececea; --paper: #161718; --soft: #a9aaac; --line: #3a3c3f; --card: #222427; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem; }
p, figcaption { color: var(--soft); margin: .3rem 0 .6rem; }
.data { display: inline-block; padding: .15rem .6rem; border: 1px solid var(--line); border-radius: 1rem; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); }
figure { margin: 0 0 1rem; }
/* White, because the pictures are; at their own size, because smaller their labels could not be read. */
figure .wide { background: #fff; padding: .4rem; }
img { display: block; max-width: none; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { white-space: nowrap; }
td.number, tr:first-child th ~ th { text-align: right; white-space: nowrap; }
tr:last-child > * { border-bottom: 0; }
"""


class Picture(NamedTuple):
    """One figure of the report."""

    title: str
    caption: str  # what it shows, and how to read it
    alt: str  # for those who do not see it
    files: tuple[pathlib.Path, ...]  # PNG and GIF


def write_report(
    path: pathlib.Path,
    facts: Mapping[str, Any],
    pictures: Sequence[Picture],
    metrics: Mapping[str, Any],
) -> None:
    """Writes the page, whole or not at all.

    Args:
        facts: what the model is and was trained on, by name; "simulated" says whether the data are.
        metrics: what metrics.json holds; nothing where evaluate.py has not been run.
    """
    with whole_file(path) as partial:
        # Names of folders may be no text.
        partial.write_text(page(facts, pictures, metrics), encoding="utf-8", errors="backslashreplace")


def page(facts: Mapping[str, Any], pictures: Sequence[Picture], metrics: Mapping[str, Any]) -> str:
    """The page as text."""
    facts = dict(facts)
    data = "simulated data" if facts.pop("simulated") else "real data"
    sections = [_section(picture) for picture in pictures]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(str(facts.get("model", "")))}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<h1>What this model sees and predicts</h1>
<p><span class="data">{data}</span> A slot keeps its colour in a clip.</p>
{_table(None, [(name, _text(value)) for name, value in facts.items()])}
<h2>Metrics</h2>
{_metrics(metrics)}
{"".join(sections)}
</body>
</html>
"""


def measurements(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All records with a "mean" in nested metrics, with their dotted names; means may be lists, or None."""
    for name, value in metrics.items():
        if isinstance(value, Mapping) and "mean" in value:
            yield prefix + name, value
        elif isinstance(value, Mapping):
            yield from measurements(value, f"{prefix}{name}.")


def _metrics(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return "<p>Not measured yet: <code>python -m experiments.evaluate</code> does it.</p>"
    found = list(measurements(metrics.get("metrics", {})))
    curves = [(name, *map(_number, x["mean"])) for name, x in found if isinstance(x["mean"], list)]
    single = [
        (name, *(_number(x.get(field)) for field in ("mean", "standard_error", "n")))
        for name, x in found
        if not isinstance(x["mean"], list)
    ]
    parts = [
        _table(None, [(name, _text(metrics[name])) for name in MEASURED if metrics.get(name) is not None])
    ]
    if single:
        parts.append(_table(("metric", "mean", "standard error", "n"), single))
    if curves:
        steps = range(1, max(map(len, curves)))
        parts.append(_table(("predicted frame", *map(str, steps)), curves))
    return "<br>".join(parts)


def learning_curves(workdir: pathlib.Path, folder: pathlib.Path) -> Picture | None:
    """Draws what a run logged in metrics.jsonl; None where there is nothing to draw."""
    rows = read_rows(workdir / "metrics.jsonl")
    names = [name for name in CURVES if any(name in row for row in rows)]
    if not names:
        return None
    figure = new_figure(900, 260 * len(names) + 20)
    for axes, name in zip(figure.subplots(len(names), sharex=True, squeeze=False)[:, 0], names):
        for split, color in (("train", 1), ("valid", 5)):
            points = [(row["step"], row[name]) for row in rows if row["split"] == split and name in row]
            if points:
                style = {"markersize": 4} if len(points) <= 60 else {"marker": ""}
                plot_line(axes, *zip(*points), color, split, **style)
        label_axes(axes, "training step" if name == names[-1] else "", CURVES[name], name)
        axes.legend(frameon=False)
    last = max(row["step"] for row in rows)
    return Picture(
        "Learning curves",
        f"Training and validation over {last} steps: the loss, and the mean squared errors of reconstructed and of "
        "predicted frames.",
        f"Line charts of {', '.join(names)} over the training step, up to step {last}.",
        (save_png(render(figure), folder / "learning_curves.png"),),
    )


def _section(picture: Picture) -> str:
    images = "".join(
        f'<div class="wide" tabindex="0"><img src="{_data_uri(file)}" alt="{html.escape(alt)}"></div>\n'
        for file in picture.files
        for alt in [picture.alt + (" Animated." if file.suffix == ".gif" else "")]
    )
    return (
        f"<h2>{html.escape(picture.title)}</h2>\n<figure><figcaption>{html.escape(picture.caption)}</figcaption>\n"
        f"{images}</figure>\n"
    )


def _data_uri(path: pathlib.Path) -> str:
    kind = path.suffix.removeprefix(".")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> str:
    head = "" if header is None else "<tr>" + "".join(f"<th>{name}</th>" for name in header) + "</tr>\n"
    kind = "" if header is None else ' class="number"'
    body = "".join(
        f"<tr><th>{html.escape(name)}</th>"
        + "".join(f"<td{kind}>{html.escape(value)}</td>" for value in values)
        + "</tr>\n"
        for name, *values in rows
    )
    return f'<div class="wide"><table>\n{head}{body}</table></div>\n'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {entry}" for name, entry in value.items() if entry is not None)
    return "not known" if value is None else str(value)
