"""Scores beside the paper's: over seeds, as text, and whether they come in the paper's order."""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.evaluation import paper
from experiments.reproduction.targets import Metric, Target


class Score(NamedTuple):
    """A number and how sure it is."""

    mean: float
    error: float | None  # standard error
    n: int
    over: str  # "clips", "collisions", "questions" or "seeds"


Scores = Mapping[str, Mapping[str, Score]]  # by row, by metric


class Result(NamedTuple):
    """What a run gives a table."""

    scores: Scores  # its own and those of the references that were measured with it
    facts: Mapping[str, Any]  # where they come from, as `files.FACTS` names it


# References that `evaluation.summaries` gives with every model, as a table names them, and what is measured of each
# predicted frame.
REFERENCES = {
    "copy_last": "copy of the last frame",
    "mean_frame": "mean training frame",
    "mean_place": "all in the mean place",
}
MEASURES = ("mse", "centre_error", "lost")


def read_scores(row: str, record: Mapping[str, Any]) -> dict[str, dict[str, Score]]:
    """All numbers of a run's record that a table may show, and those of the references in it, by row and metric."""
    if "scores" in record:
        rows = {row: record["scores"], **record["references"]}
        return {name: _answer_scores(scores) for name, scores in rows.items()}
    metrics = record["metrics"] | ({"motion": record["motion"]} if "motion" in record else {})
    found: dict[str, dict[str, Score]] = {
        row: {
            name: Score(entry["mean"], entry["standard_error"], entry["n"], _counted(name))
            for name, entry in metrics.items()
            if isinstance(entry["mean"], float)
        }
    }
    kinds = {"": metrics} | {f".{kind}": scores for kind, scores in record.get("by_clip", {}).items()}
    for suffix, of_kind in kinds.items():
        for predictor, name in {"predicted": row, **REFERENCES}.items():
            for measure in MEASURES:
                entry = of_kind.get(f"{predictor}_{measure}", {"mean": None})
                if entry["mean"] is not None:
                    found.setdefault(name, {}).update(_frame_scores(f"predicted_{measure}{suffix}", entry))
    return found


def _counted(name: str) -> str:
    return "collisions" if name == "collision_turns" else "clips"


def _frame_scores(key: str, entry: Mapping[str, Any]) -> dict[str, Score]:
    """Of each predicted frame, and of their mean, whose error is at most the mean of theirs."""
    errors = entry["standard_error"] or [None] * len(entry["mean"])
    curve = [Score(mean, error, entry["n"], "clips") for mean, error in zip(entry["mean"], errors)]
    error = None if None in errors else statistics.fmean(errors)
    mean = Score(statistics.fmean(entry["mean"]), error, entry["n"], "clips")
    return {key: mean} | {f"{key}_{step}": score for step, score in enumerate(curve, 1)}


def _answer_scores(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Score]:
    found = {}
    for name in paper.Reasoning._fields:
        of_type, suffix = name.removesuffix("_per_option"), name.endswith("_per_option")
        share, number, error = (
            ("per_option", "num_options", "option_standard_error")
            if suffix
            else ("per_question", "n", "standard_error")
        )
        entry = scores.get(of_type, {})
        if share in entry:
            p, n = entry[share], entry[number]
            # Results of an earlier version have none over videos.
            found[name] = Score(p, entry.get(error, math.sqrt(p * (1 - p) / n)), n, "questions")
    return found


def by_row(results: Mapping[tuple[str, int], Result]) -> dict[tuple[str, int], Result]:
    """A result for each row and seed, references among them: of these the last run's that has them."""
    return {
        (row, seed): Result({row: scores}, result.facts)
        for (_, seed), result in results.items()
        for row, scores in result.scores.items()
    }


def over_seeds(results: Mapping[tuple[str, int], Result]) -> dict[str, dict[str, Score]]:
    """The means over seeds, by row and metric, and their standard errors; of a single seed its own."""
    collected: dict[str, dict[str, list[Score]]] = {}
    for (row, _), result in by_row(results).items():
        for metric, score in result.scores[row].items():
            collected.setdefault(row, {}).setdefault(metric, []).append(score)
    return {
        row: {metric: _mean(scores) for metric, scores in metrics.items()}
        for row, metrics in collected.items()
    }


def _mean(scores: Sequence[Score]) -> Score:
    means = [score.mean for score in scores]
    if len(set(means)) == 1:  # one seed, or a reference that hangs on none
        return scores[0]
    error = statistics.stdev(means) / math.sqrt(len(means))
    return Score(statistics.fmean(means), error, len(means), "seeds")


def order(metric: Metric, scores: Scores) -> dict[tuple[str, str], str]:
    """Of each pair of rows that the paper puts in an order: "yes", "no" or "too close", or "unknown" without a score.

    Too close are two rows that differ by less than two standard errors.
    """
    found = {}
    for better, worse in metric.expected():
        pair = [scores.get(row, {}).get(metric.key) for row in (better, worse)]
        if None in pair:
            found[better, worse] = "unknown"
            continue
        lead = (pair[0].mean - pair[1].mean) * (1 if metric.higher else -1)
        errors = [score.error or 0.0 for score in pair]
        verdict = "yes" if lead > 0 else "no"
        found[better, worse] = "too close" if abs(lead) <= 2 * math.hypot(*errors) else verdict
    return found


def agreement(metric: Metric, scores: Scores) -> str:
    """Whether the order is the paper's, in a line."""
    verdicts = order(metric, scores)
    if not verdicts:
        return "the paper has no order"
    counts = {name: list(verdicts.values()).count(name) for name in ("yes", "no", "too close", "unknown")}
    whole = "no" if counts["no"] else "unknown" if counts["unknown"] else "too close to tell"
    whole = "yes" if counts["yes"] == len(verdicts) else whole
    parts = [f"{counts['yes']} of {len(verdicts)} pairs as in the paper"]
    words = {"no": "the other way round", "too close": "too close", "unknown": "unknown"}
    parts += [f"{counts[name]} {said}" for name, said in words.items() if counts[name]]
    return f"{whole} ({', '.join(parts)})"


def table(target: Target, scores: Scores, failed: Collection[str], header: Sequence[str]) -> str:
    """The scores as text: for each metric paper, ours, and whether the order agrees."""
    rows = [row.name for row in target.rows] + [name for name in target.references if name in scores]
    quoted = {row.name for row in target.rows if row.variant is None}
    width = max(len(name) for name in rows) + 2
    lines = [target.title, *header]
    for metric in target.metrics:
        better = "higher" if metric.higher else "lower"
        lines += [
            "",
            f"{metric.label} ({better} is better)",
            f"  {'':<{width}}{'paper':>10}   ours ± standard error",
        ]
        for name in rows:
            value = metric.paper.get(name)
            shown = "-" if value is None else format(value, metric.form)
            score = scores.get(name, {}).get(metric.key)
            if score is not None:
                ours = _shown(metric, score)
            else:
                ours = "quoted" if name in quoted else "failed" if name in failed else "-"
            lines.append(f"  {name:<{width}}{shown:>10}   {ours}")
        against = [
            f"{worse} before {better}" for (better, worse), of in order(metric, scores).items() if of == "no"
        ]
        lines.append(f"  ordering agrees? {'; '.join([agreement(metric, scores), *against])}")
        lines += _by_frame(metric, rows, scores, width)
    return "\n".join(lines)


def _shown(metric: Metric, score: Score) -> str:
    mean = format(metric.scale * score.mean, metric.form)
    return mean if score.error is None else f"{mean} ± {format(metric.scale * score.error, metric.form)}"


def _by_frame(metric: Metric, rows: Sequence[str], scores: Scores, width: int) -> list[str]:
    lines = []
    for name in rows:
        curve = frame_scores(metric.key, scores.get(name, {}))
        if curve:
            cells = "".join(f"{metric.scale * score.mean:>12{metric.form}}" for score in curve)
            lines.append(f"  {name:<{width}}{cells}")
    return ["  of each predicted frame", *lines] if lines else []


def frame_scores(key: str, scores: Mapping[str, Score]) -> list[Score]:
    """The scores of a metric for each predicted frame, where it has such."""
    return [scores[f"{key}_{step}"] for step in range(1, len(scores)) if f"{key}_{step}" in scores]
