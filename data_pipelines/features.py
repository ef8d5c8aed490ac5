"""The features of every data set of videos, or of scenes without pictures, real or simulated, defined once."""

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.annotations import COLORS, MATERIALS, SHAPES

ENCODING = tfds.features.Encoding


def scene_features() -> tfds.features.FeaturesDict:
    """Features of one scene of t stored frames and n objects that nobody has drawn: what is true of a video.

    "In view" means in CLEVRER's 3:2 picture, as the questions mean it.
    """
    return tfds.features.FeaturesDict(_truth())


def _truth() -> dict[str, tfds.features.FeatureConnector]:
    return {
        "scene_index": tfds.features.Scalar(np.int32),
        "video_filename": tfds.features.Text(),
        "source_stride": tfds.features.Scalar(np.int32),  # stored frame t is source frame t * source_stride
        "objects": tfds.features.Sequence(
            {
                "object_id": tfds.features.Scalar(np.int32),
                "color": tfds.features.ClassLabel(names=COLORS),
                "material": tfds.features.ClassLabel(names=MATERIALS),
                "shape": tfds.features.ClassLabel(names=SHAPES),
            }
        ),
        "location": _tensor((None, None, 3), np.float32),  # t n xyz, world units
        "velocity": _tensor((None, None, 3), np.float32),  # t n xyz, world units per second
        "inside_camera_view": _tensor((None, None), np.bool_),  # t n
        "collisions": tfds.features.Sequence(
            {
                "frame_id": tfds.features.Scalar(np.int32),  # the first stored frame at or after the touch
                "object_ids": tfds.features.Tensor(shape=(2,), dtype=np.int32),
                "location": tfds.features.Tensor(shape=(3,), dtype=np.float32),  # world units
            }
        ),
    }


def video_features(height: int, width: int) -> tfds.features.FeaturesDict:
    """Features of one video of t stored frames and n objects; the test split of CLEVRER has n = 0.

    Arrays that may be empty along two axes are ZLIB: tensorflow-datasets 4.9 cannot read them back otherwise. The
    frames are BYTES because ArrayRecord compresses them already, and without an encoding each byte is stored as a
    64-bit integer.

    Args:
        height: rows of a frame, in pixels.
        width: columns of a frame, in pixels.
    """
    return tfds.features.FeaturesDict(
        {
            **_truth(),
            "video": _tensor((None, height, width, 3), np.uint8, ENCODING.BYTES),
            "segmentation": _tensor((None, height, width), np.uint8),  # 0 background, object_id + 1
            "segmented_frames": _tensor((None,), np.bool_),  # of which the segmentation is known
            "has_segmentation": tfds.features.Scalar(np.bool_),  # of any frame
            # Pixels of the stored picture, x then y; NaN where no projection is published.
            "image_position": _tensor((None, None, 2), np.float32),  # t n xy
            "image_velocity": _tensor((None, None, 2), np.float32),  # t n xy, per stored frame
        }
    )


def tower_features(height: int, width: int) -> tfds.features.FeaturesDict:
    """`video_features` of a tower of blocks, object 0 the lowest, and what becomes of it."""
    return tfds.features.FeaturesDict(
        {
            **video_features(height, width),
            "fall": tfds.features.Scalar(np.bool_),
            "num_blocks": tfds.features.Scalar(np.int32),  # 0 where unknown
        }
    )


def _tensor(shape, dtype, encoding=ENCODING.ZLIB) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=encoding)
