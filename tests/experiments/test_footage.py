"""Anyone's pictures: odd sizes and formats are read as documented, or refused in one line."""

import av
import numpy as np
import pytest
from PIL import Image

from data_pipelines.video import read_video
from experiments.pictures.footage import read_footage


def write_video(path, frames, codec="libx264", pixel_format="yuv444p"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixel_format
        stream.options = {"crf": "0"} if codec == "libx264" else {}
        kind = "rgba" if frames.shape[-1] == 4 else "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=kind)))
        container.mux(stream.encode())


def gray_frames(count, height=20, width=30):
    """Frame t is gray at 10 t."""
    return np.broadcast_to(
        np.uint8(10 * np.arange(count))[:, None, None, None], (count, height, width, 3)
    ).copy()


def write_images(folder, frames, name="{}.png"):
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(number))
    return folder


def test_stride_start_and_limit_of_a_video(tmp_path):
    write_video(tmp_path / "a.mp4", gray_frames(20))
    video, frames, account = read_footage(tmp_path / "a.mp4", 8, 8, start=3, stride=4, limit=3)
    np.testing.assert_array_equal(frames, [3, 7, 11])
    np.testing.assert_allclose(video[:, 4, 4, 0], [30, 70, 110], atol=2)
    assert video.shape == (3, 8, 8, 3) and video.dtype == np.uint8
    assert account == (
        "3 frames (every 4., from frame 3) of 30x20 pixels, the centre of 20x20 taken, resized to 8x8; further ones "
        "are left out, --num_frames=3 is reached"
    )
    _, frames, account = read_footage(tmp_path / "a.mp4", 8, 8, start=3, stride=4)
    np.testing.assert_array_equal(frames, [3, 7, 11, 15, 19])
    assert "left out" not in account


@pytest.mark.parametrize(
    "size, wanted, part", [((37, 53), (4, 4), (37, 37)), ((31, 9), (4, 6), (6, 9)), ((2, 1), (4, 4), (1, 1))]
)
def test_the_centre_is_averaged(tmp_path, size, wanted, part):
    """Against means over the centred part, enlarged by repeating so that every pixel's area is whole."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (*size, 3), np.uint8)
    video = read_footage(write_images(tmp_path / "folder", [image]), *wanted).video
    doubled = image.repeat(2, 0).repeat(2, 1)  # the part may begin at half a pixel
    top, left = size[0] - part[0], size[1] - part[1]
    centre = (
        doubled[top : top + 2 * part[0], left : left + 2 * part[1]].repeat(wanted[0], 0).repeat(wanted[1], 1)
    )
    blocks = centre.reshape(wanted[0], 2 * part[0], wanted[1], 2 * part[1], 3).mean((1, 3))
    np.testing.assert_allclose(video[0], blocks, atol=0.51)


def test_frames_are_those_of_the_data_sets(tmp_path):
    """FFmpeg's area scaling, which builds the data sets, agrees to a few levels."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (2, 20, 30, 3), np.uint8).repeat(16, 1).repeat(16, 2)  # 480 x 320
    write_video(tmp_path / "a.mp4", frames)
    built = read_video(tmp_path / "a.mp4", 64, 64, crop=True).astype(int)
    video = read_footage(tmp_path / "a.mp4", 64, 64).video
    assert np.abs(video - built).max() <= 4 and built.std() > 30


def test_images_come_in_the_order_of_their_numbers(tmp_path):
    folder = write_images(tmp_path / "folder", gray_frames(12), "frame_{}.png")
    (folder / "notes.txt").write_text("not an image")
    video = read_footage(folder, 4, 4).video
    np.testing.assert_array_equal(video[:, 0, 0, 0], 10 * np.arange(12))


def test_transparency_is_white(tmp_path):
    image = np.zeros((4, 4, 4), np.uint8)
    image[:2, :, 3] = 255  # the lower half shows nothing
    image[:2, :, 0] = 200
    Image.fromarray(image).save(tmp_path / "a.png")
    video = read_footage(tmp_path / "a.png", 4, 4).video
    assert (video[0, :2] == (200, 0, 0)).all() and (video[0, 2:] == 255).all()
    write_video(tmp_path / "a.mov", image[None].repeat(8, 1).repeat(8, 2), "png", "rgba")
    video = read_footage(tmp_path / "a.mov", 4, 4).video
    assert (video[0, :2] == (200, 0, 0)).all() and (video[0, 2:] == 255).all()


def test_gray_and_sixteen_bits(tmp_path):
    Image.fromarray(np.full((4, 4), 99, np.uint8)).save(tmp_path / "gray.png")
    assert (read_footage(tmp_path / "gray.png", 4, 4).video == 99).all()
    values = np.uint16([[0, 257], [257 * 100, 65535]])
    Image.fromarray(values).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(
        read_footage(tmp_path / "deep.png", 2, 2).video[0, ..., 2], [[0, 1], [100, 255]]
    )
    Image.fromarray(np.full((4, 4), True)).save(tmp_path / "one_bit.png")
    assert (read_footage(tmp_path / "one_bit.png", 4, 4).video == 255).all()


def test_an_animation(tmp_path):
    frames = [Image.fromarray(frame) for frame in gray_frames(5)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    video, numbers, _ = read_footage(tmp_path / "a.gif", 4, 4, stride=2)
    np.testing.assert_array_equal(numbers, [0, 2, 4])
    np.testing.assert_allclose(video[:, 0, 0, 1], [0, 20, 40], atol=3)


def test_a_turned_video_is_upright(tmp_path):
    """A phone held upright stores lying frames and a matrix: here a quarter turn clockwise, written by hand."""
    frames = gray_frames(3, 16, 32)
    frames[:, :8] = (255, 0, 0)
    write_video(tmp_path / "a.mp4", frames)
    assert (read_footage(tmp_path / "a.mp4", 8, 8).video[0, 1, 4] > (200, -1, -1)).all()
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # after version, times, track, duration, layer, group and volume
    data[matrix : matrix + 36] = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 2**30], ">i4").tobytes()
    (tmp_path / "turned.mp4").write_bytes(data)
    video, _, account = read_footage(tmp_path / "turned.mp4", 16, 8)
    assert "of 16x32 pixels" in account
    assert video[0, 8, 6, 0] > 200 and video[0, 8, 1, 0] < 50  # what was above is on the right


def refused(path, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        read_footage(path, 8, 8, **options)
    assert len(str(caught.value).splitlines()) == 1 and str(path) in str(caught.value)


def test_what_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_footage(tmp_path / "nowhere.mp4", 8, 8)
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 50)
    refused(tmp_path / "text.mp4", "cannot be decoded")
    (tmp_path / "text.png").write_text("This is no image.")
    refused(tmp_path / "text.png", "cannot be read as an image")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "cannot be decoded")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "holds no images")
    write_images(tmp_path / "folder", [*gray_frames(2), *gray_frames(1, 24, 24)])
    refused(tmp_path / "folder", "frame 2 has 24x24 pixels, those before it 30x20")
    refused(tmp_path / "folder", "holds no frames from frame 9 on", start=9)
    whole = (tmp_path / "folder" / "0.png").read_bytes()
    (tmp_path / "folder" / "0.png").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "folder", "0.png: cannot be read as an image")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    refused(tmp_path / "float.tif", "floating-point")
    write_video(tmp_path / "a.mp4", np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8))
    damaged = bytearray((tmp_path / "a.mp4").read_bytes())
    (tmp_path / "cut.mp4").write_bytes(damaged[: len(damaged) // 2])
    refused(tmp_path / "cut.mp4", "cannot be decoded")


def test_nothing_behind_the_limit_is_read(tmp_path):
    folder = write_images(tmp_path / "folder", gray_frames(5))
    (folder / "9.png").write_text("broken, but never reached")
    assert len(read_footage(folder, 4, 4, limit=3).video) == 3
