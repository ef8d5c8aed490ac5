"""What the processes that read or render videos hand to the one that writes the data set."""

from typing import Any, NamedTuple


class Problem(NamedTuple):
    """A file that could not be used as it is."""

    file: str
    reason: str
    skipped: bool  # the video was left out; otherwise it was kept without what the file should have given


class Sample(NamedTuple):
    """One video ready to be written, or why there is none."""

    example: dict[str, Any] | None  # by the names of `features.video_features`
    problems: tuple[Problem, ...] = ()
