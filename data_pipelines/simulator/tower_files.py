"""The real block towers' own files: every video a strip of frames, one below the other.

Source: three independent readers of the data of Lerer, Gross and Fergus (2016). Of `real.txt` they use the first
column (id from 1), columns 14 to 17 (colour ids of the blocks, 0 where there is none) and the last (1: fell); the
columns that nobody documents are 0 here.
"""

import dataclasses
from pathlib import Path

import numpy as np

from data_pipelines.seeds import check_seed
from data_pipelines.simulator.config import TowerConfig, video_seed
from data_pipelines.simulator.towers import simulate_tower
from data_pipelines.whole_files import whole_file

FOLDER = "block_camera_combined_scaled2"
TABLE = "real.txt"
UNDOCUMENTED_COLUMNS = 13
MAX_BLOCKS = 4


@dataclasses.dataclass(frozen=True)
class TowerWriter:
    """Writes towers; a tower's bytes depend on these fields and its index alone. Indices are ids, from 1.

    Raises:
        ValueError: a field is out of range.
    """

    root: Path
    config: TowerConfig
    seed: int
    size: int  # pixels, of the square frames
    num_frames: int
    supersampling: int

    def __post_init__(self):
        check_seed("seed", self.seed)
        if min(self.size, self.supersampling) < 1:
            raise ValueError(f"need size >= 1 and supersampling >= 1; got {self.size}, {self.supersampling}")
        if not 1 <= self.num_frames <= self.config.num_frames:
            raise ValueError(f"towers have 1 to {self.config.num_frames} frames; got {self.num_frames}")

    def is_finished(self, index: int) -> bool:
        return index in self._rows() and all(path.exists() for path in strip_paths(self.root, index))

    def write(self, index: int) -> tuple[int, list[int]]:
        """Simulates, draws and writes the strips of one tower; returns their bytes and the row of the table."""
        tower = simulate_tower(
            video_seed(self.seed, index),
            height=self.size,
            width=self.size,
            num_frames=self.num_frames,
            supersampling=self.supersampling,
            config=self.config,
        )
        colors = [self.config.colors.index(block.color) + 1 for block in tower.objects]
        colors_by_label = np.array([0, *colors], np.uint8)
        paths = strip_paths(self.root, index)
        for path, frames in zip(
            paths, (tower.video, tower.segmentation, colors_by_label[tower.segmentation])
        ):
            _write_strip(path, frames)
        absent = [0] * (MAX_BLOCKS - len(colors))
        row = [index, *[0] * UNDOCUMENTED_COLUMNS, *colors, *absent, int(tower.fell)]
        return sum(path.stat().st_size for path in paths), row

    def record(self, index: int, result: tuple[int, list[int]]) -> int:
        """Adds a finished tower to the table; returns its bytes."""
        size, row = result
        rows = self._rows() | {index: " ".join(map(str, row))}
        with whole_file(self.root / TABLE) as partial:
            partial.write_text("".join(f"{rows[i]}\n" for i in sorted(rows)))
        return size

    def _rows(self) -> dict[int, str]:
        table = self.root / TABLE
        lines = table.read_text().splitlines() if table.exists() else []
        return {int(line.split()[0]): line for line in lines}


def strip_paths(root: Path, index: int) -> tuple[Path, Path, Path]:
    """The strips of pictures, of block numbers from the bottom up, and of colour ids."""
    folder = root / FOLDER
    return tuple(folder / f"{kind}_{index}.png" for kind in ("img_concat", "mask_order", "mask_color"))


def _write_strip(path: Path, frames: np.ndarray) -> None:
    """Writes frames u8[t h w] or u8[t h w 3] as one PNG of width w and height t * h."""
    from PIL import Image

    with whole_file(path) as partial:
        Image.fromarray(frames.reshape(-1, *frames.shape[2:])).save(partial, format="PNG")
