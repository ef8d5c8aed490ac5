"""The run-length codec against COCO's own."""

import numpy as np
import pytest
from pycocotools import mask as coco

from data_pipelines import rle


def _edge_masks() -> list[np.ndarray]:
    first, last = np.zeros((5, 7), bool), np.zeros((5, 7), bool)
    first[0, 0] = last[-1, -1] = True
    stripes = np.zeros((6, 4), bool)
    stripes[::2] = True
    return [
        np.zeros((5, 7), bool),
        np.ones((5, 7), bool),
        first,
        last,
        stripes,
        stripes.T,
        ~stripes,
        np.zeros((1, 1), bool),
        np.ones((1, 1), bool),
        np.ones((320, 480), bool),  # a run of more than 2**15
    ]


def _random_masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 60, (100, 2))
    return [rng.random(size) < rng.random() for size in sizes]


@pytest.mark.parametrize("masks", [_edge_masks(), _random_masks()], ids=["edge", "random"])
def test_codec_equals_coco(masks):
    for mask in masks:
        reference = coco.encode(np.asfortranarray(mask, np.uint8))
        encoded = rle.encode(mask)
        assert encoded == {"size": list(mask.shape), "counts": reference["counts"].decode()}
        np.testing.assert_array_equal(rle.decode(reference), mask)  # bytes
        np.testing.assert_array_equal(rle.decode(encoded), mask)  # str


def test_counts_are_the_run_lengths():
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)  # down the columns: 0 0 1 1 1 0
    np.testing.assert_array_equal(rle.counts(rle.encode(mask)["counts"]), [2, 3, 1])


@pytest.mark.parametrize("counts", ["~", "!", "P"])
def test_what_is_no_run_length_string_is_refused(counts):
    with pytest.raises(ValueError, match="run-length"):
        rle.counts(counts)


def test_runs_that_do_not_fill_the_size_are_refused():
    encoded = rle.encode(np.ones((3, 4), bool))
    with pytest.raises(ValueError, match="3 x 5"):
        rle.decode(encoded | {"size": [3, 5]})
