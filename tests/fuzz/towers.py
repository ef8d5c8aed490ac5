"""The files of the real block towers: strips of frames."""

import pathlib

import numpy as np
from PIL import Image

from data_pipelines.builders.block_towers.strips import read_block_numbers, read_pictures
from tests.fuzz.fuzzing import Target


def _write_pictures(folder: pathlib.Path) -> list[pathlib.Path]:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 16, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "img_concat_1.png")
    Image.fromarray(pixels[..., 0]).save(folder / "img_concat_2.png")
    return sorted(folder.iterdir())


def _write_numbers(folder: pathlib.Path) -> list[pathlib.Path]:
    numbers = np.arange(48 * 16, dtype=np.uint8).reshape(48, 16) % 5
    Image.fromarray(numbers).save(folder / "mask_order_1.png")
    palette = Image.fromarray(numbers)
    palette.putpalette(list(range(15)))
    palette.save(folder / "mask_order_2.png")
    return sorted(folder.iterdir())


PICTURES = Target(read_pictures, _write_pictures, (ValueError,))
NUMBERS = Target(read_block_numbers, _write_numbers, (ValueError,))
