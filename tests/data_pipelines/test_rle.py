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


def test_parts_of_a_mask_are_those_of_the_whole():
    for mask in _random_masks():
        rows, columns = np.arange(0, mask.shape[0], 2), np.array([0, mask.shape[1] - 1])
        np.testing.assert_array_equal(
            rle.decode(rle.encode(mask), rows, columns), mask[np.ix_(rows, columns)]
        )


def test_a_huge_mask_takes_no_memory_until_it_is_asked_for():
    huge = {"size": [30_000, 60_000], "counts": rle._characters(30_000 * 60_000)}
    np.testing.assert_array_equal(rle.decode(huge, np.array([0, 29_999]), np.array([59_999])), [[0], [0]])
    for size in ([2**16, 2**16], [0, 4], [3.0, 4], [True, 1], [12], "ab", None, [-3, -4]):
        with pytest.raises(ValueError, match="size of a mask"):
            rle.decode({"size": size, "counts": "<"})
    with pytest.raises(ValueError, match="too large"):
        rle.counts("o" * 7 + "0")
