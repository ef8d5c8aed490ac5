"""Reading video against plain NumPy, and what is said of files that cannot be read."""

import av
import numpy as np
import pytest

from data_pipelines.video import read_video


def _box_mean(frames: np.ndarray, factor: int) -> np.ndarray:
    t, h, w, c = frames.shape
    return frames.reshape(t, h // factor, factor, w // factor, factor, c).mean(axis=(2, 4))


@pytest.mark.parametrize("width,crop,columns", [(64, True, slice(80, 400)), (96, False, slice(None))])
def test_pixels_are_means_of_the_cropped_frame(mp4, width, crop, columns):
    with av.open(str(mp4)) as container:
        full = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert full.shape == (128, 320, 480, 3)
    read = read_video(mp4, 64, width, crop)
    assert read.shape == (128, 64, width, 3)
    assert read.dtype == np.uint8
    error = np.abs(read.astype(float) - _box_mean(full[:, :, columns], 5))
    # What is left is the rounding of the chroma planes.
    assert error.mean() < 0.6
    assert error.max() < 8


def test_the_scene_is_recognised(mp4, scene):
    read = read_video(mp4, 64, 64, crop=True)
    expected = _box_mean(scene.frames[:, :, 80:400], 5)
    assert np.abs(read - expected).mean() < 3


def test_crop_of_a_video_higher_than_wide(tmp_path):
    from tests.data_pipelines.handmade import write_mp4

    frames = np.zeros((4, 96, 64, 3), np.uint8)
    frames[:, 16:80] = 200  # the centre square
    write_mp4(tmp_path / "high.mp4", frames)
    assert read_video(tmp_path / "high.mp4", 8, 8, crop=True).min() > 180
    assert read_video(tmp_path / "high.mp4", 12, 8, crop=False).min() < 20


def _cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "change",
    [_cut_off, lambda content: b"", lambda content: b"not a video" * 100],
    ids=["cut", "empty", "text"],
)
def test_a_damaged_file_is_named_in_one_line(mp4, tmp_path, change):
    path = tmp_path / "video_00001.mp4"
    path.write_bytes(change(mp4.read_bytes()))
    with pytest.raises(ValueError, match=r"video_00001\.mp4") as caught:
        read_video(path, 64, 64, crop=True)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"video_00002\.mp4: no such file"):
        read_video(tmp_path / "video_00002.mp4", 64, 64, crop=True)
