"""The figures program: every figure of an untrained model, and one page that a browser shows without a network."""

import argparse
import base64
import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

import oddn_jax
from experiments import command_line, figures
from experiments.pictures import observations
from experiments.pictures.analysis import Observation
from experiments.pictures.observations import Clip, Source
from experiments.runs import checkpoints, run_folder
from tests.conftest import PATIENCE
from tests.experiments.discs import discs
from tests.experiments.pages import Page
from tests.experiments.untrained import write_run

FILES = [
    "decomposition_clip_00.gif",
    "decomposition_clip_00.png",
    "dynamics_attention.png",
    "dynamics_traversal.gif",
    "dynamics_traversal.png",
    "learning_curves.png",
    "prediction_clip_00.gif",
    "prediction_clip_00.png",
    "prediction_error.png",
    "relation_attention.gif",
    "relation_attention.png",
]


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "run"
    write_run(workdir, data_dir)
    rows = [{"step": step, "split": "train", "loss": 9.0 - step, "mse": 0.1} for step in (2, 4, 6)]
    (workdir / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 7, "sp'
    )
    return workdir


@pytest.fixture(scope="module")
def drawn(run):
    """The run's folder with its figures; drawn by the program's main, in this process."""
    parser = argparse.ArgumentParser()
    figures.arguments(parser)
    figures.main(parser.parse_args([f"--run={run}", "--num_clips=1", "--num_scored_clips=5"]))
    return run


def test_all_figures_are_drawn(drawn):
    assert sorted(path.name for path in (drawn / "figures").iterdir()) == FILES
    for name in FILES:
        with Image.open(drawn / "figures" / name) as picture:
            assert picture.width >= 300 and picture.height >= 150
            assert np.asarray(picture.convert("L")).std() > 5
            if name.endswith(".gif"):
                assert picture.n_frames > 1 and picture.info["loop"] == 0


def test_the_report_holds_everything(drawn):
    text = (drawn / "report.html").read_text()
    page = Page(text)
    assert len(page.images) == len(FILES)
    held = []
    for image in page.images:
        assert len(image["alt"]) > 20
        kind, _, data = image["src"].removeprefix("data:image/").partition(";base64,")
        held.append((kind, base64.b64decode(data, validate=True)))
        Image.open(io.BytesIO(held[-1][1])).verify()
    files = [(name[-3:], (drawn / "figures" / name).read_bytes()) for name in FILES]
    assert sorted(held) == sorted(files)
    assert all(link.startswith("data:") for link in page.links)
    assert not re.search(r"https?://|<script|@import|url\(", text)
    commit = run_folder.load_versions(drawn)["commit"]
    for fact in (
        "simulated data",
        "step6",
        "seed0",
        commit or "not known",
        "Not measured yet",
        "quickstart-",
    ):
        assert fact in page.text.replace("\n", "")


def test_the_error_curve_is_that_of_the_clips(drawn, data_dir):
    """The caption's first number for copying, from the stored clips."""
    text = Page((drawn / "report.html").read_text()).text
    shown = re.search(r"over 5 clips.*?copy of the last seen frame: ([\d.]+)", text)
    parser = argparse.ArgumentParser()
    figures.arguments(parser)
    trained = figures.open_trained(str(drawn))
    source = observations.find_clips(trained, parser.parse_args([]))
    batches = observations.loaders.evaluation_batches(
        source.path, "validation", num_frames=8, stride=4, batch_size=5, limit=5
    )
    video = next(batches)["video"]
    batches.close()
    assert float(shown[1]) == pytest.approx(((video[:, 2] - video[:, 1]) ** 2).mean(), abs=6e-5)


def test_metrics_json_gives_the_curve_where_it_is_about_the_same(drawn, tmp_path):
    trained = figures.open_trained(str(drawn))
    source = Source(tmp_path, "some/data", "validation", 4, 4, True, "first")
    errors = {"ODDN": np.full((3, 2), 0.25), "copy of the last seen frame": np.full((3, 2), 0.5)}
    curve = {"mean": [0.125, 0.375], "standard_error": [0.01, 0.01], "n": 77}
    metrics = {"step": 6, "data": "some/data", "split": "validation", "clips": "first", "stride": 4}
    metrics["metrics"] = {"predicted_mse": curve}
    picture = figures.draw_errors(trained, source, errors, metrics, tmp_path)
    assert "over 77 clips. ODDN: 0.1250, 0.3750." in picture.caption
    for other in (
        {},
        metrics | {"step": 5},
        metrics | {"data": "other/data"},
        metrics | {"clips": "paper"},
        metrics | {"stride": 8},
        metrics | {"metrics": {}},
    ):
        picture = figures.draw_errors(trained, source, errors, other, tmp_path)
        assert "over 3 clips. ODDN: 0.2500, 0.2500; copy of the last seen frame: 0.5000" in picture.caption


def test_the_colliding_pair_of_a_stored_clip(data_dir, drawn):
    """Masks that are the true segmentation, in an order of our own, give the slots of the annotated objects."""
    parser = argparse.ArgumentParser()
    figures.arguments(parser)
    source = observations.find_clips(figures.open_trained(str(drawn)), parser.parse_args([]))
    clips = observations.loaders.evaluation_batches(
        source.path, "validation", num_frames=8, stride=4, batch_size=1, selection="collision", limit=1
    )
    batch = {name: values[0] for name, values in next(clips).items()}
    clips.close()
    labels = np.array([3, 1, 0, 2])  # slot 0 shows object 2, slot 1 object 0, slot 2 the background
    masks = (batch["segmentation"][:, None] == labels[:, None, None])[..., None].astype(float)
    decoded = oddn_jax.Decoded(None, None, masks, None)
    collision = observations.find_collision(source, Clip(batch, Observation(None, decoded, None, None, None)))
    record = observations.open_split(source.path, "validation").records[int(batch["example_id"])]
    first = int(batch["collision_frame"][0])
    assert collision.frame == first >= 2
    assert [labels[slot] - 1 for slot in collision.pair] == list(record["collisions"]["object_ids"][0])


def test_without_annotations_the_strongest_pair_is_said(data_dir, drawn):
    parser = argparse.ArgumentParser()
    figures.arguments(parser)
    source = observations.find_clips(figures.open_trained(str(drawn)), parser.parse_args([]))
    attention = np.zeros((7, 3, 3))
    attention[4, 2, 0] = 0.8
    seen = Observation(None, None, None, oddn_jax.Interaction(None, attention, None), None)
    batch = {"has_segmentation": False, "example_id": 0, "start_frame": 0}
    collision = observations.find_collision(source, Clip(batch, seen))
    assert (collision.pair, collision.frame) == ((2, 0), None)
    assert "do not say where the objects are that collide" in collision.reason
    later = batch | {"start_frame": 4000}  # no collision is in such a clip
    assert "do not say which objects collide" in observations.find_collision(source, Clip(later, seen)).reason


def test_the_fastest_object_is_traversed():
    """The second object moves fastest in frame 3 of the second clip."""
    positions = np.broadcast_to([(5, 17), (14, 6)], (4, 2, 2))
    masks = discs(positions)
    segmentation = masks[..., 0].argmax(1).astype(np.uint8)
    decoded = oddn_jax.Decoded(None, None, masks[:, [2, 1, 0]], None)
    velocity = np.full((2, 4, 2, 2), 0.5)
    velocity[1, 2, 1] = (3, 4)
    velocity[0, 0, 0] = (30, 40)  # its frame has no frame before it
    velocity[1, 3, 0] = np.nan
    clips = [
        Clip(
            {
                "image_velocity": of_clip,
                "has_segmentation": True,
                "segmentation": segmentation,
                "object_id": [0, 1],
            },
            Observation(None, decoded, None, None, None),
        )
        for of_clip in velocity
    ]
    clip, frame, slot, reason = observations.find_mover(clips)
    assert clip is clips[1] and (frame, slot) == (2, 0) and "fastest" in reason
    hidden = [clip._replace(batch=clip.batch | {"has_segmentation": False}) for clip in clips]
    assert observations.find_mover(hidden)[1:3] == (1, 0)  # slot 2 is the background


def test_an_exported_file_as_a_program(run, data_dir, tmp_path, run_program, capsys):
    config = run_folder.load_config(run)
    path = tmp_path / "tiny.safetensors"
    oddn_jax.save(path, config.model, checkpoints.load_params(run))
    options = (f"--export={path}", f"--output={tmp_path}/drawn", "--num_clips=1", "--num_scored_clips=1")
    with pytest.raises(SystemExit):
        command_line.run_tool(figures.main, figures.arguments, ["figures.py", *options])
    assert "does not say what it was trained on: name data with" in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()
    data = f"--data=simulated_clevrer/{config.data.config}"
    code, output = run_program("-m", "experiments.figures", *options, data, f"--data_dir={data_dir}")
    assert code == 0, output
    assert "Warning" not in output
    made = sorted(path.name for path in (tmp_path / "drawn").rglob("*.*"))
    assert made == sorted({*FILES, "report.html"} - {"learning_curves.png"})


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--run=nowhere"], "nowhere is no run folder"),
        (["--export=nowhere.safetensors"], "nowhere.safetensors"),
        (["--split=fourth"], "--split=fourth: .* has no split 'fourth', there are train, validation"),
        (["--data=nothing/at_all"], "nothing"),
        (["--data=block_towers/64x64"], "no data set .*block_towers.*: build it with"),
        (["--num_clips=0"], "must be at least 1"),
        (["--step=5"], "holds only steps 6"),
        (["--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_use(arguments, message, run, tmp_path, capsys):
    if not arguments[0].startswith(("--run", "--export")):
        arguments = [f"--run={run}", *arguments]
    with pytest.raises(SystemExit) as caught:
        program = ["figures.py", *arguments, f"--output={tmp_path}/drawn"]
        command_line.run_tool(figures.main, figures.arguments, program)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert re.search(message, error) and len(error.splitlines()) == 1, error
    assert not any((tmp_path / "drawn").rglob("*.*"))


CHECK = """<script>addEventListener("load", () => document.body.dataset.check = JSON.stringify({
widths: [...document.images].map(image => image.complete ? image.naturalWidth : 0),
inside: document.documentElement.scrollWidth <= innerWidth, dark: matchMedia("(prefers-color-scheme: dark)").matches,
fetched: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:")),
}))</script></body>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [500, 1200])
def test_a_browser_shows_the_report(drawn, tmp_path, width):
    """Every image decodes, nothing is fetched, and the page is no wider than the window."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    checked = tmp_path / "report.html"
    checked.write_text((drawn / "report.html").read_text().replace("</body>", CHECK))
    options = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=20000 --dump-dom"
    )
    result = subprocess.run(
        [
            browser,
            *options.split(),
            f"--user-data-dir={tmp_path}/profile",
            f"--window-size={width},900",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            checked.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == 0, result.stderr
    found = re.search(r"data-check=(\"|')(.*?)\1", result.stdout)
    assert found, result.stdout[-1000:]
    check = json.loads(html.unescape(found[2]))
    assert len(check["widths"]) == len(FILES) and min(check["widths"]) >= 300
    assert check["inside"] and check["fetched"] == []
