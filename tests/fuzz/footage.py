"""Anyone's moving pictures: containers of several kinds, images, animations."""

import pathlib

import numpy as np
from PIL import Image

from data_pipelines.video import read_video
from tests.data_pipelines.containers import quarters, with_matrix, write
from tests.fuzz.fuzzing import Target


def _write_videos(folder: pathlib.Path) -> list[pathlib.Path]:
    frames = quarters(4, 32, 48)
    clear = np.concatenate([frames, np.full_like(frames[..., :1], 99)], -1)
    paths = [write(folder / f"{number}.{kind}", frames) for number, kind in enumerate(("mp4", "mkv", "ts"))]
    paths.append(with_matrix(paths[0], (0, 1, -1, 0), folder / "3.mp4"))
    paths.append(write(folder / "4.avi", frames, codec="mjpeg", pixels="yuvj420p"))
    paths.append(write(folder / "5.webm", clear, codec="libvpx-vp9", pixels="yuva420p"))
    paths.append(write(folder / "6.mov", clear, codec="png", pixels="rgba"))
    return paths


def _write_images(folder: pathlib.Path) -> list[pathlib.Path]:
    exif = Image.Exif()
    exif[274] = 6
    one, several = (
        {"0.png": {}, "4.jpg": {"exif": exif}, "7.bmp": {}, "8.ppm": {}},
        {
            "1.png": {"duration": 50, "default_image": True},
            "2.gif": {"duration": [50, 200, 50]},
            "3.webp": {"duration": 50},
            "5.mpo": {"format": "MPO"},
            "6.tif": {},
        },
    )
    for name, options in (one | several).items():
        first, *rest = [Image.fromarray(frame) for frame in quarters(3, 24, 32)]
        first.save(folder / name, save_all=name in several, append_images=rest, **options)
    Image.fromarray(quarters(1, 24, 32)[0]).quantize(7).save(folder / "9.png", transparency=2)
    Image.fromarray(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80).save(folder / "10.png")
    return sorted(folder.iterdir())


def _read(path: pathlib.Path) -> np.ndarray:
    return read_video(path, 16, 16, crop=True)


VIDEO = Target(_read, _write_videos, (ValueError,))
IMAGE = Target(_read, _write_images, (ValueError,))
