"""Pictures hold the pixels that they claim to show."""

import numpy as np
from PIL import Image

from experiments.pictures import drawing
from experiments.training import strips
from oddn_jax import Decoded

SIZE, SCALE = 16, 6  # 96 pixels a tile


def make_decoded(generator, num_frames, num_slots=3):
    logits = generator.normal(size=(num_frames, num_slots, SIZE, SIZE, 1))
    masks = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rgb = generator.random((num_frames, num_slots, SIZE, SIZE, 3))
    return Decoded(rgb, logits, masks, (masks * rgb).sum(1))


def tile(picture, row, column):
    side = SIZE * SCALE
    left = drawing.LABEL_WIDTH + column * (side + drawing.GAP)
    top = drawing.HEADER_HEIGHT + row * (side + drawing.GAP)
    return picture[top : top + side, left : left + side]


def enlarged(frame):
    return np.round(255 * frame).astype(np.uint8).repeat(SCALE, 0).repeat(SCALE, 1)


def test_rows_of_a_clip(tmp_path):
    generator = np.random.default_rng(0)
    video = generator.random((5, SIZE, SIZE, 3))
    seen, predicted = make_decoded(generator, 5), make_decoded(generator, 3)
    strips.draw_clip(video, seen, predicted).save(tmp_path / "clip.png")
    picture = np.asarray(Image.open(tmp_path / "clip.png"))
    rows = 3 + 3 + 3
    side = SIZE * SCALE + drawing.GAP
    assert picture.shape == (drawing.HEADER_HEIGHT + rows * side, drawing.LABEL_WIDTH + 5 * side, 3)
    np.testing.assert_array_equal(tile(picture, 0, 4), enlarged(video[4]))
    np.testing.assert_array_equal(tile(picture, 1, 2), enlarged(seen.reconstruction[2]))
    mask = seen.slot_masks[3, 1]
    np.testing.assert_array_equal(tile(picture, 4, 3), enlarged(mask * seen.slot_rgb[3, 1] + 1 - mask))
    np.testing.assert_array_equal(tile(picture, 6, 2), enlarged(predicted.reconstruction[0]))
    assert (tile(picture, 6, 1) == 255).all()
    error = np.clip(4 * np.abs(predicted.reconstruction[2] - video[4]), 0, 1)
    np.testing.assert_array_equal(tile(picture, 8, 4), enlarged(error))
    for row in range(rows):  # every row and every column is labelled
        top = drawing.HEADER_HEIGHT + row * side
        assert (picture[top : top + side, : drawing.LABEL_WIDTH] < 128).any()
    for column in range(5):
        left = drawing.LABEL_WIDTH + column * side
        assert (picture[: drawing.HEADER_HEIGHT, left : left + side] < 128).any()


def test_segmentation_colours_tell_slots_apart():
    num_slots = 11
    masks = np.eye(num_slots).reshape(num_slots, num_slots, 1, 1, 1)  # frame t belongs to slot t
    colors = drawing.color_segmentation(masks).reshape(num_slots, 3)
    assert len(np.unique(np.round(255 * colors), axis=0)) == num_slots
    np.testing.assert_allclose(colors[:8], drawing.PALETTE / 255)
