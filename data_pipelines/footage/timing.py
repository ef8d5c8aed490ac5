"""From the times at which pictures appear to pictures at an even pace, which is what a model takes a video to be."""

import numpy as np

MOST_REPEATS = 20  # times as many pictures as are stored, and at most
ALLOWED = 1000  # more


def even_counts(times: list[float]) -> list[int]:
    """How often each picture comes, so that all that is shown comes at an even pace.

    Where no picture appears further than half the usual interval from its place in an even row, each comes once: that
    is all rounding of times and most jitter of cameras. Otherwise the pace is the usual interval, and a picture comes
    again for each interval that it stays, and not at all where the next one takes its place (as FFmpeg's constant rate
    does).

    Args:
        times: when each appears, ascending, in any unit. How long the last one stays does not matter: it comes once.

    Raises:
        ValueError: the pace is so uneven that hardly any picture would be one of the file's.
    """
    if len(times) < 3 or times[-1] == times[0]:
        return [1] * len(times)
    times = np.asarray(times, np.float64) - times[0]
    intervals = np.diff(times)
    usual = np.median(intervals[intervals > 0])
    if np.abs(times - np.linspace(0, times[-1], len(times))).max() <= usual / 2:
        return [1] * len(times)
    usual = intervals[np.abs(intervals - usual) <= usual / 4].mean()  # of rounded times the exact mean
    places = np.floor(times / usual + 0.5)
    if places[-1] > MOST_REPEATS * len(times) + ALLOWED:
        raise ValueError(
            f"its {len(times)} pictures are shown for too uneven times (usually {usual:.3g} seconds, one for "
            f"{intervals.max():.3g}): give it an even rate first, for example ffmpeg -i IN -vf fps=25 OUT.mp4"
        )
    return [*np.diff(places).astype(int).tolist(), 1]
