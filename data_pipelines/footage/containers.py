"""Video files, as FFmpeg decodes them and as their container says that they are to be shown.

What is honoured: quarter turns and mirroring (display matrix), shape of pixels, cropping by the codec and by the
container, range and matrix of colours, transparency (white shows through), interlacing (frames are completed from their
neighbours), edit lists, times, which stream is the one to show, and which are no videos (covers, thumbnails). What
cannot be honoured is refused: other angles, HDR and other transfer functions than screens have, pictures for two eyes,
panoramas, photos in tiles.
"""

import collections
import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_pipelines.footage.frames import DecodedPicture, Scaler, Shown, filters
from data_pipelines.footage.pictures import Picture, Source
from data_pipelines.footage.timing import even_counts

MOST_PIXELS = 2**26  # of a picture: twice as many as 8K has
LARGE = 2**20  # pixels; such are decoded by several threads
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own leave the transparency out


def open_video(path: Path, wanted: int | None) -> Source:
    """The pictures of the stream of a video file that is to be shown.

    Args:
        path: any file that FFmpeg reads.
        wanted: how many pictures are looked at, None for all.

    Raises:
        ValueError: it holds no video, is damaged, or cannot be shown as it wants to be; one line says what. What is in
            the pictures shows only when they are taken.
    """
    with _opened(path) as container:
        stream, notes = _choose_stream(container, path)
        ratio = stream.sample_aspect_ratio
        decoder = None
        if stream.metadata.get("alpha_mode") == "1" and stream.codec_context.name in ALPHA_DECODERS:
            decoder = ALPHA_DECODERS[stream.codec_context.name]
        shown = Shown(path, stream.index, float(ratio or 1), _cropping(container, stream), decoder)
        passed_over, counts = _schedule(container, stream, wanted, path)
    if passed_over:
        notes += ("without those before the first that stands for itself",)
    if any(count != 1 for count in counts.values()):
        notes += ("shown for uneven times: some come again or not at all, so that all are evenly spaced",)
    return Source(_pictures(shown, passed_over, counts), notes)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import av  # 0.1 s, and images do not need it

    try:
        # Names are no addresses, and a playlist of this machine opens nothing of others.
        with av.open(f"file:{path}", options={"protocol_whitelist": "file"}, **tolerance()) as container:
            yield container
    except av.error.FFmpegError as error:
        raise ValueError(
            f"{path}: cannot be decoded ({error.strerror}), no video, damaged or cut off?"
        ) from None


def tolerance() -> dict[str, str]:
    """Arguments of `av.open`: a title may be in any encoding, which PyAV 19 takes for granted and is not told."""
    import av

    return {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}


def _choose_stream(container, path: Path) -> tuple[Any, tuple[str, ...]]:
    """The stream to show: of those marked as default, else of all, the one with the largest pictures."""
    from av.stream import Disposition

    streams = container.streams.video
    if any(stream.disposition & Disposition.dependent for stream in streams):
        raise ValueError(
            f"{path}: its pictures come in parts (a HEIF photo?): convert it to PNG or MP4 first"
        )
    no_video = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in streams if not stream.disposition & no_video]
    if not videos:
        raise ValueError(f"{path}: holds no video stream" + (", only a cover picture" if streams else ""))
    if any(stream.codec_context is None for stream in videos):
        raise ValueError(f"{path}: FFmpeg knows no decoder for it")
    defaults = [stream for stream in videos if stream.disposition & Disposition.default] or videos
    chosen = max(defaults, key=lambda stream: stream.width * stream.height)
    if len(videos) == 1:
        return chosen, ()
    return chosen, (f"of {len(videos)} videos in the file number {videos.index(chosen) + 1}",)


@contextlib.contextmanager
def _log(level: str) -> Iterator[list]:
    """What FFmpeg says meanwhile: for some things PyAV has no other way to know them."""
    import av.logging

    before = av.logging.get_level()
    av.logging.set_level(getattr(av.logging, level))
    try:
        with av.logging.Capture() as lines:
            yield lines
    finally:
        av.logging.set_level(before)


def _cropping(container, stream) -> tuple[int, int, int, int]:
    """What the container cuts off each picture: pixels on the left, right, top, bottom."""
    with _log("INFO"):
        description = container.dumps_format()
    for text in re.split(r"\n  Stream #0:(?=\d)", description)[1:]:
        found = re.search(r"Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)", text)
        if found and int(re.match(r"\d+", text)[0]) == stream.index:
            return tuple(int(number) for number in found.groups())
    return 0, 0, 0, 0


def _schedule(container, stream, wanted: int | None, path: Path) -> tuple[int, dict[int, int]]:
    """From the packets, of which nothing is decoded: what to pass over, and how often the picture of each time comes.

    A recording may begin in the middle, with pictures that say what changed since one that is not there. They are
    passed over up to the first that stands for itself.
    """
    passed_over, begun, times = 0, False, []
    with _log("ERROR") as lines:
        for packet in container.demux(stream):
            if packet.is_keyframe and not begun:
                begun, times = True, []
            passed_over += not begun
            if packet.pts is not None and not packet.is_discard:
                times.append(packet.pts)
            if wanted is not None and len(times) >= wanted + 32:  # no codec sends a picture further ahead
                break
    if any("ended prematurely" in text for _, _, text in lines):
        raise ValueError(f"{path}: ends before its end, cut off?")
    times.sort()
    try:
        counts = even_counts([float(time * stream.time_base) for time in times])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return passed_over if begun else 0, dict(zip(times, counts))


def _pictures(shown: Shown, passed_over: int, counts: dict[int, int]) -> Iterator[Picture]:
    with _opened(shown.path) as container:
        stream = container.streams[shown.index]
        scaler = Scaler(shown)
        for frame, count in _progressive(_frames(container, stream, shown, passed_over, counts)):
            yield from [DecodedPicture(frame, shown, scaler)] * count


def _frames(
    container, stream, shown: Shown, passed_over: int, counts: dict[int, int]
) -> Iterator[tuple[Any, int]]:
    """Decoded frames, and how often each comes."""
    import av

    context = stream.codec_context
    if shown.decoder is not None:
        if shown.decoder not in av.codecs_available:
            raise ValueError(f"{shown.path}: is transparent, which needs FFmpeg's decoder {shown.decoder}")
        context = av.CodecContext.create(shown.decoder, "r")
    # Damage is an error instead of a picture made up; cropping is exact.
    context.options = {"err_detect": "explode", "max_pixels": str(MOST_PIXELS)}
    context.flags |= av.codec.context.Flags.unaligned
    if stream.width * stream.height >= LARGE:
        context.thread_type = "AUTO"  # smaller ones are read by several processes
    begun = not passed_over
    for packet in itertools.islice(container.demux(stream), passed_over, None):
        try:
            decoded = context.decode(packet if packet.size else None)
        except av.error.InvalidDataError:
            if begun:
                raise
            continue  # shown before the first, but stored behind it: needs what is not there
        for frame in decoded:
            begun = True
            if frame.is_corrupt:
                raise ValueError(f"{shown.path}: cannot be decoded, damaged or cut off?")
            yield frame, counts.get(frame.pts, 1)


def _progressive(frames: Iterator[tuple[Any, int]]) -> Iterator[tuple[Any, int]]:
    """Completes interlaced frames, which hold every other row of two moments, from their neighbours."""
    graph, waiting = None, collections.deque()
    for frame, count in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame, count
            continue
        graph = graph or filters(frame, ("bwdif", "mode=send_frame:deint=interlaced"))
        waiting.append(count)
        graph.push(frame)
        yield from zip(_pulled(graph), iter(waiting.popleft, None))
    if graph is not None:
        graph.push(None)
        yield from zip(_pulled(graph), iter(waiting.popleft, None))


def _pulled(graph) -> Iterator[Any]:
    import av

    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            yield graph.pull()
