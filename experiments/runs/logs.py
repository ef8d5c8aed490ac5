"""What a run says: metrics.jsonl and TensorBoard for programs, a progress bar or plain lines for people."""

import contextlib
import json
import pathlib
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tqdm
from PIL import Image
from tensorboardX import summary
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import RecordWriter

from data_pipelines.whole_files import whole_file
from oddn_jax.records import parse_record


def say(text: str) -> None:
    """Prints a line on stderr, above the progress bar if there is one; in several processes only the first speaks."""
    if jax.process_index() == 0:
        tqdm.tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


class MetricLog:
    """Writes the metrics of a run, and shows its progress."""

    def __init__(
        self,
        workdir: pathlib.Path,
        start_step: int,
        num_steps: int,
        *,
        unit: str = "images",
        describe: Callable[[Mapping[str, float]], str] | None = None,
    ):
        """Opens the logs of a run that goes on from `start_step`: what it wrote about later steps is dropped.

        Args:
            unit: of the rate in the training metrics, "images" for `images_per_second`.
            describe: the metrics of a step as people read them; None takes `summarize`.
        """
        self._num_steps, self._unit, self._describe = num_steps, unit, describe or summarize
        self._file = self._tensorboard = None
        is_first = jax.process_index() == 0
        if is_first:
            _drop_after(workdir / "metrics.jsonl", start_step)
            self._file = open(workdir / "metrics.jsonl", "a", buffering=1)
            self._tensorboard = _TensorBoard(workdir, later_than=start_step)
        self._bar = tqdm.tqdm(
            total=num_steps,
            initial=start_step,
            desc="training",
            unit="step",
            bar_format="{desc} {n_fmt}/{total_fmt} |{bar:24}| {elapsed}{postfix}",
            disable=not (is_first and sys.stderr.isatty()),
        )

    def advance(self) -> None:
        """Counts one step on the progress bar."""
        self._bar.update()

    def write(
        self, step: int, split: str, metrics: Mapping[str, float], seconds_left: float | None = None
    ) -> None:
        """Records the metrics of a step.

        Args:
            split: "train" or "valid".
            seconds_left: the estimate that people see.
        """
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, "split": split, **metrics}) + "\n")
        self._tensorboard.write(
            step, [summary.scalar(f"{split}/{name}", value) for name, value in metrics.items()]
        )
        left = "" if seconds_left is None else f", {duration(seconds_left)} left"
        if split == "train" and not self._bar.disable:
            rate = metrics[f"{self._unit}_per_second"]
            self._bar.set_postfix_str(f"loss {metrics['loss']:.5g}, {rate:.3g} {self._unit}/s{left}")
        else:
            say(f"{split} step {step}/{self._num_steps}: {self._describe(metrics)}{left}")

    def close(self) -> None:
        """Ends the bar and closes the files."""
        with contextlib.ExitStack() as stack:  # closes all, even where one cannot write its last bytes
            for part in (self._bar, self._file, self._tensorboard):
                if part is not None:
                    stack.callback(part.close)


def summarize(metrics: Mapping[str, float]) -> str:
    """The metrics as people read them, on one line; losses and KL in nats per clip, each slot's KL per frame.

    What a model does not have is left out.
    """

    def tell(**shown: str) -> list[str]:
        return [text.format(metrics[name]) for name, text in shown.items() if name in metrics]

    terms = tell(reconstruction="reconstruction {:.5g}", prediction="prediction {:.5g}", kl="kl {:.5g}")
    errors = tell(mse="mse {:.3g}", mse_predicted="predicted {:.3g}", mse_copy_last="copied {:.3g}")
    parts = [
        f"loss {metrics['loss']:.5g} nats" + (f" ({', '.join(terms)})" if terms else ""),
        ", ".join(errors),
    ]
    parts += tell(mask_entropy="mask entropy {:.3f}", slot_usage="{:.2g} slots used")
    slot_kl = [metrics[name] for name in sorted(metrics) if name.startswith("slot_kl_")]
    if slot_kl:
        parts.append(f"KL of each {'/'.join(f'{kl:.3g}' for kl in slot_kl)}")
    if "gradient_norm" in metrics:
        parts.append(f"gradient norm {metrics['gradient_norm']:.3g}")
    if "images_per_second" in metrics:
        waiting = f"{metrics['data_wait_share']:.0%} waiting for data"
        parts.append(f"{metrics['images_per_second']:.3g} images/s, {waiting}")
    return ", ".join(filter(None, parts))


def write_pictures(workdir: pathlib.Path, step: int, paths: Sequence[pathlib.Path]) -> None:
    """Shows pictures in TensorBoard, by the names of their files."""
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            pictures.append(summary.image(path.stem, np.asarray(picture), dataformats="HWC"))
    # A suffix, because writers opened within a second would write to one file.
    with contextlib.closing(_TensorBoard(workdir, suffix=f".figures_{step}")) as tensorboard:
        tensorboard.write(step, pictures)


class _TensorBoard:
    """An event file, written by the calling thread: on a full disk that is where the error belongs.

    tensorboardX's own SummaryWriter writes in a thread of its own, whose error nobody can catch.
    """

    def __init__(self, workdir: pathlib.Path, *, suffix: str = "", later_than: int | None = None):
        """Opens a file; events of steps after `later_than` in older files are no longer shown."""
        folder = workdir / "tensorboard"
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}{suffix}"
        self._records = RecordWriter(str(folder / name))
        self._write(file_version="brain.Event:2")
        if later_than is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step=later_than + 1, session_log=start)

    def write(self, step: int, summaries: Iterable[Any]) -> None:
        """Writes the summaries of a step."""
        for entry in summaries:
            self._write(step=step, summary=entry)
        self._records.flush()

    def _write(self, **fields: Any) -> None:
        self._records.write(event_pb2.Event(wall_time=time.time(), **fields).SerializeToString())

    def close(self) -> None:
        """Closes the file."""
        self._records.close()


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, each with its step and split; none where there is no such file.

    What cannot be read is left out: a last line that was cut short when the run was killed, or is just being written.
    """
    if not path.is_file():
        return []
    return [row for line in path.read_bytes().splitlines() if (row := _read_row(line)) is not None]


def _read_row(line: str | bytes) -> dict[str, Any] | None:
    try:
        row = parse_record(line, constant=float)
    except ValueError:
        return None
    numbers = [value for name, value in row.items() if name != "split"]
    known = type(row.get("step")) is int and type(row.get("split")) is str
    return row if known and all(type(value) in (int, float) for value in numbers) else None


def _drop_after(path: pathlib.Path, step: int) -> None:
    """Drops the lines about later steps, and a last line that was cut short, so that no step is told twice."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines():
        row = _read_row(line)
        if row is None:
            break  # cut short when the run was killed
        if row["step"] <= step:
            kept.append(line + b"\n")
    with whole_file(path) as partial:
        partial.write_bytes(b"".join(kept))


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes, as people read them."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
