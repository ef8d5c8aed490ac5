"""Figures show what they say: measured on their pixels."""

import jax
import numpy as np
import pytest
from PIL import Image

import oddn_jax
from experiments.pictures import drawing, plates
from experiments.pictures.analysis import Observation, Traversal
from tests.experiments.discs import SIZE, decoded_discs

COLORS = np.array([(0.5, 0.5, 0.5), (0.9, 0.1, 0.1), (0.1, 0.1, 0.9)])
PITCH = SIZE * 4 + drawing.GAP  # pixels from tile to tile: 24 rows, enlarged by 4 to 96


@pytest.fixture(scope="module")
def decoded():
    return decoded_discs([[(4, 5 + t), (19, 18 - t)] for t in range(6)], COLORS)


@pytest.fixture(scope="module")
def observation(decoded):
    attention = np.full((5, 3, 3), 0.25)
    match = np.full((5, 3, 6), 1 / 6)
    distillation = oddn_jax.Distillation(np.zeros((5, 3, 4)), match)
    interaction = oddn_jax.Interaction(np.zeros((5, 3, 4)), attention, attention[..., None])
    return Observation(np.zeros((6, 3, 5)), decoded, distillation, interaction, None)


def red(picture):
    """Where a picture is of the colour that points something out."""
    return (np.abs(np.asarray(picture).astype(int) - drawing.MARK) < 30).all(-1)


@pytest.mark.parametrize("frame", [2, 5])
def test_the_collision_is_marked_under_its_frame(decoded, observation, frame):
    picture = plates.relation_chart(decoded.reconstruction, observation, (1, 2), frame)
    below = red(picture)[drawing.HEADER_HEIGHT + 4 * PITCH :]
    assert below.sum() > 100
    centre = drawing.LABEL_WIDTH + frame * PITCH + SIZE * 2
    assert np.abs(np.nonzero(below)[1] - centre).max() <= 3
    header = np.nonzero(red(picture)[: drawing.HEADER_HEIGHT])[1] - drawing.LABEL_WIDTH
    assert set(header // PITCH) == {frame}
    assert not red(plates.relation_chart(decoded.reconstruction, observation, (1, 2), None)).any()


def test_predictions_stand_under_their_truth(decoded):
    video = np.random.default_rng(0).random((6, SIZE, SIZE, 3))
    future = jax.tree.map(lambda x: x[2:], decoded)
    picture = np.asarray(plates.prediction_strip(video, future))
    for row, column, frame in ((0, 0, video[0]), (0, 5, video[5]), (1, 3, future.reconstruction[1])):
        top, left = drawing.HEADER_HEIGHT + row * PITCH, drawing.LABEL_WIDTH + column * PITCH
        expected = np.round(255 * frame).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        np.testing.assert_array_equal(picture[top : top + 96, left : left + 96], expected)


def test_the_crosses_lie_on_the_centroids(decoded):
    """Their place in each tile, for pictures wider than high."""
    wide = jax.tree.map(lambda x: np.concatenate([x, x[..., :12, :]], -2), decoded)  # 24 x 36
    tried = jax.tree.map(lambda x: np.broadcast_to(0 * x[0] + 0.5, (2, 3, *x.shape[1:])), wide)
    centroid = np.broadcast_to([[(6, 6), (18, 12), (30, 18)]], (2, 3, 2)).astype(float)
    traversal = Traversal(np.tile([-1.0, 0, 1], (2, 1)), tried, centroid, np.array([(1.0, 0), (0, -0.5)]))
    marked = red(plates.traversal_chart(traversal, 1))
    width, height = 144, 96
    for d in range(2):
        for v in range(3):
            left, top = 112 + v * (width + 12), 34 + d * (height + 28)
            y, x = np.nonzero(marked[top : top + height, left : left + width])
            assert len(x) > 10
            np.testing.assert_allclose((x.mean(), y.mean()), (centroid[d, v] + 0.5) * 4, atol=1.5)


def test_lines_are_as_dark_as_the_attention(decoded, observation):
    match = np.zeros((5, 3, 6))
    match[3, 2] = (0.9, 0.1, 0, 0, 0, 0)
    seen = observation._replace(distillation=oddn_jax.Distillation(np.zeros((5, 3, 4)), match))
    picture = np.asarray(plates.match_chart(decoded.reconstruction, seen, 4, 2).convert("L")).astype(int)
    # A third of the way down from the slots of the frame before, where the lines are still apart.
    level = picture[30 + 96 + 50]
    dark = np.split(np.nonzero(level < 250)[0], np.nonzero(np.diff(np.nonzero(level < 250)[0]) > 1)[0] + 1)
    assert len(dark) == 3
    thickness = [len(run) for run in dark]
    shade = [level[run].min() for run in dark]
    assert thickness[0] > thickness[1] and shade[0] < shade[1] <= shade[2]


def test_animations_keep_time(tmp_path):
    frames = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in (0, 100, 200)]
    with Image.open(drawing.save_gif(frames, tmp_path / "a.gif", 300)) as animation:
        durations = []
        for frame in range(animation.n_frames):
            animation.seek(frame)
            durations.append(animation.info["duration"])
    assert durations == [300, 300, 900]
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_panel_without_a_picture_is_white():
    picture = np.asarray(
        drawing.draw_panels({"input": None, "model": np.zeros((8, 8, 3))}, "t = 1", {"model": (0, 0, 200)})
    )
    side = 8 * 24
    assert (picture[44 : 44 + side, 4 : 4 + side] == 255).all()
    assert (picture[44 : 44 + side, 8 + side : 8 + 2 * side] == 0).all()
    assert (picture[22:44] == (0, 0, 200)).all(-1).sum() > 80
