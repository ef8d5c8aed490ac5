"""Anyone's pictures: odd sizes and formats are read as documented, or refused in one line."""

import os
import struct

import av
import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from data_pipelines.video import is_video_file, read_footage, read_video
from tests.data_pipelines.containers import corners, quarters, write


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


ORIENTED = {1: "rgbw", 2: "grwb", 3: "wbgr", 4: "bwrg", 5: "rbgw", 6: "brwg", 7: "wgbr", 8: "gwrb"}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_photos_are_upright_and_not_mirrored(tmp_path, suffix, orientation):
    """The eight orientations of EXIF, and where they put the corners, from its definition."""
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(quarters(1)[0]).save(path, exif=exif)
    assert corners(read_footage(path, 16, 16).video) == ORIENTED[orientation]
    assert corners(read_video(path, 16, 16, False)) == ORIENTED[orientation]


def test_a_photo_with_a_second_picture_inside_is_one_picture(tmp_path):
    """Cameras put a preview or a map of brightness behind the photo, of another size (MPO)."""
    first, second = (Image.fromarray(frame) for frame in (quarters(1)[0], np.zeros((10, 10, 3), np.uint8)))
    first.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "photo.jpg") as image:
        assert image.format == "MPO" and image.n_frames == 2
    for name in ("photo.jpg", "photo.mpo", "photo.JFIF", "photo"):
        path = tmp_path / name
        path.write_bytes((tmp_path / "photo.jpg").read_bytes())
        footage = read_footage(path, 16, 16)
        assert len(footage.video) == 1 and corners(footage.video) == "rgbw"
        assert not is_video_file(path)
    write_images(tmp_path / "folder", gray_frames(2, 48, 64), "{}.jpg")
    (tmp_path / "folder" / "2.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes())
    assert len(read_footage(tmp_path / "folder", 16, 16).video) == 3


def test_the_preview_of_a_page_is_no_frame(tmp_path):
    pages = [Image.fromarray(frame) for frame in gray_frames(3, 40, 40)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    assert len(read_footage(tmp_path / "stack.tif", 8, 8).video) == 3
    small = Image.fromarray(gray_frames(1, 10, 10)[0])
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = 1  # a reduced version of another page
    small.encoderinfo = {"tiffinfo": info}
    pages[2].save(tmp_path / "stack.tif", save_all=True, append_images=[small])
    footage = read_footage(tmp_path / "stack.tif", 8, 8)
    assert len(footage.video) == 1 and (footage.video == 20).all()


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_animations_keep_their_times(tmp_path, suffix):
    """The second of four pictures stays three times as long as the others; how long the last stays does not matter."""
    frames = [Image.fromarray(frame) for frame in 2 * gray_frames(4)]
    lossless = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[50, 150, 50, 900], **lossless)
    footage = read_footage(path, 4, 4)
    np.testing.assert_allclose(footage.video[:, 0, 0, 1], [0, 20, 20, 20, 40, 60], atol=2)
    assert "shown for uneven times" in footage.account
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[0, 100, 0, 100], **lossless)
    assert len(read_footage(path, 4, 4).video) == 4  # no time at all is a tenth of a second, as in browsers


def test_a_picture_for_those_who_know_no_animations_is_none_of_it(tmp_path):
    frames = [Image.fromarray(frame) for frame in gray_frames(4)]
    white = Image.fromarray(np.full_like(gray_frames(1)[0], 255))
    white.save(tmp_path / "a.png", save_all=True, append_images=frames, default_image=True, duration=40)
    video = read_footage(tmp_path / "a.png", 4, 4).video
    np.testing.assert_array_equal(video[:, 0, 0, 0], [0, 10, 20, 30])


def profile(red, green, blue, space=b"RGB ") -> bytes:
    """A colour profile by hand: where the three colours lie (XYZ under D50), straight curves."""

    def number(value):
        return struct.pack(">i", round(value * 65536))

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    white = (0.9642, 1.0, 0.8249)
    gamma = b"curv\0\0\0\0" + struct.pack(">IH2x", 1, round(2.2 * 256))
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(white)}
    tags |= {b"rXYZ": xyz(red), b"gXYZ": xyz(green), b"bXYZ": xyz(blue)}
    tags |= {b"rTRC": gamma, b"gTRC": gamma, b"bTRC": gamma}
    table, data, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, offset + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    size = offset + len(data)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", size, bytes(4), 0x02100000, b"mntr", space, b"XYZ ", bytes(12), b"acsp"
    )
    head += bytes(28) + b"".join(map(number, white)) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + data


# Of sRGB, under D50.
SRGB = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


@pytest.mark.parametrize("suffix, mode", [("png", "RGB"), ("png", "RGBA"), ("tif", "RGB"), ("jpg", "RGB")])
def test_colours_are_those_of_the_profile(tmp_path, suffix, mode):
    """A profile that calls green what is stored as red; one that says what everyone assumes changes nothing."""
    image = Image.new(mode, (32, 32), (200, 0, 0))
    red, green, blue = SRGB
    image.save(tmp_path / f"a.{suffix}", icc_profile=profile(green, red, blue))
    video = read_footage(tmp_path / f"a.{suffix}", 4, 4).video.astype(int)
    assert np.abs(video - (0, 200, 0)).max() <= 8
    image.save(tmp_path / f"b.{suffix}", icc_profile=profile(red, green, blue))
    assert np.abs(read_footage(tmp_path / f"b.{suffix}", 4, 4).video.astype(int) - (200, 0, 0)).max() <= 8
    image.save(tmp_path / f"c.{suffix}", icc_profile=b"no profile at all" * 20)
    refused(tmp_path / f"c.{suffix}", "cannot be read as an image")


def test_inks_palettes_and_gamma(tmp_path):
    Image.new("CMYK", (32, 32), (255, 0, 255, 0)).save(tmp_path / "inks.jpg")
    red, green, blue = read_footage(tmp_path / "inks.jpg", 4, 4).video[0, 0, 0].tolist()
    assert green > 200 and max(red, blue) < 60
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png", transparency=0)
    assert (read_footage(tmp_path / "palette.png", 4, 4).video == (10, 20, 30)).all()
    palette.save(tmp_path / "clear.png", transparency=1)
    assert (read_footage(tmp_path / "clear.png", 4, 4).video == 255).all()
    for gamma, level in ((100000, 186), (45455, 128)):  # light itself: half of it looks like 186 of 255
        info = PngImagePlugin.PngInfo()
        info.add(b"gAMA", struct.pack(">I", gamma))
        Image.new("RGB", (4, 4), (128,) * 3).save(tmp_path / "light.png", pnginfo=info)
        assert np.abs(read_footage(tmp_path / "light.png", 4, 4).video.astype(int) - level).max() <= 1


def test_what_is_in_a_file_decides_and_not_its_name(tmp_path):
    Image.fromarray(quarters(1)[0]).save(tmp_path / "picture", "PNG")
    Image.fromarray(quarters(1)[0]).save(tmp_path / "picture.jpg", "PNG")
    for name in ("picture", "picture.jpg"):
        assert corners(read_video(tmp_path / name, 16, 16, False)) == "rgbw"


def test_videos_of_data_sets_are_the_same_bytes_as_ever(tmp_path):
    """Against the filters that built the first data sets, for a file that says nothing about how it is to be shown."""
    frames = np.random.default_rng(0).integers(0, 256, (12, 20, 30, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    path = write(tmp_path / "a.mp4", frames, pixels="yuv420p")
    for width, crop in ((64, True), (96, False)):
        steps = [("crop", r"min(iw\,ih):min(iw\,ih)")] if crop else []
        steps.append(("scale", f"{width}:64:flags=area+accurate_rnd+full_chroma_int+bitexact"))
        expected = []
        with av.open(str(path)) as container:
            graph = av.filter.Graph()
            node = graph.add_buffer(template=container.streams.video[0])
            for name, arguments in [*steps, ("format", "rgb24"), ("buffersink", None)]:
                node.link_to(following := graph.add(name, arguments))
                node = following
            graph.configure()
            for frame in container.decode(video=0):
                graph.push(frame)
                expected.append(graph.pull().to_ndarray())
        np.testing.assert_array_equal(read_video(path, 64, width, crop), expected)


def test_shapes_of_pixels_of_images(tmp_path):
    """Twice as wide as high, said in each way that there is: the centre square is the middle half of the columns."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 4:12] = 200
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png", dpi=(72, 144))
    image.save(tmp_path / "a.tif", dpi=(100, 200))
    image.save(tmp_path / "a.jpg", dpi=(150, 300), quality=100)
    image.save(tmp_path / "b.jpg", quality=100)
    ratio = bytearray((tmp_path / "b.jpg").read_bytes())
    at = ratio.index(b"JFIF\0") + 7  # after the version: unit, and how much to the right and down
    ratio[at : at + 5] = struct.pack(">BHH", 0, 2, 1)
    (tmp_path / "c.jpg").write_bytes(ratio)
    exif = Image.Exif()
    exif[274] = 6
    image.rotate(90).save(tmp_path / "turned.jpg", dpi=(300, 150), quality=100, exif=exif)
    for name in ("a.png", "a.tif", "a.jpg", "c.jpg", "turned.jpg"):
        footage = read_footage(tmp_path / name, 4, 4)
        assert "of 32x16 pixels, the centre of 16x16 taken" in footage.account, name
        assert footage.video.min() > 180, name
    assert read_footage(tmp_path / "b.jpg", 4, 4).video.min() < 60


def test_twelve_bits_are_all_there_is(tmp_path):
    """A TIFF says how many bits it has; the largest of twelve is white, not a sixteenth of it."""
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: 1, 279: 3}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    packed = bytes([0xFF, 0xF0, 0x00])  # 4095 and 0
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(data.ljust(122, b"\0") + packed)
    np.testing.assert_array_equal(read_footage(tmp_path / "a.tif", 1, 2).video[0, 0, :, 0], [255, 0])


def test_profiles_of_gray_and_of_another_kind(tmp_path):
    gray = Image.new("L", (8, 8), 120)
    gray.save(tmp_path / "rgb.png", icc_profile=profile(*SRGB))
    assert np.abs(read_footage(tmp_path / "rgb.png", 4, 4).video.astype(int) - 120).max() <= 5
    Image.new("RGB", (8, 8)).save(tmp_path / "gray.png", icc_profile=profile(*SRGB, space=b"GRAY"))
    refused(tmp_path / "gray.png", "colour profile")


def test_what_systems_put_into_folders_is_no_frame(tmp_path):
    folder = write_images(tmp_path / "folder", gray_frames(3))
    (folder / "._0.png").write_bytes(b"\0\5\x16\7 of another system")
    (folder / ".hidden.png").touch()
    assert len(read_footage(folder, 4, 4).video) == 3


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_an_animation_that_ends_early_is_refused(tmp_path, suffix):
    frames = [
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (40, 40, 3), np.uint8)) for n in range(6)
    ]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=50)
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    for share in (0.4, 0.7, 0.95):
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: int(share * len(whole))])
        refused(tmp_path / f"cut.{suffix}", "cannot be read as an image")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    for name in ("pipe.mp4", "pipe", "folder/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / name)
    assert is_video_file(tmp_path / "pipe")
    for name in ("pipe.mp4", "pipe"):
        refused(tmp_path / name, "neither a file nor a folder")
    refused(tmp_path / "folder", "a.png: is no file")
