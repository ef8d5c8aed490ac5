"""Reads the video files of data sets, at the size at which they are stored."""

from pathlib import Path

import numpy as np


def read_video(path: str | Path, height: int, width: int, crop: bool) -> np.ndarray:
    """Decodes a video at another size: u8[t height width 3], RGB.

    FFmpeg crops and scales, each output pixel being the mean of the area that it covers. CLEVRER's 320 x 480 frames
    become 64 x 64 with `crop` (the paper's preprocessing, by a factor of 0.2) and 64 x 96 without.

    Args:
        path: any file that FFmpeg reads.
        height: rows of a frame, in pixels.
        width: columns of a frame, in pixels.
        crop: takes the centre square of each frame first; False takes the whole frame.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no video, is damaged, or has no frames.
    """
    import av  # 0.1 s, and only this function needs it

    frames = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: holds no video stream")
            stream = container.streams.video[0]
            graph = _scaling_graph(av, stream, height, width, crop)
            for frame in container.decode(stream):
                graph.push(frame)
                frames.append(graph.pull().to_ndarray())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except av.error.FFmpegError as error:
        raise ValueError(f"{path}: cannot be decoded ({error.strerror}), damaged or cut off?") from None
    if not frames:
        raise ValueError(f"{path}: holds no frames")
    return np.stack(frames)


def _scaling_graph(av, stream, height: int, width: int, crop: bool):
    # Without these flags swscale rounds differently from one processor family to the next.
    scale = f"{width}:{height}:flags=area+accurate_rnd+full_chroma_int+bitexact"
    steps = [("scale", scale), ("format", "rgb24"), ("buffersink", None)]
    if crop:
        steps.insert(0, ("crop", r"min(iw\,ih):min(iw\,ih)"))
    graph = av.filter.Graph()
    node = graph.add_buffer(template=stream)
    for name, arguments in steps:
        following = graph.add(name, arguments)
        node.link_to(following)
        node = following
    graph.configure()
    return graph
