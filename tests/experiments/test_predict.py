"""The prediction program: what it writes of anyone's video, and how it refuses."""

import dataclasses
import functools
import inspect
import pathlib
import re

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import command_line, predict
from experiments.pictures import analysis, forecast
from experiments.runs import scenes
from experiments.runs.trained import open_trained
from oddn_jax import ODDN
from tests.experiments.untrained import write_run

PICTURES = ["decomposition.gif", "decomposition.png", "prediction.gif", "prediction.png", "tracks.png"]


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("predict") / "run"
    write_run(workdir, data_dir)
    return workdir


def write_animation(path, count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 18, 25, 3), np.uint8)
    frames = [Image.fromarray(frame) for frame in pixels]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def documented():
    """Names, dtypes and shapes that the program's description lists."""
    listed = re.findall(r"(?m)^  (\w+) +([uif]\d+)\[(.*?)\]", inspect.getdoc(predict))
    return {name: (kind, shape.split()) for name, kind, shape in listed}


def call(*arguments):
    with pytest.raises(SystemExit) as caught:
        command_line.run_tool(predict.main, predict.arguments, ["predict.py", *map(str, arguments)])
    return caught.value.code


def test_the_bare_scene_as_a_program_on_a_terminal_that_cannot_show_its_folder(
    run, tmp_path, run_program, monkeypatch
):
    folder = tmp_path / "\u00e9\udcff"
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:strict")
    code, output = run_program(
        "-m", "experiments.predict", f"--model={run}", f"--output={folder}", "--num_steps=2"
    )
    assert code == 0, output
    assert f"written: {tmp_path}/\\xe9\\udcff/predictions.npz" in output
    assert "a simulated scene, 10 frames of 16x16" in output and "Warning" not in output
    assert sorted(path.name for path in folder.iterdir()) == [
        *PICTURES[:4],
        "predictions.npz",
        PICTURES[4],
    ]
    arrays = np.load(folder / "predictions.npz")
    sizes = {"t": 10, "t-1": 9, "s": 2, "k": 3, "h": 16, "w": 16, "l": 4, "d": 4}
    assert sorted(arrays) == sorted(documented())
    for name, (kind, shape) in documented().items():
        assert (
            arrays[name].dtype.str[1:].replace("u1", "u8").replace("f4", "f32").replace("i8", "i64") == kind
        ), name
        assert arrays[name].shape == tuple(sizes[axis] if axis in sizes else int(axis) for axis in shape), (
            name
        )
    np.testing.assert_array_equal(arrays["source_frame"], 4 * np.arange(10))
    np.testing.assert_allclose(arrays["slot_masks"].sum(1), 1, atol=1e-5)


def test_the_arrays_are_what_the_model_says(run, tmp_path, capsys):
    """The predicted latents, method by method, from the stored ones; slots keep their order."""
    path = write_animation(tmp_path / "a.gif", 6)
    options = (f"--input={path}", f"--output={tmp_path}", "--num_frames=5", "--num_steps=2")
    assert call(f"--model={run}", *options) == 0
    said = capsys.readouterr().out
    assert (
        f"input: {path}, 5 frames (every 1., from frame 0) of 25x18 pixels, the centre of 18x18 taken" in said
    )
    assert "--num_frames=5 is reached" in said
    arrays = np.load(tmp_path / "predictions.npz")
    trained = open_trained(str(run))
    apply = functools.partial(analysis.apply, trained.model, trained.params)
    latents = arrays["latents"]
    dynamics = apply(latents, method="distill").dynamics
    np.testing.assert_allclose(arrays["dynamics"], dynamics, atol=1e-5)
    updated = apply(dynamics[-1], latents[-1], method="interact").updated_dynamics
    following = apply(updated, latents[-1], method="predict_latents")
    np.testing.assert_allclose(arrays["predicted_latents"][0], following, atol=1e-5)
    decoded = apply(following, method="decode")
    np.testing.assert_allclose(arrays["predicted_frames"][0], decoded.reconstruction, atol=1e-5)
    np.testing.assert_allclose(arrays["predicted_slot_masks"][0], decoded.slot_masks[..., 0], atol=1e-5)


def test_objects_keep_their_slots_through_all_chunks(run):
    """With `share_noise` frames that are equal are seen alike, whichever chunk they fall into."""
    trained = open_trained(str(run))
    frame = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    video = frame.repeat(forecast.CHUNK + 1, axis=0)

    def spread(share_noise):
        model = ODDN(dataclasses.replace(trained.model.config, share_noise=share_noise))
        return np.ptp(forecast.understand(model, trained.params, video, 1).latents, axis=0).max()

    assert spread(True) < 1e-5 < 1e-3 < spread(False)


def test_a_tracked_video_is_one_through_all_chunks(run):
    trained = open_trained(str(run))
    config = dataclasses.replace(trained.model.config, num_tracking_steps=2, share_noise=True)
    model = ODDN(config)
    video = np.random.default_rng(0).integers(0, 256, (2 * forecast.CHUNK + 3, 16, 16, 3), np.uint8)
    latents, _ = forecast.infer(model, trained.params, video)
    whole = jax.jit(functools.partial(model.apply, deterministic=True, method="infer"))(
        {"params": trained.params}, video / np.float32(255), jax.random.key(0)
    )
    np.testing.assert_allclose(latents, whole.latents, atol=1e-5)


def test_frames_are_inferred_alike_in_any_video_length(run):
    trained = open_trained(str(run))
    video = np.random.default_rng(0).integers(0, 256, (forecast.CHUNK + 1, 16, 16, 3), np.uint8)
    long, short = (forecast.understand(trained.model, trained.params, video[:n], 1) for n in (len(video), 1))
    np.testing.assert_allclose(short.latents, long.latents[:1], atol=1e-5)
    assert long.decoded.reconstruction.shape == (forecast.CHUNK + 1, 16, 16, 3)


def test_one_frame_is_taken_apart_only(run, tmp_path, capsys):
    path = write_animation(tmp_path / "a.png", 1)
    assert call(f"--model={run}", f"--input={path}", f"--output={tmp_path}/out") == 0
    assert "one frame shows no motion: nothing is predicted" in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "decomposition.png",
        "predictions.npz",
    ]
    names = [name for name in documented() if not name.startswith(("predicted", "dynamics"))]
    assert sorted(np.load(tmp_path / "out" / "predictions.npz")) == sorted(names)


@pytest.mark.parametrize(
    "path, name",
    [
        (None, "simulated"),
        ("a/clip.mp4", "clip"),
        ("a/b/", "b"),
        (".", "here"),
        ("..", "above"),
        ("a/..", "here"),
    ],
)
def test_the_output_s_name_is_the_input_s(path, name, tmp_path, monkeypatch):
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    assert scenes.name_of(path and pathlib.Path(path)) == name


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--input=nowhere.mp4"], "nowhere.mp4: no such file or folder"),
        (["--model=nowhere"], "nowhere"),
        (["--num_steps=0"], "--num_steps=0 must be at least 1"),
        (["--num_steps=10001"], "--num_steps=10001 must be at most 10000"),
        (["--start=-1"], "--start=-1 must be at least 0"),
        (["--start=99"], "behind the end of the simulated scene"),
        (["--stride=0"], "--stride=0 must be at least 1"),
        (["--stride=x"], "invalid int value"),
        (["--input=tests/experiments"], "holds no images"),
        (["--input=README.md"], "README.md: cannot be decoded"),
    ],
)
def test_wrong_use(arguments, message, run, tmp_path, capsys):
    model = [] if arguments[0].startswith("--model") else [f"--model={run}"]
    assert call(*arguments, *model, f"--output={tmp_path}/out") == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1, error
    assert not (tmp_path / "out").exists()
