"""The page as text: what it says of a model, and that nothing in it can break or reach out of it."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments.pictures.drawing import save_gif, save_png
from experiments.pictures.report import Picture, learning_curves, measurements, page, write_report
from tests.experiments.pages import Page

FACTS = {
    "model": "runs/<b>&co",
    "simulated": True,
    "step": 600,
    "seed": 3,
    "commit": None,
    "packages": {"jax": "1.2"},
}
METRICS = {
    "data": "simulated_clevrer/quickstart",
    "num_clips": 32,
    "metrics": {
        "mse": {"mean": 0.0123456, "standard_error": 0.5, "n": 32},
        "miou": {"mean": None, "standard_error": None, "n": 0},
        "predicted_mse": {"mean": [0.25, 0.75], "standard_error": None, "n": 32},
        "nested": {"deeper": {"mean": 7, "n": 1}},
    },
}


@pytest.fixture
def picture(tmp_path):
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (0, 100, 200)]
    files = save_png(frames[1], tmp_path / "a.png"), save_gif(frames, tmp_path / "a.gif")
    return Picture('A "title" <here>', "caption & more", 'alt "text"', files)


def test_the_page_states_what_the_model_is(picture):
    text = page(FACTS, [picture], {})
    read = Page(text)
    assert "simulated data" in read.text and "real data" not in read.text
    for fact in ("runs/<b>&co", "600", "jax 1.2", 'A "title" <here>', "caption & more", "not known"):
        assert fact in read.text
    assert [image["alt"] for image in read.images] == ['alt "text"', 'alt "text" Animated.']
    assert "Not measured yet" in read.text
    assert "real data" in Page(page(FACTS | {"simulated": False}, [], {})).text


def test_all_metrics_are_told():
    cells = [cell.strip() for cell in Page(page(FACTS, [], METRICS)).text.split("\n")]
    joined = " ".join(cells)
    assert "mse0.012350.532" in joined and "miou––0" in joined and "nested.deeper7–1" in joined
    assert "predicted frame12" in joined and "predicted_mse0.250.75" in joined
    assert "num_clips32" in joined and "Not measured yet" not in joined
    assert [name for name, _ in measurements(METRICS["metrics"])] == [
        "mse",
        "miou",
        "predicted_mse",
        "nested.deeper",
    ]


@pytest.mark.parametrize("metrics", [{"metrics": {}}, {"other": 1}, {"metrics": {"mse": 3}}])
def test_metrics_of_another_form_do_no_harm(metrics):
    assert "<h2>Metrics</h2>" in page(FACTS, [], metrics)


def test_nothing_half_written(tmp_path, picture):
    write_report(tmp_path / "report.html", FACTS, [picture], {})
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(FileNotFoundError):
        gone = picture._replace(files=(tmp_path / "gone.png",))
        write_report(tmp_path / "report.html", FACTS, [gone], {})
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.png", "report.html"]


def test_learning_curves(tmp_path):
    assert learning_curves(tmp_path, tmp_path) is None
    rows = [
        {"step": step, "split": split, "loss": 1 / step} for step in (5, 10) for split in ("train", "valid")
    ]
    rows.append({"step": 11, "split": "train", "other": 3})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(lines + '"no record"\n{"step": 12, "spl')
    picture = learning_curves(tmp_path, tmp_path)
    assert "Training and validation over 11 steps" in picture.caption and "charts of loss over" in picture.alt
    with Image.open(picture.files[0]) as chart:
        assert chart.size == (900, 280)
