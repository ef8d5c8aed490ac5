"""What the processes that read or render videos hand to the one that writes the data set."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from data_pipelines.simulator import video_seed


class Problem(NamedTuple):
    """A file that could not be used as it is."""

    file: str
    reason: str
    skipped: bool  # the video was left out; otherwise it was kept without what the file should have given


class Sample(NamedTuple):
    """One video ready to be written, or why there is none."""

    example: dict[str, Any] | None  # by the names of `features.video_features`
    problems: tuple[Problem, ...] = ()


# (configuration of the simulator, seed of the video, index, filename, **options of `simulate_video`) -> example. Raises
# ValueError where nothing that this seed simulates is worth keeping.
Render = Callable[..., dict[str, Any]]


def rendered_sample(
    render: Render, simulated: Any, seed: int, index: int, filename: str, options: Mapping[str, int | None]
) -> Sample:
    """Simulates and renders one video of a data set with a seed of its own."""
    try:
        return Sample(render(simulated, video_seed(seed, index), index, filename, **options))
    except ValueError as error:
        return Sample(None, (Problem(filename, str(error), True),))
