"""What the library says of arrays that it cannot take: one line, wherever they are seen first.

Shapes and types are always checked. Values are checked where there are some: under `jit`, `vmap` and `grad` an array
has none yet, and what is out of range is then taken as each docstring says.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROUNDING = 1e-3  # by so much pixels may leave [0, 1], and sums of masks miss 1
MOST_LABELS = 4096  # every frame has a table of all pairs of them, here of 64 MiB
MOST_PREDICTED = 10_000  # frames, all of which are held in memory; our choice, published work predicts 100
PRECISIONS = (
    "float32",
    "float64",
)  # of pixels and latents; a model's `compute_dtype` says in what it computes


def describe(array: Any) -> str:
    """Type and shape, as messages give them: `float32[2 5 64 64 3]`."""
    return f"{array.dtype}[{' '.join(map(str, array.shape))}]"


def as_array(array: Any, name: str, axes: str) -> Any:
    """The same array, of NumPy or JAX, for JAX.

    Args:
      array: anything.
      name: what messages call it.
      axes: what it should be, for messages: "[b t h w 3]".

    Raises:
      ValueError: it is no array, it is empty, or its bytes are in another order than this machine's.
    """
    if not (hasattr(array, "shape") and hasattr(array, "dtype") and hasattr(array, "ndim")):
        raise ValueError(f"{name} is a {type(array).__name__}, not an array {axes}")
    if not isinstance(array, (np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)):
        raise ValueError(
            f"{name} is a {type(array).__name__}, not an array of NumPy or JAX: take np.asarray(...)"
        )
    if 0 in array.shape:
        raise ValueError(f"{name} is {describe(array)}, which is empty; {axes} is wanted")
    if not getattr(array.dtype, "isnative", True):
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def check_precision(array: Any, name: str, hint: str = "") -> None:
    """Raises ValueError unless the numbers are float32 or float64."""
    if str(array.dtype) not in PRECISIONS:
        raise ValueError(f"{name} is {describe(array)}, {' or '.join(PRECISIONS)} is wanted{hint}")


def known_values(array: Any) -> np.ndarray | None:
    """The values of an array, or None where there are none yet or not all on this machine."""
    if isinstance(array, jax.core.Tracer) or not isinstance(array, (np.ndarray, np.generic, jax.Array)):
        return None
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return None
    return np.asarray(array)


def check_pixels(frames: Any, size: tuple[int, int], *, name: str = "video", fewest_axes: int = 3) -> Any:
    """Checks frames [*b h w 3] of a height and width, and returns them for JAX.

    Args:
      frames: pixels in [0, 1].
      size: height and width.
      name: what messages call them.
      fewest_axes: of the array.

    Raises:
      ValueError: they are something else; says in one line what is wrong and what is wanted.
    """
    height, width = size
    lead = {3: "*b ", 4: "*b t ", 5: "b t "}[fewest_axes]
    axes = f"[{lead}{height} {width} 3]"
    frames = as_array(frames, name, axes)
    divide = "; divide pixels of 0 to 255 by 255" if jnp.issubdtype(frames.dtype, jnp.integer) else ""
    check_precision(frames, name, f", with pixels in [0, 1]{divide}")
    if frames.ndim < fewest_axes or frames.shape[-1] != 3 or (fewest_axes == 5 and frames.ndim != 5):
        hint = ""
        if frames.ndim >= 3 and frames.shape[-1] == 4:
            hint = ": leave the fourth channel out"
        elif frames.ndim >= 3 and frames.shape[-3] == 3:
            hint = ": colours are the last axis"
        elif frames.ndim == 4 and fewest_axes == 5:
            hint = ": a single clip is video[None]"
        raise ValueError(f"{name} is {describe(frames)}, {axes} is wanted{hint}")
    if frames.shape[-3:-1] != size:
        shown = "x".join(map(str, frames.shape[-3:-1]))
        raise ValueError(f"frames are {shown} (height x width), the model's are {height}x{width}")
    check_range(frames, name)
    return frames if isinstance(frames, jax.core.Tracer) else jnp.asarray(frames)


def check_range(frames: Any, name: str) -> None:
    """Raises ValueError where values are known and do not lie in [0, 1], up to rounding."""
    values = known_values(frames)
    if values is None:
        return
    low, high = values.min(), values.max()  # both NaN where one value is
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError(f"{name} holds pixels that are NaN or infinite")
    if low < -ROUNDING or high > 1 + ROUNDING:
        hint = ": divide them by 255" if low >= 0 and high <= 255 else ""
        raise ValueError(f"{name} has pixels from {low:.6g} to {high:.6g}, they must lie in [0, 1]{hint}")


def check_same_frames(prediction: Any, target: Any) -> tuple[Any, Any]:
    """Checks two arrays [*b h w c] that are compared pixel by pixel, and returns them.

    Raises:
      ValueError: they are no floating-point frames, or not of the same shape.
    """
    arrays = []
    for name, array in (("prediction", prediction), ("target", target)):
        array = as_array(array, name, "[*b h w c]")
        check_precision(array, name, ", with pixels in [0, 1]")
        arrays.append(array)
    if prediction.shape != target.shape or prediction.ndim < 3:
        shapes = f"prediction is {describe(prediction)}, target {describe(target)}"
        raise ValueError(f"{shapes}: both must be [*b h w c], of the same shape")
    return tuple(arrays)


def check_labels(arrays: dict[str, Any], num_labels: int) -> None:
    """Checks label images [*b h w] that are compared pixel by pixel.

    Args:
      arrays: by name.
      num_labels: they hold 0 to num_labels - 1.

    Raises:
      ValueError: they hold no integers, differ in shape, or, where values are known, hold other labels.
    """
    if not isinstance(num_labels, (int, np.integer)) or isinstance(num_labels, bool) or num_labels < 1:
        raise ValueError(f"num_labels={num_labels!r} must be an integer of at least 1")
    if num_labels > MOST_LABELS:
        raise ValueError(f"num_labels={num_labels} must be at most {MOST_LABELS}")
    for name, labels in arrays.items():
        as_array(labels, name, "[*b h w]")
        if not jnp.issubdtype(labels.dtype, jnp.integer):
            raise ValueError(f"{name} is {describe(labels)}, integer labels are wanted")
        values = known_values(labels)
        if values is not None and (values.min() < 0 or values.max() >= num_labels):
            reach = f"{values.min()} to {values.max()}"
            raise ValueError(
                f"{name} has labels {reach}, num_labels={num_labels} allows 0 to {num_labels - 1}"
            )
    shapes = [labels.shape for labels in arrays.values()]
    if len(set(shapes)) > 1 or len(shapes[0]) < 2:
        shown = ", ".join(f"{name} is {describe(labels)}" for name, labels in arrays.items())
        raise ValueError(f"{shown}: both must be [*b h w], of the same shape")


def check_masks(slot_masks: Any) -> None:
    """Checks masks [*b k h w 1] that share each pixel among slots.

    Raises:
      ValueError: they have another shape or type, or, where values are known, are not shares that sum to 1.
    """
    as_array(slot_masks, "slot_masks", "[*b k h w 1]")
    check_precision(slot_masks, "slot_masks")
    if slot_masks.ndim < 4 or slot_masks.shape[-1] != 1:
        raise ValueError(f"slot_masks is {describe(slot_masks)}, [*b k h w 1] is wanted")
    values = known_values(slot_masks)
    if values is None:
        return
    # Written so that NaN fails.
    if not (values.min() >= -ROUNDING and np.abs(values.sum(-4) - 1).max() <= ROUNDING):
        raise ValueError("slot_masks must be at least 0 and sum to 1 over the slots (axis -4)")


def check_horizon(num_predicted: int, num_observed: int | None = None, num_frames: int | None = None) -> None:
    """Raises ValueError unless frames can be predicted: 1 to `MOST_PREDICTED`, and from frames that a clip has."""
    if not isinstance(num_predicted, (int, np.integer)) or not 1 <= num_predicted <= MOST_PREDICTED:
        raise ValueError(
            f"{num_predicted!r} frames cannot be predicted: at least 1, at most {MOST_PREDICTED}"
        )
    if num_observed is not None and not 1 <= num_observed <= num_frames:
        raise ValueError(f"{num_observed} frames cannot be observed: the clips have {num_frames}")


def check_latents(latents: Any, sizes: Sequence[int | None], name: str = "latents") -> None:
    """Checks arrays whose last axes have given sizes; None is any.

    Raises:
      ValueError: they have another shape or type.
    """
    axes = f"[*b {' '.join('k' if size is None else str(size) for size in sizes)}]"
    as_array(latents, name, axes)
    check_precision(latents, name)
    last = latents.shape[-len(sizes) :]
    if len(last) < len(sizes) or any(size not in (None, given) for size, given in zip(sizes, last)):
        raise ValueError(f"{name} is {describe(latents)}, {axes} is wanted")
