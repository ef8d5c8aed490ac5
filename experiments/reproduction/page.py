"""One page of all tables and figures of a budget, made of their CSV files and pictures alone."""

import pathlib
import re
from collections.abc import Mapping, Sequence

from data_pipelines.whole_files import whole_file
from experiments.evaluation import paper
from experiments.reproduction import comparison, files
from experiments.reproduction.comparison import Score, Scores, frame_scores
from experiments.reproduction.targets import TARGETS, Metric, Target

SHA = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{32,56}\b")  # of Git or a file
VERDICTS = {"yes": "as in the paper", "no": "the other way round"}


def write(folder: pathlib.Path, budget: str) -> pathlib.Path:
    """Writes FOLDER/BUDGET.md from the files BUDGET-TARGET.csv and .png beside it, and returns its path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is another version's.
    """
    found = {name: folder / f"{budget}-{name}.csv" for name in TARGETS}
    missing = [name for name, path in found.items() if not path.is_file()]
    if len(missing) == len(found):
        raise FileNotFoundError(
            f"{folder} holds no results of the budget {budget}, no {budget}-TARGET.csv: "
            f"make some with `python -m experiments.reproduce all --budget={budget}`"
        )
    parts = [
        f"# The paper's tables and figures again, budget {budget}",
        f"Made of the CSV files beside it by `python -m experiments.reproduce page --budget={budget} "
        "--workdir=FOLDER`, without training. ± is a standard error: over seeds, or over clips or questions where "
        "there is one seed. Two rows that differ by less than two standard errors are too close to tell.",
    ]
    parts += [part for name in found if name not in missing for part in section(folder, budget, name)]
    if (folder / "table4.png").is_file():
        parts += ["## Table 4: computational complexity", "![Table 4](table4.png)"]
    if missing:
        parts.append(f"Not made yet: {', '.join(missing)}.")
    path = folder / f"{budget}.md"
    with whole_file(path) as partial:
        partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def section(folder: pathlib.Path, budget: str, name: str) -> list[str]:
    """The paragraphs of a table or figure."""
    target, lines = TARGETS[name], files.read_csv(folder / f"{budget}-{name}.csv")
    scores = files.read_scores(target, lines)
    systems = {row.name for row in target.rows} | {"blind"}
    runs = {(line["row"], line["seed"]): line for line in lines if line["run"] and line["row"] in systems}
    seeds = sorted({seed for _, seed in runs}, key=int)
    simulated = "*simulated*" if lines[0]["simulated"] == "simulated" else "real"
    hardware = ", ".join(sorted({line["hardware"] for line in runs.values()}))
    quoted = any(metric.paper for metric in target.metrics)
    parts = [
        f"## {target.title}",
        f"{lines[0]['data']}, {simulated}, {lines[0]['split']} split, {lines[0]['scored']}; "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}; {hardware}. "
        + (f"In brackets: {paper.LABEL}." if quoted else "The paper has no numbers for this."),
        _table(target, scores),
        _unmeasured(target, scores),
        f"![{target.title}]({budget}-{name}.png)" if (folder / f"{budget}-{name}.png").is_file() else "",
        _orders(target, scores),
        _curves(target, scores),
        "How each run is made again:",
        _runs(runs),
    ]
    return [part for part in parts if part]


def _rows(target: Target, scores: Scores) -> list[str]:
    return [row.name for row in target.rows] + [name for name in target.references if name in scores]


def _table(target: Target, scores: Scores) -> str:
    """A line for each metric, of which there may be many, a column for each system."""
    quoted = {row.name for row in target.rows if row.variant is None}
    names, lines = _rows(target, scores), []
    for metric in measured(target, scores):
        cells = []
        for name in names:
            score, value = scores.get(name, {}).get(metric.key), metric.paper.get(name)
            ours = _shown(metric, score) if score else "quoted" if name in quoted else "-"
            cells.append(ours if value is None else f"{ours} ({value:{metric.form}})")
        lines.append([f"{metric.label} ({'higher' if metric.higher else 'lower'} is better)", *cells])
    return markdown(["", *names], lines)


def measured(target: Target, scores: Scores) -> list[Metric]:
    """The metrics that a system of ours has."""
    return [metric for metric in target.metrics if any(metric.key in of_row for of_row in scores.values())]


def _unmeasured(target: Target, scores: Scores) -> str:
    missing = [metric.label for metric in target.metrics if metric not in measured(target, scores)]
    return f"Not measured on these data: {'; '.join(missing)}." if missing else ""


def _orders(target: Target, scores: Scores) -> str:
    """Whether the order agrees, and of which pairs that the paper puts in one it can be told."""
    rows = []
    for metric in measured(target, scores):
        verdicts = comparison.order(metric, scores)
        if verdicts:
            pairs = {
                verdict: "; ".join(
                    f"{better} before {worse}" for (better, worse), v in verdicts.items() if v == verdict
                )
                for verdict in VERDICTS
            }
            rows.append([metric.label, comparison.agreement(metric, scores), *pairs.values()])
    return markdown(["does the order agree?", "", *VERDICTS.values()], rows) if rows else ""


def _curves(target: Target, scores: Scores) -> str:
    """Over all clips; those over kinds of clips are in the picture and the CSV file."""
    rows = []
    for metric in (metric for metric in target.metrics if "." not in metric.key):
        for name in _rows(target, scores):
            curve = frame_scores(metric.key, scores.get(name, {}))
            if curve:
                rows.append([metric.label, name, *(_mean(metric, score) for score in curve)])
    steps = max((len(row) - 2 for row in rows), default=0)
    return markdown(["by predicted frame", "", *map(str, range(1, steps + 1))], rows) if rows else ""


def _runs(runs: Mapping[tuple[str, str], Mapping[str, str]]) -> str:
    """A line for each system; its command is the first seed's."""
    rows = []
    for name in dict.fromkeys(row for row, _ in runs):
        lines = [line for (row, _), line in runs.items() if row == name]
        columns = (
            ", ".join(dict.fromkeys(SHA.sub(r"\1", line[column]) for line in lines))
            for column in ("seed", "steps", "params_sha256", "commit")
        )
        rows.append([name, *columns, f"`{lines[0]['command']}`"])
    head = ["system", "seeds", "steps", "parameters (sha256)", "commit", "command, of the first seed"]
    return markdown(head, rows)


def _mean(metric: Metric, score: Score) -> str:
    return format(metric.scale * score.mean, metric.form)


def _shown(metric: Metric, score: Score) -> str:
    error = "" if score.error is None else f" ± {metric.scale * score.error:{metric.form}}"
    return f"{_mean(metric, score)}{error}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; bars in its cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
