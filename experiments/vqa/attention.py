"""The picture of what a reasoner attended to: frames of the video, and on them the slots that an answer came from."""

import pathlib

import jax
import numpy as np

from data_pipelines.video import Footage
from experiments.pictures import analysis
from experiments.pictures.drawing import Row, color_segmentation, draw_rows, save_png
from experiments.runs.trained import Trained
from experiments.vqa.asking import Reply, Watched

DARK = 0.15  # of what is not attended to


def draw_attention(
    found: Trained, footage: Footage, watched: Watched, replies: list[Reply], path: pathlib.Path
) -> pathlib.Path:
    """A row of the frames that were read, a row of their slots, and one for each answer, in which a pixel is as light
    as its slot was attended to, measured by the most attended slot of all frames.

    Source: our choice, after Ding et al. (2021), who look at the attention of the answer's token on slots.
    """
    video = footage.video[watched.frames] / np.float32(255)
    decoded = analysis.apply(found.model, found.params, watched.latents, method="decode")
    masks = np.asarray(jax.device_get(decoded.slot_masks))
    rows = [Row("video", list(video)), Row("slots", list(color_segmentation(masks)))]
    for number, reply in enumerate(replies, 1):
        weight = reply.attention / reply.attention.max()
        light = DARK + (1 - DARK) * np.einsum("tk,tkhwc->thwc", weight, masks)
        rows.append(Row(f"question {number}", list(video * light)))
    headers = [f"frame {footage.source_frame[place]}" for place in watched.frames]
    return save_png(draw_rows(rows, headers), path)
