"""Which frames of a video, and in which order its slots, a question answering model sees. Pure functions.

Slots of one video are one array [t k d]; use `jax.vmap` for several.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


def evaluation_frames(slots: Float[Array, "t k d"], num_frames: int, stride: int) -> Float[Array, "n k d"]:
    """Every `stride`-th frame from the first on: 0, 5, ..., 120 of CLEVRER's 128; with stride 0 as `spread_frames`.

    Raises:
      ValueError: the video is too short.
    """
    if not stride:
        return spread_frames(slots, num_frames)
    _check_length(slots.shape[0], num_frames, stride)
    return slots[: (num_frames - 1) * stride + 1 : stride]


def spread_frames(slots: Float[Array, "t k d"], num_frames: int) -> Float[Array, "n k d"]:
    """Frames spread evenly from the first to the last, both of which are among them.

    Source: our choice. Questions ask about the beginning and the end of a video, and every fifth frame of 128 from the
    first on ends at the 121st.

    Raises:
      ValueError: the video is too short.
    """
    return slots[jnp.round(_spread(slots.shape[0], num_frames)).astype(int)]


def training_frames(
    key: PRNGKeyArray, slots: Float[Array, "t k d"], num_frames: int, stride: int
) -> Float[Array, "n k d"]:
    """Every `stride`-th frame from a random one on, such that all fit; with stride 0 those of `spread_frames`, each
    moved at random, by so much that no two meet: few videos are learned by heart less quickly.

    Source: SlotFormer's start in 0..7. ALOE's own sampling is not told; steady gaps keep the dynamics comparable.

    Raises:
      ValueError: the video is too short.
    """
    if not stride:
        places = _spread(slots.shape[0], num_frames)
        most = jnp.maximum((places[-1] / max(num_frames - 1, 1) - 1) / 2, 0)
        places += most * jax.random.uniform(key, places.shape, minval=-1, maxval=1)
        return slots[jnp.clip(jnp.round(places), 0, slots.shape[0] - 1).astype(int)]
    last_start = _check_length(slots.shape[0], num_frames, stride)
    start = jax.random.randint(key, (), 0, last_start + 1)
    return slots[start + stride * jnp.arange(num_frames)]


def shuffle_slots(
    key: PRNGKeyArray, slots: Float[Array, "t k d"], background: bool = False
) -> Float[Array, "t k d"]:
    """Puts the slots into a random order, the same one in all frames; the background's, if any, stays the first."""
    first, others = slots[:, : int(background)], slots[:, int(background) :]
    return jnp.concatenate([first, jax.random.permutation(key, others, axis=1, independent=False)], 1)


def sort_slots(slots: Float[Array, "t k d"], background: bool = False) -> Float[Array, "t k d"]:
    """Puts the slots into an order that their content gives, the same one in all frames.

    Whatever order they come in, the result is one and the same, and so is what is made of it. With `background` the
    first stays the first.

    Source: our choice; training shuffles, hence any fixed order is as good as another.
    """
    return slots[:, order_by_content(slots, background)]


def order_by_content(slots: Float[Array, "t k d"], background: bool = False) -> Int[Array, " k"]:
    """The places of the slots in the order of `sort_slots`."""
    first = int(background)
    return jnp.concatenate([jnp.arange(first), first + jnp.lexsort(slots[:, first:].mean(0).T)])


def hide_slots(key: PRNGKeyArray, num_frames: int, num_slots: int) -> Bool[Array, "t k"]:
    """One random slot of each frame, to be predicted from all others.

    Source: one slot a frame is SlotFormer's reading of ALOE.
    """
    return jnp.arange(num_slots) == jax.random.randint(key, (num_frames, 1), 0, num_slots)


def _spread(available: int, num_frames: int) -> Float[Array, " n"]:
    """Evenly from the first to the last place."""
    if num_frames > available:
        raise ValueError(f"{num_frames} frames are wanted, the video has {available}")
    return jnp.linspace(0, available - 1, num_frames)


def _check_length(available: int, num_frames: int, stride: int) -> int:
    last_start = available - 1 - (num_frames - 1) * stride
    if last_start < 0:
        raise ValueError(
            f"{num_frames} frames, every {stride}., span {(num_frames - 1) * stride + 1} frames, "
            f"the video has {available}"
        )
    return last_start
