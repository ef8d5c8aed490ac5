"""How pictures are drawn: slot colours, rows of frames, animations, charts. Every picture is a Pillow image."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import oddn_jax
from data_pipelines.whole_files import whole_file

# Source: Okabe and Ito, Color Universal Design; told apart by colour-blind readers. Slots beyond these repeat, darker.
PALETTE = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
        (0, 0, 0),
    ],
    np.uint8,
)
MARKERS = "osD^vPX*"  # of lines in charts: never colour alone
LABEL_WIDTH, HEADER_HEIGHT, GAP = 128, 22, 4  # pixels
TILE_HEIGHT = 96  # pixels, about; small images are enlarged by whole pixels
PANEL_HEIGHT = 192  # pixels, about; of the frames of an animation
THUMBNAIL = 96  # pixels, height of the pictures in a diagram
FONT_SIZE = 13  # pixels
MARK = (200, 0, 0)  # of what a picture points out


class Row(NamedTuple):
    """One line of a picture of frames."""

    label: str
    frames: Sequence  # f32[h w 3] in [0, 1], or None where there is nothing to show
    color: tuple[int, int, int] | None = None  # of a patch beside the label


def slot_color(slot: int) -> tuple[int, int, int]:
    """The colour of a slot in every picture, as 8-bit RGB."""
    shade = 0.5 ** (slot // len(PALETTE))
    return tuple(int(shade * value) for value in PALETTE[slot % len(PALETTE)])


def color_segmentation(slot_masks: np.ndarray) -> np.ndarray:
    """The slot that explains each pixel best, as a colour: f32[t k h w 1] to f32[t h w 3]."""
    slot = slot_masks[..., 0].argmax(1)
    shade = 0.5 ** (slot // len(PALETTE))
    return PALETTE[slot % len(PALETTE)] / 255 * shade[..., None]


def cut_out(decoded: oddn_jax.Decoded, slot: int) -> np.ndarray:
    """What one slot draws where its mask lets it, on white: f32[t h w 3]."""
    mask = decoded.slot_masks[:, slot]
    return mask * decoded.slot_rgb[:, slot] + (1 - mask)


def slot_rows(decoded: oddn_jax.Decoded) -> list[Row]:
    """A row for each slot of a clip: what it draws."""
    slots = range(decoded.slot_masks.shape[1])
    return [Row(f"slot {slot + 1}", cut_out(decoded, slot), slot_color(slot)) for slot in slots]


def prediction_rows(video: np.ndarray, predicted: oddn_jax.Decoded, label: str) -> list[Row]:
    """Predicted frames, which end where the video f32[t h w 3] does: their segmentation, if any, and their error."""
    observed = len(video) - len(predicted.reconstruction)
    before = [None] * observed
    rows = [Row(label, [*before, *predicted.reconstruction])]
    if predicted.slot_masks is not None:
        rows.append(Row("its segmentation", [*before, *color_segmentation(predicted.slot_masks)]))
    error = np.clip(4 * np.abs(predicted.reconstruction - video[observed:]), 0, 1)
    return [*rows, Row("its error x 4", [*before, *error])]


def to_image(frame: np.ndarray, height: int) -> Image.Image:
    """A frame f32[h w 3] in [0, 1], enlarged by whole pixels to about a height."""
    scale = max(1, round(height / frame.shape[0]))
    pixels = np.round(np.clip(frame, 0, 1) * 255).astype(np.uint8)
    size = (frame.shape[1] * scale, frame.shape[0] * scale)
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)


def draw_rows(rows: Sequence[Row], headers: Sequence[str], marked: Collection[int] = ()) -> Image.Image:
    """Draws rows of frames, as many columns as there are headers; the marked columns' headers are red."""
    tiles = [
        [None if frame is None else to_image(frame, TILE_HEIGHT) for frame in row.frames] for row in rows
    ]
    width, height = next(tile.size for line in tiles for tile in line if tile is not None)
    canvas_size = (LABEL_WIDTH + len(headers) * (width + GAP), HEADER_HEIGHT + len(rows) * (height + GAP))
    canvas = Image.new("RGB", canvas_size, "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=FONT_SIZE)
    for column, header in enumerate(headers):
        left = LABEL_WIDTH + column * (width + GAP)
        pen.text((left, 3), header, MARK if column in marked else "black", font)
    for line, row in enumerate(rows):
        top = HEADER_HEIGHT + line * (height + GAP)
        middle = top + height // 2
        if row.color is not None:
            pen.rectangle((LABEL_WIDTH - 24, middle - 6, LABEL_WIDTH - 12, middle + 6), row.color, "black")
        pen.text((4, middle - 8), row.label, "black", font)
        for column, tile in enumerate(tiles[line]):
            if tile is not None:
                canvas.paste(tile, (LABEL_WIDTH + column * (width + GAP), top))
    return canvas


def draw_panels(
    panels: Mapping[str, np.ndarray | None],
    title: str,
    colors: Mapping[str, tuple[int, int, int]] = MappingProxyType({}),
) -> Image.Image:
    """Draws one frame of an animation: pictures f32[h w 3] side by side, each under its name; None is left white.

    Args:
        colors: of patches beside names.
    """
    images = [None if frame is None else to_image(frame, PANEL_HEIGHT) for frame in panels.values()]
    width, height = next(image.size for image in images if image is not None)
    canvas = Image.new("RGB", (len(images) * (width + GAP) + GAP, height + 2 * HEADER_HEIGHT + GAP), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=FONT_SIZE)
    pen.text((GAP, 3), title, "black", font)
    for column, (name, image) in enumerate(zip(panels, images)):
        left, top = GAP + column * (width + GAP), HEADER_HEIGHT + 2
        pen.text((left, top), name, "black", font)
        if name in colors:
            right = left + pen.textlength(name, font) + 8
            pen.rectangle((right, top + 2, right + 12, top + 14), colors[name], "black")
        if image is not None:
            canvas.paste(image, (left, 2 * HEADER_HEIGHT))
    return canvas


def save_png(image: Image.Image, path: pathlib.Path) -> pathlib.Path:
    """Writes a picture, whole or not at all, and returns its path."""
    with whole_file(path) as partial:
        image.save(partial, format="PNG", optimize=True)
    return path


def few_colors(chart: Image.Image) -> Image.Image:
    """A chart in 255 colours, which look the same: a third of the bytes in a file.

    The method keeps rare colours apart; the usual one made two systems' lines the same orange.
    """
    return chart.quantize(255, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def save_gif(frames: Sequence[Image.Image], path: pathlib.Path, milliseconds: int = 400) -> pathlib.Path:
    """Writes an endless animation that rests on its last frame, whole or not at all, and returns its path."""
    durations = [milliseconds] * (len(frames) - 1) + [3 * milliseconds]
    with whole_file(path) as partial:
        frames[0].save(
            partial, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )
    return path


def new_figure(width: float, height: float):
    """An empty Matplotlib figure, sizes in pixels, apart from all global state."""
    from matplotlib.figure import Figure  # half a second, and training draws no charts

    return Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")


def render(figure) -> Image.Image:
    """The picture of a Matplotlib figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def plot_line(axes, x: Sequence[float], y: Sequence[float], color: int, label: str, **style) -> None:
    """Adds a line in a slot's colour and marker, outlined so that light colours stay visible on white."""
    style = {"linewidth": 1.8, "marker": MARKERS[color % len(MARKERS)], **style}
    axes.plot(x, y, color="0.2", linewidth=style["linewidth"] + 1.2)
    axes.plot(
        x,
        y,
        color=np.array(slot_color(color)) / 255,
        markeredgecolor="0.2",
        markeredgewidth=0.8,
        label=label,
        **style,
    )


def label_axes(axes, x: str, y: str, title: str = "") -> None:
    """Names the axes with their units, and draws a light grid."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def stack(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below the other."""
    canvas = Image.new(
        "RGB", (max(image.width for image in images), sum(image.height for image in images)), "white"
    )
    top = 0
    for image in images:
        canvas.paste(image, (0, top))
        top += image.height
    return canvas


def pixel_axes(width: int, height: int):
    """Axes over a whole new figure, whose coordinates are pixels from the upper left corner."""
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return axes


def paste(
    axes, frame: np.ndarray, left: float, top: float, color: tuple[int, int, int] | None = None
) -> None:
    """Draws a frame THUMBNAIL pixels high, framed in a colour."""
    width = THUMBNAIL * frame.shape[1] / frame.shape[0]
    right, bottom = left + width, top + THUMBNAIL
    axes.imshow(
        np.clip(frame, 0, 1), extent=(left, right, bottom, top), interpolation="nearest", aspect="auto"
    )
    edge = "0.6" if color is None else np.array(color) / 255
    axes.plot(
        [left, right, right, left, left],
        [top, top, bottom, bottom, top],
        color=edge,
        lw=1 if color is None else 3,
    )
