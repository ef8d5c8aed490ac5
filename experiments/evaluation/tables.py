"""The scores of a model as text, with the paper's beside them."""

from typing import Any

from experiments.evaluation import paper
from experiments.runs.clips import SHOWN_RULES

METRICS = {
    "mse": ("MSE", 1, ".6f"),
    "psnr": ("PSNR (dB)", 1, ".2f"),
    "ssim": ("SSIM", 1, ".4f"),
    "lpips": ("LPIPS", 1, ".4f"),  # where it is measured
}
MASK_METRICS = {
    "ari": ("ARI", 1, ".3f"),
    "fg_ari": ("F-ARI (%)", 100, ".2f"),
    "miou": ("mIoU (%)", 100, ".2f"),
    "slot_kept": ("slots kept (%)", 100, ".1f"),  # by how many of the objects, through the clip
}
PREDICTORS = {
    "predicted": "model",
    "copy_last": "copy of the last frame",
    "mean_frame": "mean training frame",
}
# Where predictions put the objects, see `objects`.
OBJECT_METRICS = {"centre_error": ("centres (px)", 1, ".2f"), "lost": ("lost (%)", 100, ".1f")}
OBJECT_PREDICTORS = {
    "predicted": "model",
    "copy_last": "objects stay",
    "mean_place": "all in the middle",
}
KINDS = {
    "with_collision": "with a collision among the predicted frames",
    "without_collision": "without",
    "moving": "the half whose objects move more",
    "still": "the half whose objects move less",
}


def table(record: dict[str, Any]) -> str:
    """The scores as text, with the paper's beside them; a sentence for what the model does not have."""
    scores, row = record["metrics"], record["system"]
    simulated = ", *simulated*" if record["simulated"] else ""
    lines = [
        f"{record['model']}, {row}, step {record['step']}, seed {record['seed']}",
        f"{record['data']}{simulated}, {record['split']}",
        f"{record['num_clips']} clips of {record['num_frames']} frames, {record['stride']} source frames apart: "
        f"{SHOWN_RULES[record['clips']]} (--clips={record['clips']})",
        "",
        f"{'decomposition':<16}{'mean':>10}   {'standard error':<16}{paper.LABEL}, {row}",
    ]
    measured = {name: shown for name, shown in METRICS.items() if name in scores}
    shown = measured | MASK_METRICS
    for name, (label, scale, form) in ((name, shown[name]) for name in shown if name in scores):
        quoted, score = getattr(paper.TABLE_3.get(row), name, None), scores[name]
        lines.append(
            f"{label:<16}{_number(score['mean'], scale, form):>10}   "
            f"{_number(score['standard_error'], scale, form):<16}{_number(quoted, scale, form)}"
        )
    if "ari" not in scores:
        lines.append(f"{row} has no slots: there is nothing to compare with the true segmentation")
    if "predicted_mse" in scores:
        lines += ["", *_prediction_lines(record, measured), *_lines_by_clip(record)]
    else:
        lines += ["", f"{row} predicts no frames"]
    if "dynamics_r2" in scores:
        r2 = [_number(scores[f"dynamics_{name}"]["mean"], 1, ".3f") for name in ("r2", "r2_x", "r2_y")]
        fitted, held_out = (scores["dynamics_r2"][name] for name in ("n_fitted", "n"))
        lines += [
            "",
            f"dynamics: a linear map to the object's velocity in the image has R2 {r2[0]} (x {r2[1]}, y {r2[2]})",
            f"  fitted to {fitted} slots of the first half of the clips, tested on {held_out} of the other",
        ]
    return "\n".join(lines)


def _prediction_lines(record: dict[str, Any], measured: dict[str, tuple[str, float, str]]) -> list[str]:
    scores, observed = record["metrics"], record["num_observed"]
    num_predicted = len(scores["predicted_mse"]["mean"])
    is_all = record["num_frames"] == observed + num_predicted
    short = ", as many as these clips hold" if num_predicted < 6 and is_all else ""
    lines = [
        f"prediction of {num_predicted} frames from {observed}{short}; the paper plots 6 (Figure 7) and "
        "gives no numbers",
        f"{'frame':<36}" + "".join(f"{step + 1 + observed:>10}" for step in range(num_predicted)),
    ]
    lines += _curves(scores, measured, PREDICTORS) + _object_lines(scores)
    if "mean_frame_mse" not in scores:
        lines.append(f"the mean training frame is left out: {record['model']} does not hold it")
    return lines


def _curves(
    scores: dict[str, Any], shown: dict[str, tuple[str, float, str]], predictors: dict[str, str]
) -> list[str]:
    lines = []
    for name, (label, scale, form) in shown.items():
        for predictor, who in predictors.items():
            means = scores.get(f"{predictor}_{name}", {"mean": None})["mean"]
            if means is not None:
                lines.append(
                    f"{label:<13}{who:<23}" + "".join(f"{_number(x, scale, form):>10}" for x in means)
                )
    return lines


def _object_lines(scores: dict[str, Any]) -> list[str]:
    lines = _curves(scores, OBJECT_METRICS, OBJECT_PREDICTORS)
    turned = scores.get("collision_turns")
    if turned is not None:
        share = _number(turned["mean"], 100, ".1f")
        lines.append(f"both objects turn the right way after {share} % of {turned['n']} collisions")
    return lines


def _lines_by_clip(record: dict[str, Any]) -> list[str]:
    lines = []
    for kind, scores in record["by_clip"].items():
        lines += ["", f"{scores['predicted_mse']['n']} clips: {KINDS[kind]}"]
        lines += _curves(scores, {"mse": METRICS["mse"]}, PREDICTORS) + _object_lines(scores)
    return lines


def _number(value: float | None, scale: float, form: str) -> str:
    return "-" if value is None else format(scale * value, form)
