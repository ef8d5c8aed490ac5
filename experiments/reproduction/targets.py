"""What each table and figure of the paper compares: its systems, its numbers, and the order it finds them in."""

from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.evaluation import paper


class Row(NamedTuple):
    """A system, as a table names it."""

    name: str
    variant: str | None = None  # of experiments/configs/baselines.py; None: quoted, nothing is trained
    model: Mapping[str, Any] = MappingProxyType({})  # changes to its options
    features: str | None = None  # what ALOE is given of it, for tables of answers; as `VQAConfig.features`
    hidden_slots: bool = False  # ALOE learns with its self-supervision
    by_programs: bool = (
        False  # the questions' programs answer instead of ALOE, from what probes read off the features
    )


class Metric(NamedTuple):
    """A column: what is measured, what the paper has for it, and which rows it puts before which."""

    key: str
    label: str
    form: str = ".1f"
    scale: float = 1.0  # of our numbers, to the unit of the label
    higher: bool = True  # is better
    paper: Mapping[str, float | None] = MappingProxyType({})  # by row, in the unit of the label
    claims: tuple[tuple[str, str], ...] = ()  # (better row, worse row), where the paper has no numbers

    def expected(self) -> list[tuple[str, str]]:
        """All pairs of rows of which the paper finds the first better than the second."""
        known = [(value, row) for row, value in self.paper.items() if value is not None]
        best_first = [row for _, row in sorted(known, reverse=self.higher)]
        return [*self.claims, *combinations(best_first, 2)]


class Target(NamedTuple):
    """A table or figure."""

    title: str
    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...]
    scenes: str = "clevrer"  # "clevrer", "reasoning" (whole frames, few latents) or "towers"
    references: tuple[str, ...] = ()  # rows that need no training of their own
    has_pictures: bool = False  # of the predicted frames
    is_long: bool = False  # as many frames are predicted as the budget has for it, instead of the model's six


ODDN, ODDN_L = Row("ODDN", "oddn"), Row("ODDN-l", "long_range")
IODINE, PROVIDE = Row("IODINE", "iodine"), Row("PROVIDE", "provide")
NO_RELATION, LINEAR = Row("ODDN w/o relation", "no_relation"), Row("IODINE linear", "iodine_linear")
SRVP = Row("SRVP", "srvp")


def _decomposition(name: str, *args: Any) -> Metric:
    scale = args[2]
    return Metric(
        name, *args, {row: round(scale * getattr(numbers, name), 6) for row, numbers in paper.TABLE_3.items()}
    )


def _answers(rows: Mapping[str, paper.Reasoning]) -> tuple[Metric, ...]:
    labels = {name: f"{name.replace('_', ' ')}, % right" for name in paper.Reasoning._fields}
    return tuple(
        Metric(name, label, scale=100, paper={row: getattr(numbers, name) for row, numbers in rows.items()})
        for name, label in labels.items()
    )


def _prediction(*claims: tuple[str, str]) -> Metric:
    return Metric("predicted_mse", "MSE of the predicted frames", ".6f", higher=False, claims=claims)


def _by_clip(metric: Metric) -> tuple[Metric, ...]:
    """A metric of predictions over all clips, then over each kind of them, as `evaluation.summaries.by_clip`."""
    kinds = {
        kind: f"{metric.label}, clips {words}"
        for kind, words in {
            "with_collision": "with a collision",
            "without_collision": "without a collision",
            "moving": "whose objects move more",
            "still": "whose objects move less",
        }.items()
    }
    of_kinds = (metric._replace(key=f"{metric.key}.{kind}", label=label) for kind, label in kinds.items())
    return metric, *of_kinds


# Where predictions put the objects, which the paper does not show: its claim about pixels, taken for objects.
_CENTRES = Metric(
    "predicted_centre_error", "distance of the objects from where they are put, pixels", ".3f", higher=False
)
_LOST = Metric("predicted_lost", "objects lost, %", ".1f", 100, higher=False)
_TURNS = Metric("collision_turns", "collisions after which both objects turn the right way, %", ".1f", 100)


# How far the predicted frames differ from each other, beside the true ones: 0 for frames that are all the same.
MOTION = Metric(
    "motion",
    "change from predicted frame to frame, of the true change",
    ".3f",
    claims=(("ODDN", "IODINE linear"), ("ODDN", "SRVP")),
)
_OF_SLOTS = tuple(("ODDN", row.name) for row in (NO_RELATION, PROVIDE, LINEAR))
ALOE_REFERENCES = ("blind", "majority", "executor")
TARGETS = {
    "table1": Target(
        "Table 1: questions answered from videos",
        (
            *map(Row, ("MAC (V+)", "NS-DR", "DCL")),
            Row("ALOE", "monet", features="latents", hidden_slots=True),
            Row("ODDN-ALOE", "oddn", features="both"),
            Row("ODDN + programs (ours)", "oddn", features="both", by_programs=True),
        ),
        _answers(paper.TABLE_1),
        "reasoning",
        ALOE_REFERENCES,
    ),
    "table2": Target(
        "Table 2: questions answered by ALOE, without self-supervision, from the features of each",
        (
            Row("PROVIDE", "provide", features="latents"),
            Row("MONet", "monet", features="latents"),
            Row("IODINE (20)", "iodine", {"latent_size": 20}, "latents"),
            Row("IODINE (16)", "iodine", features="latents"),
            Row("ODDN w/o relation (-dyn)", "no_relation", features="latents"),
            Row("ODDN w/o relation", "no_relation", features="both"),
            Row("ODDN (-dyn)", "oddn", features="latents"),
            Row("ODDN", "oddn", features="both"),
        ),
        _answers(paper.TABLE_2),
        "reasoning",
        ALOE_REFERENCES,
    ),
    "table3": Target(
        "Table 3: scene decomposition",
        (IODINE, PROVIDE, ODDN, ODDN_L),
        (
            _decomposition("mse", "MSE of the reconstruction", ".6f", 1, False),
            _decomposition("ari", "ARI", ".3f", 1, True),
            _decomposition("fg_ari", "F-ARI, %", ".2f", 100, True),
            Metric("miou", "mIoU, %", ".2f", 100),  # which the paper does not have; F-ARI alone misleads
        ),
    ),
    "figure3": Target(
        "Figure 3: six predicted frames, with a collision",
        (ODDN, NO_RELATION, PROVIDE, LINEAR, SRVP),
        (_prediction(("ODDN", "ODDN w/o relation"), ("ODDN", "PROVIDE")), MOTION),
        has_pictures=True,
    ),
    "figure7": Target(
        "Figure 7: error of each predicted frame",
        (ODDN, ODDN_L, NO_RELATION, PROVIDE, LINEAR, SRVP),
        # The paper only plots: taken to show that ODDN's curve is the lowest. ODDN-l is not in it.
        (
            *_by_clip(_prediction(*(("ODDN", row.name) for row in (NO_RELATION, PROVIDE, LINEAR, SRVP)))),
            *_by_clip(_CENTRES._replace(claims=_OF_SLOTS)),
            *_by_clip(_LOST._replace(claims=_OF_SLOTS)),
            _TURNS._replace(claims=_OF_SLOTS),
        ),
        references=("copy of the last frame", "mean training frame", "all in the mean place"),
        is_long=True,
    ),
    "figure8": Target(
        "Figure 8: six predicted frames of block towers",
        (SRVP, PROVIDE, ODDN),
        # The paper judges by eye: SRVP is not accurate, PROVIDE's blocks blur.
        (_prediction(("ODDN", "SRVP"), ("ODDN", "PROVIDE")),),
        "towers",
        has_pictures=True,
    ),
}
