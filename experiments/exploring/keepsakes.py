"""What a person takes away from the page: a picture, an animation, arrays, and Python lines that make them again."""

import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

import oddn_jax
from experiments.exploring import changes
from experiments.exploring.changes import Change, to_record
from experiments.exploring.clips import Clip
from experiments.exploring.counterfactual import Reality
from experiments.exploring.imagination import Imagined
from experiments.pictures.drawing import Row, color_segmentation, draw_panels, draw_rows, slot_rows

MOST_COLUMNS = 10
MILLISECONDS = 160  # CLEVRER's every fourth frame, of 25 a second


def picture(clip: Clip, future: oddn_jax.Decoded, frame: int, reality: Reality | None) -> bytes:
    """A PNG of the changed frame and some after it: clip, model, what really happens, segmentation, slots."""
    count = len(future.reconstruction)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_COLUMNS)).round().astype(int))
    rows = [Row("clip", [_of_clip(clip, frame + step) for step in chosen])]
    rows.append(Row("model", future.reconstruction[chosen]))
    if reality is not None:
        rows.append(Row("really", reality.video[chosen] / np.float32(255)))
    if future.slot_masks is not None:
        rows.append(Row("segmentation", color_segmentation(future.slot_masks[chosen])))
    if future.slot_rgb is not None:
        rows += slot_rows(oddn_jax.Decoded(*(None if x is None else x[chosen] for x in future)))
    headers = [f"t = {frame + 1}, changed" if step == 0 else f"+{step}" for step in chosen]
    return _saved(draw_rows(rows, headers, marked=[0]), "PNG", optimize=True)


def animation(clip: Clip, future: oddn_jax.Decoded, frame: int, reality: Reality | None) -> bytes:
    """A GIF of the changed frame and all after it."""
    frames = []
    for step, pixels in enumerate(future.reconstruction):
        panels = {"clip": _of_clip(clip, frame + step), "model": pixels}
        if future.slot_masks is not None:
            panels["segmentation"] = color_segmentation(future.slot_masks[step : step + 1])[0]
        if reality is not None:
            panels["really"] = reality.video[step] / np.float32(255)
        title = (
            f"t = {frame + 1}, as it was changed" if step == 0 else f"predicted, {step} after t = {frame + 1}"
        )
        frames.append(draw_panels(panels, title))
    rest = dict(save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0)
    return _saved(frames[0], "GIF", **rest)


def arrays(
    clip: Clip, latents: np.ndarray | None, imagined: Imagined, change: Change, reality: Reality | None
) -> bytes:
    """An .npz of the clip, its slots, and what was predicted; docs/explore.md lists the arrays."""
    found = {
        "video": clip.video,
        "latents": latents,
        "frame": np.array(change.frame),
        "slots": np.array(imagined.start.slots),
        "changed_latents": imagined.start.latents,
        "changed_dynamics": imagined.start.dynamics,
        "predicted_latents": imagined.rollout.latents,
        "predicted_dynamics": imagined.rollout.dynamics,
        "predicted_frames": imagined.rollout.decoded.reconstruction,
        "predicted_slot_masks": imagined.rollout.decoded.slot_masks[..., 0],
        "change": np.array(json.dumps(to_record(change))),
    }
    if reality is not None:
        found["real_frames"] = reality.video[1:]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **found)
    return buffer.getvalue()


def lines(model_name: str, num_slots: int, change: Change, imagined: Imagined, latents: np.ndarray) -> str:
    """Python lines that do the same with the library alone, from the clip's latents in explored.npz.

    Pushes and moves stand there as what they came to, the numbers of the model.

    Args:
        model_name: of `oddn_jax.load`, or a run folder.
        num_slots: of the clip.
        latents: f32[t k l] of the clip.
    """
    opened = (
        f"from experiments.runs.trained import open_named\n\nfound = open_named({model_name!r})\n"
        "model, params = found.model, found.params"
        if pathlib.Path(model_name).is_dir()
        else f"model, params = oddn_jax.load({model_name!r})"
    )
    start = imagined.start
    copies = [edit.slot for edit in change.edits if isinstance(edit, changes.Double)]
    source = [*range(num_slots), *copies]
    text = [
        '"""Made by experiments.explore: the same prediction again, from explored.npz of the same page."""',
        "",
        *(["import dataclasses"] if len(start.slots) != num_slots or not change.relation else []),
        "from functools import partial",
        "",
        "import jax",
        "import numpy as np",
        "",
        "import oddn_jax",
        "",
        opened,
        'explored = np.load("explored.npz")',
        f'latents = explored["latents"][{change.frame - 1}:{change.frame + 1}]  # of the two frames before the future',
        f"slots = {[_original(slot, source, num_slots) for slot in start.slots]}  # that are left, and copies",
        "latents = latents[:, slots]",
    ]
    kept = [_original(slot, source, num_slots) for slot in start.slots]
    plain = latents[change.frame - 1 : change.frame + 1][:, kept]
    for row, slot in enumerate(start.slots):
        if not np.array_equal(plain[:, row], start.latents[:, row]):
            text.append(f"latents[:, {row}] = {_literal(start.latents[:, row])}  # slot {slot + 1}, changed")
    options = [] if len(kept) == num_slots else [f"num_slots={len(kept)}"]  # of which no parameter tells
    options += [] if change.relation else ["use_relation=False"]
    if options:
        text.append(f"model = type(model)(dataclasses.replace(model.config, {', '.join(options)}))")
    text += [
        "apply = partial(model.apply, model.to_variables(params))",
        "options = oddn_jax.compiler_options()",
        'distil = jax.jit(partial(apply, method="distill"), compiler_options=options)',
        "dynamics = np.array(distil(latents).dynamics[0])",
    ]
    if any(
        isinstance(edit, changes.Push | changes.Turn | changes.Follow | changes.Swap) for edit in change.edits
    ):
        for row, slot in enumerate(start.slots):
            text.append(f"dynamics[{row}] = {_literal(start.dynamics[row])}  # slot {slot + 1}")
    text += [
        f'rollout = partial(apply, num_steps={change.num_steps}, method="rollout")',
        "roll = jax.jit(lambda latents, dynamics: rollout(latents, dynamics=dynamics), compiler_options=options)",
        "future = roll(latents, dynamics)",
        "predicted_frames = np.asarray(future.decoded.reconstruction)  # [s h w 3] in [0, 1]",
        "predicted_latents = np.asarray(future.latents)  # [s k l]",
    ]
    return "\n".join(text) + "\n"


def _original(slot: int, source: Sequence[int], num_slots: int) -> int:
    """The slot of the clip that a slot, or a copy of a copy, was made of."""
    while slot >= num_slots:
        slot = source[slot]
    return slot


def _literal(values: np.ndarray) -> str:
    """Values f32 as a list that reads back to the same bits."""
    return repr([float(x) for x in values]) if values.ndim == 1 else f"[{', '.join(map(_literal, values))}]"


def _of_clip(clip: Clip, frame: int) -> Any:
    return clip.video[frame] / np.float32(255) if frame < len(clip.video) else None


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()
