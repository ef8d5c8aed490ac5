"""Videos are read as their containers say that they are to be shown, as FFmpeg's own program shows them, or refused.

What is expected is written down here, from the definitions and from what FFmpeg 9.0 shows; where there is an `ffmpeg`,
it is asked again.
"""

import re
import shutil
import struct
import subprocess

import av
import numpy as np
import pytest
from av.stream import Disposition

from data_pipelines.video import read_footage, read_video
from tests.data_pipelines.containers import (
    corners,
    quarters,
    with_box,
    with_matrix,
    write,
    write_planes,
)


def ffmpeg_shows(path, filters="null", at_least=(0, 0)) -> np.ndarray | None:
    """What FFmpeg's program makes of a file: u8[t 16 16 3]; None where there is no (new enough) such program."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    version = re.search(
        r"version n?(\d+)\.(\d+)",
        subprocess.run([program, "-version"], capture_output=True, text=True).stdout,
    )
    if version is None or tuple(map(int, version.groups())) < at_least:
        return None
    scaled = f"{filters},scale=16:16:flags=area+accurate_rnd+full_chroma_int+bitexact,format=rgb24"
    command = [program, "-v", "error", "-i", path, "-vf", scaled, "-f", "rawvideo", "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(result.stdout, np.uint8).reshape(-1, 16, 16, 3)


def same_as_ffmpeg(path, video, filters="null", at_least=(0, 0), tolerance=3) -> None:
    shown = ffmpeg_shows(path, filters, at_least)
    if shown is not None:
        assert shown.shape == video.shape
        assert np.abs(shown.astype(int) - video).mean() < tolerance


def refused(path, message) -> None:
    for read in (lambda: read_video(path, 16, 16, True), lambda: read_footage(path, 16, 16)):
        with pytest.raises(ValueError, match=message) as caught:
            read()
        assert len(str(caught.value).splitlines()) == 1 and str(path) in str(caught.value)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shown") / "plain.mp4", quarters())


# The eight ways to turn and mirror, and where the corners go.
TURNS = {
    (1, 0, 0, 1): "rgbw",
    (-1, 0, 0, 1): "grwb",
    (1, 0, 0, -1): "bwrg",
    (-1, 0, 0, -1): "wbgr",
    (0, 1, -1, 0): "brwg",
    (0, -1, 1, 0): "gwrb",
    (0, 1, 1, 0): "rbgw",
    (0, -1, -1, 0): "wgbr",
}


@pytest.mark.parametrize("matrix, expected", TURNS.items())
def test_turned_and_mirrored_videos_are_upright_in_both_readers(plain, tmp_path, matrix, expected):
    path = with_matrix(plain, matrix, tmp_path / "turned.mp4")
    whole = read_video(path, 16, 16, crop=False)
    assert corners(whole) == expected
    same_as_ffmpeg(path, whole)
    footage = read_footage(path, 16, 16)
    assert corners(footage.video) == expected
    np.testing.assert_array_equal(footage.video, read_video(path, 16, 16, crop=True))  # one reader
    assert ("of 48x64 pixels" if matrix[0] == 0 else "of 64x48 pixels") in footage.account


def test_angles_that_are_no_quarters_are_refused(plain, tmp_path):
    half = 0.5**0.5
    refused(with_matrix(plain, (half, half, -half, half), tmp_path / "a.mp4"), "turned by an angle")
    refused(with_matrix(plain, (1, 0.3, 0, 1), tmp_path / "a.mp4"), "turned by an angle")
    nearly = with_matrix(
        plain, (1, 0.01, -0.01, 1), tmp_path / "a.mp4"
    )  # half a degree, which FFmpeg ignores too
    assert corners(read_video(nearly, 16, 16, False)) == "rgbw"


def test_pixels_that_are_no_squares_are_shown_in_their_shape(tmp_path):
    """Twice as wide as high: of 64 x 48 pixels, shown as 128 x 48, the centre square is the middle 24 columns."""
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    frames[:, :, 20:44] = 200
    path = with_box(write(tmp_path / "a.mp4", frames), b"pasp", struct.pack(">2i", 2, 1), tmp_path / "b.mp4")
    assert read_video(tmp_path / "a.mp4", 16, 16, True).min() < 50
    read = read_video(path, 16, 16, True)
    assert read.min() > 190
    same_as_ffmpeg(path, read, "scale=iw*sar:ih,crop=ih:ih")
    assert "of 128x48 pixels, the centre of 48x48 taken" in read_footage(path, 16, 16).account
    turned = with_matrix(path, (0, 1, -1, 0), tmp_path / "c.mp4")
    assert read_video(turned, 16, 16, True).min() > 190
    assert "of 48x128 pixels" in read_footage(turned, 16, 16).account
    high = with_box(tmp_path / "a.mp4", b"pasp", struct.pack(">2i", 1, 2), tmp_path / "d.mp4")
    assert "of 64x96 pixels" in read_footage(high, 16, 16).account


def test_what_the_container_crops_is_not_shown(plain, tmp_path):
    """A clean aperture of 32 x 24 pixels, its centre 16 right and 12 below that of the picture: one quarter."""
    path = with_box(plain, b"clap", struct.pack(">8i", 32, 1, 24, 1, 16, 1, 12, 1), tmp_path / "a.mp4")
    read = read_video(path, 16, 16, False)
    assert corners(read) == "wwww"
    assert "of 32x24 pixels" in read_footage(path, 16, 16).account
    same_as_ffmpeg(path, read, at_least=(7, 1))
    left = with_box(plain, b"clap", struct.pack(">8i", 32, 1, 48, 1, -16, 1, 0, 1), tmp_path / "b.mp4")
    assert corners(read_video(with_matrix(left, (-1, 0, 0, 1), tmp_path / "c.mp4"), 16, 16, False)) == "rrbb"


MATRICES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
MATRICES |= {9: (0.2627, 0.0593), 2: MATRICES[6]}  # what says nothing is taken for BT.601, as FFmpeg does


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_are_those_of_the_matrix_and_range(tmp_path, matrix, full_range):
    """Against the definition: Y = kr R + (1 - kr - kb) G + kb B, U and V the scaled differences B - Y and R - Y."""
    stored = (120, 90, 170)
    path = write_planes(tmp_path / "a.mkv", stored, colorspace=matrix, color_range=2 if full_range else 1)
    scales = (255, 255, 255) if full_range else (219, 224, 224)
    y, u, v = (
        (level - zero) / scale
        for level, zero, scale in zip(stored, (0 if full_range else 16, 128, 128), scales)
    )
    kr, kb = MATRICES[matrix]
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    expected = 255 * np.array([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue])
    read = read_video(path, 16, 16, True)
    np.testing.assert_allclose(read, np.broadcast_to(expected, read.shape), atol=2)
    same_as_ffmpeg(path, read)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"color_trc": 16}, "PQ, HDR"),
        ({"color_trc": 18}, "HLG, HDR"),
        ({"color_trc": 8}, "linear"),
        ({"colorspace": 8}, "matrix 8"),
        ({"colorspace": 14}, "matrix 14"),
    ],
)
def test_colours_of_no_usual_screen_are_refused(tmp_path, fields, said):
    refused(write_planes(tmp_path / "a.mkv", (120, 90, 170), **fields), said)


def test_pictures_for_two_eyes_and_panoramas_are_refused(plain, tmp_path):
    refused(with_box(plain, b"st3d", struct.pack(">iB", 0, 2), tmp_path / "a.mp4"), "one for each eye")
    flat = with_box(plain, b"st3d", struct.pack(">iB", 0, 0), tmp_path / "b.mp4")
    assert corners(read_video(flat, 16, 16, False)) == "rgbw"
    header = struct.pack(">I4sIB", 13, b"svhd", 0, 0)
    pose = struct.pack(">I4s4i", 24, b"prhd", 0, 0, 0, 0)
    equirectangular = struct.pack(">I4s5i", 28, b"equi", 0, 0, 0, 0, 0)
    projection = struct.pack(">I4s", 8 + len(pose + equirectangular), b"proj") + pose + equirectangular
    refused(with_box(plain, b"sv3d", header + projection, tmp_path / "c.mp4"), "panorama")


def test_interlaced_frames_are_completed_from_their_neighbours(tmp_path):
    """A bar that moves between the two halves of each frame: as stored, every row differs from the next."""
    frames = np.zeros((6, 48, 64, 3), np.uint8)
    for t in range(6):
        frames[t, 0::2, 8 * t : 8 * t + 16] = frames[t, 1::2, 8 * t + 4 : 8 * t + 20] = 220
    flags = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    path = write(tmp_path / "a.mkv", frames, pixels="yuv420p", **flags)
    read = read_video(path, 48, 64, False).astype(int)
    assert len(read) == 6
    combed, left = (np.abs(np.diff(video[..., 0].astype(int), axis=1)).mean() for video in (frames, read[1:]))
    assert left < combed / 20
    same_as_ffmpeg(path, read_video(path, 16, 16, False), "bwdif=mode=send_frame:deint=interlaced")


def test_uneven_times_become_even_ones(tmp_path):
    frames = np.uint8(10 * np.arange(12))[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    times = [0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14]  # the third stays for four
    path = write(tmp_path / "a.mp4", frames, times=times)
    read = read_video(path, 16, 16, True)
    np.testing.assert_allclose(read[:, 8, 8, 0], 10 * np.repeat(np.arange(12), np.diff([*times, 15])), atol=3)
    same_as_ffmpeg(path, read, "fps=25")
    footage = read_footage(path, 16, 16, start=4, limit=2)
    np.testing.assert_allclose(footage.video[:, 8, 8, 0], [20, 20], atol=3)
    np.testing.assert_array_equal(footage.source_frame, [4, 5])
    assert "shown for uneven times" in footage.account
    even = write(
        tmp_path / "b.mp4", frames, times=[7 + 2 * t for t in range(12)]
    )  # later, slower: no other pictures
    np.testing.assert_allclose(read_video(even, 16, 16, True)[:, 8, 8, 0], 10 * np.arange(12), atol=3)
    slow = write(tmp_path / "c.mp4", frames, times=[*range(11), 25 * 3600])
    refused(slow, "shown for too uneven times")


def test_rounded_times_are_even(tmp_path):
    """Matroska rounds to milliseconds: at 30 frames a second 33, 33 and 34 of them."""
    frames = np.uint8(2 * np.arange(100))[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    np.testing.assert_array_equal(read_video(path, 16, 16, True)[:, 8, 8, 0], 2 * np.arange(100))


def test_what_an_edit_list_leaves_out_is_left_out(tmp_path):
    """The file holds twelve frames; its edit list begins with the fifth."""
    frames = np.uint8(10 * np.arange(12))[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    path = write(tmp_path / "a.mp4", frames, bf="0")
    data = bytearray(path.read_bytes())
    start = data.index(b"elst") + 4 + 8
    duration, _, rate = struct.unpack(">3I", data[start : start + 12])
    scale = struct.unpack(">I", data[(at := data.index(b"mdhd") + 4 + 12) : at + 4])[0]
    data[start : start + 12] = struct.pack(">3I", duration * 8 // 12, 4 * scale // 25, rate)
    path.write_bytes(data)
    read = read_video(path, 16, 16, True)
    np.testing.assert_allclose(read[:, 8, 8, 0], 10 * np.arange(4, 12), atol=3)
    same_as_ffmpeg(path, read)


def _with_cover(path, video):
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png")
        cover.width = cover.height = 200
        cover.pix_fmt, cover.disposition = "rgb24", Disposition.attached_pic
        stream = container.add_stream("libx264", rate=25) if len(video) else None
        if stream:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
            for frame in video:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        picture = av.VideoFrame.from_ndarray(np.full((200, 200, 3), 255, np.uint8), format="rgb24")
        picture.pts = 0
        container.mux(cover.encode(picture))
        container.mux(cover.encode())
    return path


def test_covers_are_no_video(tmp_path):
    path = _with_cover(tmp_path / "a.mp4", quarters())
    assert corners(read_video(path, 16, 16, False)) == "rgbw"
    refused(_with_cover(tmp_path / "b.mp4", ()), "holds no video stream, only a cover picture")
    with av.open(str(tmp_path / "c.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    refused(tmp_path / "c.mp4", "holds no video stream$")


def test_of_several_videos_the_default_one_is_shown(tmp_path):
    large, small = np.full((3, 96, 128, 3), 255, np.uint8), quarters()
    path = write(tmp_path / "a.mkv", large, small)
    assert read_video(path, 16, 16, False).min() > 250  # nothing said: the larger, as FFmpeg's program
    same_as_ffmpeg(path, read_video(path, 16, 16, False))
    assert "of 2 videos in the file number 1" in read_footage(path, 16, 16).account
    write(tmp_path / "b.mkv", large, small, marks=[Disposition(0), Disposition.default])
    assert corners(read_video(tmp_path / "b.mkv", 16, 16, False)) == "rgbw"
    same_as_ffmpeg(tmp_path / "b.mkv", read_video(tmp_path / "b.mkv", 16, 16, False))


def test_transparent_webm_is_in_front_of_white(tmp_path):
    """FFmpeg's own decoder would leave the transparency out: the colours below would show."""
    frames = np.zeros((3, 32, 32, 4), np.uint8)
    frames[..., 0], frames[:, :, :16, 3] = 200, 255
    path = tmp_path / "a.webm"
    write(path, frames, codec="libvpx-vp9", pixels="yuva420p")
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata["alpha_mode"] == "1"
    read = read_video(path, 16, 16, True).astype(int)
    assert np.abs(read[0, 8, 3] - (200, 0, 0)).max() < 20 and read[0, 8, 12].min() > 240


def test_damage_inside_is_refused_and_not_made_up(tmp_path):
    """Decoders hide damage by default: other pictures come, and nobody is told."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (12, 6, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    data = write(tmp_path / "a.mp4", frames).read_bytes()
    good = read_video(tmp_path / "a.mp4", 16, 16, False)
    start = data.index(b"mdat")
    told = 0
    for place in np.linspace(start + 1500, data.index(b"moov") - 200, 20).astype(int):
        damaged = bytearray(data)
        damaged[place : place + 4] = bytes(255 - byte for byte in damaged[place : place + 4])
        (tmp_path / "b.mp4").write_bytes(damaged)
        try:
            read = read_video(tmp_path / "b.mp4", 16, 16, False)
            told += read.shape == good.shape and bool((read == good).all())
        except ValueError as error:
            told += "b.mp4: cannot be decoded" in str(error)
    assert told >= 16  # a bit of a colour that changes to another one is no error to any decoder


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_file_that_ends_early_is_refused(tmp_path, name):
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    with av.open(str(tmp_path / name), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.options = 48, 64, "yuv444p", {"g": "2"}
        for frame in np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    whole = (tmp_path / name).read_bytes()
    for share in (0.5, 0.9):
        (tmp_path / f"cut_{name}").write_bytes(whole[: int(share * len(whole))])
        refused(tmp_path / f"cut_{name}", "cut off")


def test_names_are_no_addresses(tmp_path, monkeypatch):
    """FFmpeg reads "concat:a|b", "http:..." and playlists of such; a path is the name of a file, whatever is in it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.mp4", quarters()).rename("file:a%03d|b.mp4")
    assert corners(read_video("file:a%03d|b.mp4", 16, 16, False)) == "rgbw"
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://192.0.2.1/a.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "a.m3u8").write_text(playlist)
    with pytest.raises(ValueError, match=r"a\.m3u8: "):
        read_video(tmp_path / "a.m3u8", 16, 16, True)


def test_a_title_in_another_encoding_is_no_error(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Umlaute"
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "bgr0"
        for frame in quarters():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"Umlaute", b"Umla\xfcte"))
    assert corners(read_video(path, 16, 16, False)) == "rgbw"


def test_a_recording_that_begins_in_the_middle_begins_with_its_first_whole_picture(tmp_path):
    """A transport stream cut in front, in the pictures that say what changed since the first; as FFmpeg's program."""
    frames = np.uint8(8 * np.arange(30))[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8)
    path = write(tmp_path / "a.ts", frames, g="12", bf="2")
    data = path.read_bytes()
    with av.open(str(path)) as container:
        keys = [
            packet.pos for packet in container.demux(video=0) if packet.is_keyframe and packet.pos is not None
        ]
    assert len(keys) >= 2
    (tmp_path / "b.ts").write_bytes(data[188 * (keys[1] // 376) :])  # half way to the second
    read = read_video(tmp_path / "b.ts", 16, 16, True)
    np.testing.assert_allclose(read[:, 8, 8, 0], 8 * np.arange(12, 30), atol=4)
    assert (
        "without those before the first that stands for itself"
        in read_footage(tmp_path / "b.ts", 16, 16).account
    )
    same_as_ffmpeg(tmp_path / "b.ts", read)
