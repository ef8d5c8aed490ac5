"""From the numbers of each clip to the scores of all clips, and of some kinds of them."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.evaluation import probe
from experiments.evaluation.scoring import MASK_METRICS, Measured

Summary = dict[str, dict[str, Any]]
OF_PREDICTIONS = ("predicted_", "copy_last_", "mean_frame_", "mean_place_")


def summary(measured: Measured) -> Summary:
    """The scores of all clips.

    Returns:
        By name {"mean", "standard_error", "n"}, over clips, each clip's mean over its frames being one sample:
        `mse`, `psnr`, `ssim` and perhaps `lpips` of the reconstruction; `ari`, `fg_ari`, `miou` and `slot_kept`
        (of `objects.kept`) over the clips with ground truth; `predicted_`, `copy_last_` and `mean_frame_` `mse`
        and so on as lists with an entry for each predicted frame; likewise over the clips with ground truth
        what `objects.scores` gives; `collision_turns`, the share of the n collisions of `objects.turns` after
        which both objects turn the right way; `dynamics_r2`, `dynamics_r2_x` and `dynamics_r2_y` of
        `probe.fit_velocity`, n being the held-out samples. Means are None where n is 0 (or R2 has no value);
        what the model does not have is left out. PSNR of a frame is at most 58.9 dB.
    """
    # Without ground truth a model with slots has scores of no clips; one without slots has no such scores.
    masks = MASK_METRICS if measured.has_slots else ()
    found = _of_clips(measured, range(len(measured.rows)), masks)
    return found if measured.samples is None else found | _dynamics(measured.samples)


def by_clip(measured: Measured) -> dict[str, Summary]:
    """The scores of predictions, as of `summary`, over some of the clips; a kind without clips is left out.

    Kinds: `with_collision` and `without_collision`, by whether a touch first shows in a predicted frame; `moving` and
    `still`, the halves whose objects go farther, and less far, from where they were last seen, on average over the
    predicted frames. No clip is in the first two without annotation, nor in the others without ground truth.
    """
    rows = measured.rows
    if not any("predicted_mse" in row for row in rows):
        return {}
    distance = {
        place: row["copy_last_centre_error"].mean()
        for place, row in enumerate(rows)
        if "copy_last_centre_error" in row
    }
    middle = statistics.median(distance.values()) if distance else 0.0
    kinds = {
        "with_collision": [place for place, touched in enumerate(measured.collides) if touched],
        "without_collision": [place for place, touched in enumerate(measured.collides) if touched is False],
        "moving": [place for place, far in distance.items() if far > middle],
        "still": [place for place, far in distance.items() if far <= middle],
    }
    return {
        kind: {
            name: scores
            for name, scores in _of_clips(measured, places).items()
            if name.startswith(OF_PREDICTIONS) or name == "collision_turns"
        }
        for kind, places in kinds.items()
        if places
    }


def _of_clips(measured: Measured, places: Sequence[int], always: Sequence[str] = ()) -> Summary:
    rows = [measured.rows[place] for place in places]
    names = dict.fromkeys([*(name for row in rows for name in row), *always])
    found = {name: summarise([row[name] for row in rows if name in row]) for name in names}
    if "predicted_lost" in found:
        turned = [float(right) for place in places for right in measured.turns[place]]
        found["collision_turns"] = summarise(turned)
    return found


def summarise(samples: Sequence[np.ndarray | float]) -> dict[str, Any]:
    """Mean, standard error and number of samples; of several numbers at once where each sample is a list."""
    if not len(samples):
        return {"mean": None, "standard_error": None, "n": 0}
    samples = np.stack(samples)
    error = (samples.std(0, ddof=1) / math.sqrt(len(samples))).tolist() if len(samples) > 1 else None
    return {"mean": samples.mean(0).tolist(), "standard_error": error, "n": len(samples)}


def _dynamics(samples: Sequence[probe.Samples]) -> Summary:
    fit = probe.fit_velocity(samples)
    rest = {"standard_error": None, "n": fit.num_held_out, "n_fitted": fit.num_fitted}
    return {f"dynamics_{name}": {"mean": getattr(fit, name), **rest} for name in ("r2", "r2_x", "r2_y")}
