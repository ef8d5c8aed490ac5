"""Which of two systems is better, on made-up numbers: orders, claims, errors over seeds."""

import numpy as np
import pytest

from experiments.reproduction import comparison, files
from experiments.reproduction.comparison import Result, Score
from experiments.reproduction.targets import TARGETS, Metric, Row, Target

ERROR = Metric("mse", "error", ".2f", higher=False, paper={"a": 1.0, "b": 2.0, "c": 3.0})


def scored(**means):
    return {row: {"mse": Score(mean, 0.1, 8, "clips")} for row, mean in means.items()}


@pytest.mark.parametrize(
    "means, said",
    [
        (dict(a=1.0, b=2.0, c=3.0), "yes (3 of 3 pairs as in the paper)"),
        (dict(a=5.0, b=6.0, c=7.0), "yes (3 of 3 pairs as in the paper)"),  # only the order counts
        (dict(a=2.0, b=1.0, c=3.0), "no (2 of 3 pairs as in the paper, 1 the other way round)"),
        (dict(a=1.0, b=1.2, c=3.0), "too close to tell (2 of 3 pairs as in the paper, 1 too close)"),
        (dict(a=1.0, c=3.0), "unknown (1 of 3 pairs as in the paper, 2 unknown)"),
        (dict(a=3.0, c=1.0), "no (0 of 3 pairs as in the paper, 1 the other way round, 2 unknown)"),
    ],
)
def test_orders(means, said):
    assert comparison.agreement(ERROR, scored(**means)) == said
    better_high = ERROR._replace(higher=True, paper={row: -value for row, value in ERROR.paper.items()})
    mirrored = {
        row: {"mse": scores["mse"]._replace(mean=-scores["mse"].mean)}
        for row, scores in scored(**means).items()
    }
    assert comparison.agreement(better_high, mirrored) == said


def test_claims_stand_in_for_numbers():
    metric = Metric("mse", "error", higher=False, claims=(("a", "b"),))
    assert comparison.agreement(metric, scored(a=1, b=2, c=0)) == "yes (1 of 1 pairs as in the paper)"
    assert comparison.agreement(metric._replace(claims=()), scored(a=1)) == "the paper has no order"


def test_the_paper_s_orders():
    """Read from the printed tables."""
    mse, ari, fg_ari, miou = TARGETS["table3"].metrics
    assert not miou.expected()
    assert set(mse.expected()) >= {("ODDN", "IODINE"), ("IODINE", "ODDN-l"), ("ODDN-l", "PROVIDE")}
    assert set(ari.expected()) >= {("ODDN-l", "PROVIDE"), ("PROVIDE", "ODDN"), ("ODDN", "IODINE")}
    assert set(fg_ari.expected()) >= {("ODDN", "IODINE"), ("IODINE", "ODDN-l"), ("ODDN-l", "PROVIDE")}
    for metric in TARGETS["table2"].metrics:
        pairs = metric.expected()
        assert ("ODDN", "PROVIDE") in pairs and ("ODDN (-dyn)", "ODDN") not in pairs
        known = sum(value is not None for value in metric.paper.values())
        assert known == (7 if "option" in metric.key else 8) and len(pairs) == known * (known - 1) // 2


def test_means_and_errors_over_seeds():
    values = [1.0, 2.0, 4.0]
    copied = {"mse": Score(7.0, 0.25, 8, "clips")}
    results = {
        ("a", seed): Result({"a": {"mse": Score(value, 0.5, 8, "clips")}, "copy": copied}, {})
        for seed, value in enumerate(values)
    }
    means = comparison.over_seeds(results)
    error = np.std(values, ddof=1) / np.sqrt(3)
    assert means["a"]["mse"] == (pytest.approx(7 / 3), pytest.approx(error), 3, "seeds")
    assert means["copy"]["mse"] == Score(7.0, 0.25, 8, "clips")  # hangs on no seed
    assert comparison.over_seeds({("a", 0): results["a", 0]})["a"]["mse"] == Score(1.0, 0.5, 8, "clips")


def test_predictions_are_read_over_all_clips_and_over_kinds_of_them():
    curve = {"mean": [1.0, 3.0], "standard_error": [0.1, 0.3], "n": 8}
    metrics = {"predicted_mse": curve, "copy_last_mse": curve, "predicted_centre_error": curve}
    metrics |= {
        "mean_place_centre_error": curve,
        "mean_frame_mse": {"mean": None, "standard_error": None, "n": 0},
    }
    metrics["collision_turns"] = {"mean": 0.25, "standard_error": 0.1, "n": 12}
    few = {name: curve | {"n": 3} for name in ("predicted_mse", "copy_last_mse")}
    rows = comparison.read_scores("ODDN", {"metrics": metrics, "by_clip": {"moving": few}})
    assert set(rows) == {"ODDN", "copy of the last frame", "all in the mean place"}
    assert rows["ODDN"]["predicted_mse"] == Score(2.0, pytest.approx(0.2), 8, "clips")
    assert rows["ODDN"]["predicted_mse.moving_2"] == Score(3.0, 0.3, 3, "clips")
    assert rows["ODDN"]["collision_turns"] == Score(0.25, 0.1, 12, "collisions")
    assert set(rows["all in the mean place"]) == {f"predicted_centre_error{end}" for end in ("", "_1", "_2")}
    moving = TARGETS["figure7"].metrics[3]
    assert (
        moving.key == "predicted_mse.moving" and len(comparison.frame_scores(moving.key, rows["ODDN"])) == 2
    )
    assert len(comparison.frame_scores("predicted_mse", rows["ODDN"])) == 2


def test_what_is_written_is_read_again(tmp_path):
    """In the units of the table there, in those of the runs here."""
    metric = Metric("share", "share, %", ".1f", 100, paper={"a": 90.0})
    target = Target("T", (Row("a", "oddn"), Row("b", "iodine")), (metric,))
    score = Score(0.25, 0.05, 3, "seeds")
    means = {"a": {"share": score, "share_1": Score(0.5, None, 3, "seeds"), "other": score}}
    known = Score(0.5, None, 8, "clips")
    results = {
        ("a", seed): Result(
            {"a": {"share": score, "share_1": known}, "b": {"share": known}},
            {name: f"{name} {seed}" for name in files.FACTS},
        )
        for seed in (0, 1)
    }
    lines = files.csv_lines(target, results, means, {"target": "t"})
    files.write_csv(tmp_path / "t.csv", lines)
    read = files.read_csv(tmp_path / "t.csv")
    assert [line["ours"] for line in read if line["seed"] == "all" and line["metric"] == "share"] == [
        "25.0",
        "",
    ]
    assert files.read_results(target, read) == {f"recipe {seed}": results["a", seed] for seed in (0, 1)}
    assert files.read_scores(target, read) == {"a": {"share": score, "share_1": Score(0.5, None, 3, "seeds")}}
    (tmp_path / "old.csv").write_text("target,row\nt,a\n")
    with pytest.raises(ValueError, match=r"old.csv has no column 'budget': an earlier version wrote it"):
        files.read_csv(tmp_path / "old.csv")


HEAD = ",".join(files.COLUMNS) + "\n"
ENTRY = {"metric": "ari", "row": "ODDN", "seed": "all", "ours": "0.5", "standard_error": "0.1", "n": "3"}


def entry(**changes) -> str:
    return ",".join((ENTRY | changes).get(name, "") for name in files.COLUMNS) + "\n"


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "has no column 'target'"),
        (HEAD, "holds no entries"),
        (HEAD + "table3,tiny\n", "entry 1 is cut off"),
        (HEAD + entry() + entry().strip() + ",7\n", "entry 2 is cut off, or has too many columns"),
        (HEAD + entry() + entry()[:-9] + '"cut', "cannot be read"),
        (HEAD + entry(ours="0\0"), "has the ours|cannot be read"),  # the latter from Python 3.11
        (HEAD + entry(ours="9" * 200_000), "cannot be read"),
        (HEAD + entry(ours="half"), "entry 1 has the ours 'half'"),
        (HEAD + entry(n=""), "entry 1 has the n ''"),
        (HEAD + entry(seed="first"), "entry 1 has the seed 'first'"),
        (HEAD + entry(standard_error="all"), "entry 1 has the standard_error 'all'"),
    ],
)
def test_a_damaged_table_is_one_line(tmp_path, content, message):
    path = tmp_path / "tiny-table3.csv"
    path.write_text(content)
    with pytest.raises(
        ValueError, match=f"tiny-table3.csv:? (.*)?({message}).*make the table again"
    ) as caught:
        files.read_csv(path)
    assert "\n" not in str(caught.value)


def test_answers_are_read():
    record = {
        "scores": {
            "descriptive": {"n": 100, "per_question": 0.5},
            "predictive": {"n": 50, "per_question": 0.2, "num_options": 100, "per_option": 0.9},
        },
        "references": {"majority": {"descriptive": {"n": 100, "per_question": 0.25}}},
    }
    rows = comparison.read_scores("ODDN", record)
    assert rows["ODDN"]["descriptive"] == Score(0.5, 0.05, 100, "questions")
    assert rows["ODDN"]["predictive_per_option"] == (0.9, pytest.approx(0.03), 100, "questions")
    assert rows["ODDN"]["predictive"].mean == 0.2 and "counterfactual" not in rows["ODDN"]
    assert set(rows["majority"]) == {"descriptive"}


def test_pictures_have_a_row_for_each_system():
    video, predicted = np.zeros((4, 8, 8, 3)), {name: np.ones((2, 8, 8, 3)) for name in "ab"}
    one, two = (files.draw_predictions("T", video, dict(list(predicted.items())[:n])) for n in (1, 2))
    assert one.width == two.width and two.height > one.height
    target = Target("T", (Row("a", "oddn"), Row("b", "iodine")), (ERROR, ERROR))
    assert files.draw_table(target, "T", scored(a=1.0)).height > 100
