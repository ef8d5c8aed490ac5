"""The paper's figures, one function each: from arrays to a picture, or to the frames of an animation."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

import oddn_jax
from experiments.pictures.analysis import Observation, Traversal
from experiments.pictures.drawing import (
    GAP,
    LABEL_WIDTH,
    MARK,
    THUMBNAIL,
    Row,
    color_segmentation,
    cut_out,
    draw_panels,
    draw_rows,
    label_axes,
    new_figure,
    paste,
    pixel_axes,
    plot_line,
    prediction_rows,
    render,
    slot_color,
    slot_rows,
    stack,
)

MARK_COLOR = np.array(MARK) / 255


def prediction_strip(video: np.ndarray, future: oddn_jax.Decoded) -> Image.Image:
    """Predicted frames under the truth f32[t h w 3], of which the first ones were observed (paper Figures 3 and 8)."""
    observed = len(video) - len(future.reconstruction)
    rows = [Row("truth", video), *prediction_rows(video, future, "predicted")]
    headers = [f"t = {t + 1}" + (" (seen)" if t < observed else "") for t in range(len(video))]
    return draw_rows(rows, headers)


def prediction_frames(video: np.ndarray, future: oddn_jax.Decoded) -> list[Image.Image]:
    """The same as an animation."""
    observed = len(video) - len(future.reconstruction)
    pictures = {"predicted": future.reconstruction}
    if future.slot_masks is not None:
        pictures["its segmentation"] = color_segmentation(future.slot_masks)
    frames = []
    for t, truth in enumerate(video):
        step, title = t - observed, f"t = {t + 1} of {len(video)}, "
        panels = {name: rows[step] if step >= 0 else None for name, rows in pictures.items()}
        title += "seen by the model" if step < 0 else "predicted"
        frames.append(draw_panels({"truth": truth, **panels}, title))
    return frames


def decomposition_strip(
    video: np.ndarray, decoded: oddn_jax.Decoded, truth: np.ndarray | None
) -> Image.Image:
    """Reconstructions, segmentations, masks and slots of a clip (paper Figures 4 to 6).

    Args:
        truth: u8[t h w], the true segmentation, where it is known.
    """
    rows = [Row("input", video)]
    if decoded.reconstruction is not None:
        rows.append(Row("reconstruction", decoded.reconstruction))
    if truth is not None:
        rows.append(Row("true segmentation", np.array([slot_color(n) for n in range(256)])[truth] / 255))
    if decoded.slot_masks is not None:
        rows.append(Row("segmentation", color_segmentation(decoded.slot_masks)))
        masks = np.broadcast_to(decoded.slot_masks, decoded.slot_rgb.shape)
        for slot, row in enumerate(slot_rows(decoded)):
            rows += [Row(f"mask {slot + 1}", masks[:, slot], row.color), row]
    return draw_rows(rows, [f"t = {t + 1}" for t in range(len(video))])


def decomposition_frames(video: np.ndarray, decoded: oddn_jax.Decoded) -> list[Image.Image]:
    """The same as an animation, without the masks."""
    panels, rows = {"input": video}, []
    if decoded.reconstruction is not None:
        panels["reconstruction"] = decoded.reconstruction
    if decoded.slot_masks is not None:
        panels["segmentation"], rows = color_segmentation(decoded.slot_masks), slot_rows(decoded)
    panels |= {row.label: row.frames for row in rows}
    colors = {row.label: row.color for row in rows}
    return [
        draw_panels(
            {name: frames[t] for name, frames in panels.items()}, f"t = {t + 1} of {len(video)}", colors
        )
        for t in range(len(video))
    ]


def error_chart(errors: dict[str, tuple[Sequence[float], Sequence[float]]]) -> Image.Image:
    """The error of each predicted frame (paper Figure 7).

    Args:
        errors: by name, the mean squared error of each step and its standard error.
    """
    figure = new_figure(720, 400)
    axes = figure.add_subplot()
    for line, (name, (mean, spread)) in enumerate(errors.items()):
        steps, mean, spread = np.arange(1, len(mean) + 1), np.asarray(mean), np.asarray(spread)
        color = (5, 4, 2, 6)[line % 4]
        plot_line(axes, steps, mean, color, name)
        axes.fill_between(
            steps, mean - spread, mean + spread, color=np.array(slot_color(color)) / 255, alpha=0.25
        )
    axes.set_xticks(steps)
    axes.set_ylim(0)
    label_axes(
        axes,
        "predicted frame",
        "mean squared error (pixels in [0, 1])",
        "Error per predicted frame, ± 1 standard error",
    )
    axes.legend(frameon=False)
    return render(figure)


def relation_chart(
    video: np.ndarray, observation: Observation, pair: tuple[int, int], collision_frame: int | None
) -> Image.Image:
    """The attention that all slots have on each of two, over the frames of their collision (paper Figure 9).

    Args:
        observation: of one clip, its slots aligned.
        pair: the two slots.
        collision_frame: where the touch first shows, marked.
    """
    num_frames, num_slots = observation.latents.shape[:2]
    rows = [
        Row("input", video),
        Row("segmentation", color_segmentation(observation.decoded.slot_masks)),
        *(slot_rows(observation.decoded)[slot] for slot in pair),
    ]
    marked = () if collision_frame is None else (collision_frame,)
    headers = [f"t = {t + 1}" + (" touch" if t in marked else "") for t in range(num_frames)]
    strip = draw_rows(rows, headers, marked)
    width, height = strip.width, 260
    charts = []
    for receiver in pair:
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        # As wide as the frames above, so that each point stands under its frame.
        axes = figure.add_axes((LABEL_WIDTH / width, 0.19, 1 - (LABEL_WIDTH + GAP) / width, 0.58))
        for sender in range(num_slots):
            if sender != receiver:
                attention = observation.interaction.pair_attention[:, receiver, sender]
                other = sender not in pair
                plot_line(
                    axes,
                    range(2, num_frames + 1),
                    attention,
                    sender,
                    f"from slot {sender + 1}" + ("" if other else " (the other one)"),
                    linewidth=1.2 if other else 2.6,
                )
        for frame in marked:
            axes.axvline(frame + 1, color=MARK_COLOR, linestyle="--", linewidth=1.5)
        axes.set_xlim(0.5, num_frames + 0.5)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xticks(range(1, num_frames + 1))
        label_axes(axes, "frame t", "attention")
        figure.text(LABEL_WIDTH / width, 0.93, f"Attention on slot {receiver + 1}", fontsize=11)
        axes.legend(ncols=num_slots, loc="lower left", bbox_to_anchor=(0, 0.98), borderpad=0, frameon=False)
        charts.append(render(figure))
    return stack([strip, *charts])


def relation_frames(
    video: np.ndarray,
    decoded: oddn_jax.Decoded,
    pair: tuple[int, int],
    series: np.ndarray,
    collision_frame: int | None,
) -> list[Image.Image]:
    """The same as an animation; `series` f32[t-1] is the pair's attention from the second frame on."""
    segmentation, frames = color_segmentation(decoded.slot_masks), []
    rows = [slot_rows(decoded)[slot] for slot in pair]
    for t, frame in enumerate(video):
        title = f"t = {t + 1}" + (f", attention of the pair {series[t - 1]:.2f}" if t else "")
        panels = {"input": frame, "segmentation": segmentation[t]} | {
            row.label: row.frames[t] for row in rows
        }
        colors = {row.label: row.color for row in rows}
        frames.append(draw_panels(panels, title + (", they touch" if t == collision_frame else ""), colors))
    return frames


def match_chart(video: np.ndarray, observation: Observation, frame: int, slot: int) -> Image.Image:
    """Where the slots of a frame look when their dynamics are distilled (paper Figure 10 a and b).

    Args:
        video: f32[t h w 3].
        frame: the second of the two frames, counted from 0.
        slot: the one whose attention is drawn as lines.
    """
    attention = observation.distillation.match_attention[frame - 1]
    num_slots = len(attention)
    thumbnail = THUMBNAIL * video.shape[2] / video.shape[1]  # its width
    pitch, left = round(thumbnail) + 16, LABEL_WIDTH + round(thumbnail) + 40
    width, height = left + num_slots * pitch + 10, 2 * THUMBNAIL + 150
    axes = pixel_axes(width, height)
    tops = (30, THUMBNAIL + 130)
    for top, t in zip(tops, (frame - 1, frame)):
        axes.text(8, top + THUMBNAIL / 2, f"frame t = {t + 1}", va="center")
        paste(axes, video[t], LABEL_WIDTH - 20, top)
        for k in range(num_slots):
            paste(axes, cut_out(observation.decoded, k)[t], left + k * pitch, top, slot_color(k))
    x = left + slot * pitch + thumbnail / 2
    for k in range(num_slots):
        share, at = attention[slot, k], left + k * pitch + thumbnail / 2
        axes.plot(
            [x, at], [tops[1] - 6, tops[0] + THUMBNAIL + 24], color="0.15", lw=1 + 7 * share, alpha=0.15 + 0.85 * share
        )  # fmt: skip
        axes.text(at, tops[0] + THUMBNAIL + 14, f"{share:.0%}", ha="center", va="center")
        axes.text(at, 14, f"slot {k + 1}", ha="center", va="center")
    figure = new_figure(width, 90 + 34 * num_slots)
    table = figure.add_subplot()
    table.imshow(attention, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for receiver, row in enumerate(attention):
        for k, share in enumerate(row):
            table.text(
                k,
                receiver,
                f"{share:.0%}",
                ha="center",
                va="center",
                color="white" if share > 0.5 else "black",
            )
    columns = [f"{k + 1}, t={t + 1}" for t in (frame - 1, frame) for k in range(num_slots)]
    table.set_xticks(range(2 * num_slots), columns)
    table.set_yticks(range(num_slots), [f"{k + 1}, t={frame + 1}" for k in range(num_slots)])
    table.set_xlabel("slot and frame that it looks at")
    table.set_ylabel("slot that looks")
    return stack([render(axes.figure), render(figure)])


def traversal_chart(traversal: Traversal, slot: int) -> Image.Image:
    """The next frame while one dynamics dimension of a slot varies (paper Figure 10 c), and the velocity it means."""
    num_dimensions, num_values = traversal.values.shape
    height, width = traversal.decoded.reconstruction.shape[-3:-1]
    thumbnail = THUMBNAIL * width / height  # its width
    tile = round(thumbnail) + 12
    left, top, pitch = 112, 34, THUMBNAIL + 28  # pitch: from row to row
    axes = pixel_axes(left + (num_values + 1) * tile + 190, top + num_dimensions * pitch + 6)
    scale = THUMBNAIL / height
    longest = max(float(np.linalg.norm(traversal.velocity, axis=1).max()), 1e-9)
    axes.text(
        left + num_values * tile / 2, 14, f"slot {slot + 1} in the next frame", ha="center", va="center"
    )
    axes.text(left + (num_values + 0.5) * tile, 14, "velocity", ha="center", va="center")
    for d in range(num_dimensions):
        y = top + d * pitch
        axes.text(8, y + THUMBNAIL / 2, f"dimension {d + 1}", va="center")
        for v, value in enumerate(traversal.values[d]):
            x = left + v * tile
            paste(axes, traversal.decoded.reconstruction[d, v], x, y)
            axes.plot(
                *(traversal.centroid[d, v] * scale + scale / 2 + (x, y)), "+", color=MARK_COLOR, ms=9, mew=1.8
            )
            axes.text(
                x + thumbnail / 2,
                y + THUMBNAIL + 9,
                f"{value:+.2f}",
                ha="center",
                va="center",
            )
        center = (left + (num_values + 0.5) * tile, y + THUMBNAIL / 2)
        end = center + traversal.velocity[d] / longest * 0.45 * THUMBNAIL
        style = {"arrowstyle": "-|>", "color": "black", "lw": 2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, center, arrowprops=style)
        x_speed, y_speed = traversal.velocity[d]
        axes.text(
            left + (num_values + 1) * tile + 6,
            y + THUMBNAIL / 2,
            f"x {x_speed:+.3f}\ny {y_speed:+.3f}\npixels per frame\nand unit",
            va="center",
        )
    return render(axes.figure)


def traversal_frames(traversal: Traversal, slot: int) -> list[Image.Image]:
    """The same as an animation: all dimensions side by side, back and forth."""
    num_dimensions, num_values = traversal.values.shape
    sweep = [*range(num_values), *range(num_values - 2, 0, -1)]
    return [
        draw_panels(
            {f"dimension {d + 1}: {traversal.values[d, v]:+.2f}": traversal.decoded.reconstruction[d, v]
             for d in range(num_dimensions)},
            f"the next frame, as one dynamics dimension of slot {slot + 1} varies",
        )
        for v in sweep
    ]  # fmt: skip
