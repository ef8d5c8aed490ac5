"""Video files that say how their pictures are to be shown: the fields that PyAV does not write are put in by hand."""

import struct
from pathlib import Path

import av
import numpy as np

# What is above and left of the middle, above and right, below and left, below and right.
RED, GREEN, BLUE, GRAY = (220, 20, 20), (20, 200, 20), (20, 20, 220), (128, 128, 128)


def quarters(count: int = 3, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames u8[t h w 3] of four colours."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:, : height // 2, : width // 2], frames[:, : height // 2, width // 2 :] = RED, GREEN
    frames[:, height // 2 :, : width // 2], frames[:, height // 2 :, width // 2 :] = BLUE, GRAY
    return frames


def corners(video: np.ndarray) -> str:
    """The colours in the corners of the first frame: "rgbw" as `quarters` has them, w for gray."""
    names = {"r": RED, "g": GREEN, "b": BLUE, "w": GRAY}
    height, width = video.shape[1:3]
    pixels = [video[0, y, x].astype(int) for y in (1, height - 2) for x in (1, width - 2)]
    return "".join(min(names, key=lambda name: np.abs(pixel - names[name]).sum()) for pixel in pixels)


def write(
    path: Path, *videos: np.ndarray, times=None, marks=(), codec="libx264", pixels="yuv444p", **fields
) -> Path:
    """Writes frames u8[t h w 3] (or 4, with alpha), one stream for each video.

    Args:
        times: of the frames, in 25ths of a second.
        marks: the disposition of each stream.
        fields: attributes of the codec's context ("color_trc") or its options, which are texts.
    """
    with av.open(str(path), "w") as container:
        streams = []
        for frames in videos:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
            options = {name: value for name, value in fields.items() if isinstance(value, str)}
            stream.options = ({"qp": "4"} if codec == "libx264" else {}) | options
            for name, value in fields.items():
                if name not in options:
                    setattr(stream.codec_context, name, value)
            streams.append(stream)
        for stream, mark in zip(streams, marks):
            stream.disposition = mark
        for stream, frames in zip(streams, videos):
            for number, pixels_of in enumerate(frames):
                kind = "rgba" if frames.shape[-1] == 4 else "rgb24"
                frame = av.VideoFrame.from_ndarray(pixels_of, format=kind)
                frame.pts = number if times is None else times[number]
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


def write_planes(path: Path, levels: tuple[int, int, int], **fields) -> Path:
    """Writes three frames of one colour, as stored: Y, U and V, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv444p"
        for name, value in fields.items():
            setattr(stream.codec_context, name, value)
        for number in range(3):
            frame = av.VideoFrame(16, 16, "yuv444p")
            for plane, level in zip(frame.planes, levels):
                plane.update(bytes([level]) * plane.buffer_size)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def with_matrix(path: Path, matrix: tuple[float, ...], output: Path) -> Path:
    """The same MP4 with a display matrix (a b c d): a pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    a, b, c, d = (round(65536 * value) for value in matrix)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # after version, times, track, duration, layer, group and volume
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    output.write_bytes(data)
    return output


def with_box(path: Path, kind: bytes, content: bytes, output: Path) -> Path:
    """The same MP4 with one more box in the description of its (only) stream, at the end of the file's index."""
    data, box = bytearray(path.read_bytes()), struct.pack(">I4s", 8 + len(content), kind) + content
    sizes, start, end = [], 0, len(data)
    for name, skipped in zip(b"moov trak mdia minf stbl stsd avc1".split(), (0, 0, 0, 0, 0, 8, 78)):
        while data[start + 4 : start + 8] != name:
            start += struct.unpack(">I", data[start : start + 4])[0]
        sizes.append(start)
        end = start + struct.unpack(">I", data[start : start + 4])[0]
        start += 8 + skipped
    data[end:end] = box
    for start in sizes:
        size = struct.unpack(">I", data[start : start + 4])[0]
        data[start : start + 4] = struct.pack(">I", size + len(box))
    output.write_bytes(data)
    return output
