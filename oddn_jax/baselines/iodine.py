"""IODINE: the backbone alone, frame by frame, and its weights from the PyTorch implementation of the paper's count."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from oddn_jax.backbone import Backbone
from oddn_jax.inference import Inference
from oddn_jax.losses import iodine_losses
from oddn_jax.video_model import Keys, Metrics, Params, Video


class IODINE(Backbone):
    """The backbone without dynamics: what Tables 2-4 call IODINE.

    Attributes:
      config: `ODDNConfig`; with the "prediction" preset it has Table 4's 2,780,052 parameters.
    """

    def __call__(
        self,
        video: Float[Array, "*b h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "r *b k l"] | None = None,
    ) -> Inference:
        """Infers the slots of each frame; see `infer`."""
        if self.is_initializing():
            self.initialize_parameters()
        return self.infer(video, key, noise=noise)

    @nn.nowrap
    def loss(
        self, params: Params, video: Video, keys: Keys, *, train: bool = True, axis_name: str | None = None
    ) -> tuple[Metrics, Params]:
        """The objective of Eq. 5; see `VideoModel`."""
        video = self.check_clips(video, keys)
        inference = self.apply(
            {"params": params}, video, noise=self.draw_noise(keys, video.shape[1], video.dtype)
        )
        return self.metrics(iodine_losses(inference, self.config), inference, video), {}


def params_from_torch(
    arrays: Mapping[str, np.ndarray], image_height: int = 64, image_width: int = 64
) -> dict:
    """Maps the backbone's parameters from PyTorch's names and layouts to ours.

    Args:
      arrays: state dict of the PyTorch IODINE as NumPy arrays: `lmbda0`, `decoder.conv_layer.*`, `refine_net.*`, and,
        where the model has image features, `feature_extractor.*`. Non-array entries such as buffers are ignored.
      image_height: in pixels; with `image_width` it gives the order in which the pooled picture is flattened.
      image_width: in pixels.

    Returns:
      Parameters of `IODINE`, and the backbone's part of those of `ODDN`.

    Raises:
      ValueError: an array is missing or has a shape that does not fit; the message names it.
    """

    def get(name):
        if name not in arrays:
            raise ValueError(f"the PyTorch parameters lack {name!r}")
        return np.asarray(arrays[name])

    def convolution(name):
        return {"kernel": get(f"{name}.weight").transpose(2, 3, 1, 0), "bias": get(f"{name}.bias")}

    def dense(name, weight="weight", bias="bias"):
        return {"kernel": get(f"{name}.{weight}").T, "bias": get(f"{name}.{bias}")}

    def numbered(name, indices):
        return {f"conv_{i}": convolution(f"{name}.{index}") for i, index in enumerate(indices)}

    # PyTorch flattens channel-major (c h w), we flatten channel-last (h w c).
    code = dense("refine_net.fc_in.0")
    inputs, hidden = code["kernel"].shape
    pooled = (image_height // 4, image_width // 4)
    if inputs % (pooled[0] * pooled[1]):
        raise ValueError(
            f"refine_net.fc_in.0.weight takes {inputs} numbers, which no {image_height}x{image_width} picture gives"
        )
    code["kernel"] = code["kernel"].reshape(-1, *pooled, hidden).transpose(1, 2, 0, 3).reshape(inputs, hidden)
    lstm = {
        "input": dense("refine_net.lstm", "weight_ih", "bias_ih"),
        "hidden": dense("refine_net.lstm", "weight_hh", "bias_hh"),
    }
    params = {
        "initial_posterior": get("lmbda0").reshape(-1),
        "decoder": numbered("decoder.conv_layer", (0, 2, 4, 6, 8)),
        "refinement": {
            **numbered("refine_net.convnet.model", (0, 2, 4, 6)),
            "code": code,
            "lstm": lstm,
            "delta": dense("refine_net.fc_out"),
        },
    }
    if any(name.startswith("feature_extractor.") for name in arrays):
        fires = {
            f"fire_{i}": {
                ours: convolution(f"feature_extractor.0.{index}.{theirs}")
                for ours, theirs in (
                    ("squeeze", "squeeze"),
                    ("expand_1x1", "expand1x1"),
                    ("expand_3x3", "expand3x3"),
                )
            }
            for i, index in enumerate((3, 4))
        }
        params["features"] = {
            "squeezenet": {"conv": convolution("feature_extractor.0.0"), **fires},
            **numbered("feature_extractor", (1, 3, 5)),
        }
    return {name: _to_jax(value) for name, value in params.items()}


def _to_jax(value):
    return {k: _to_jax(v) for k, v in value.items()} if isinstance(value, dict) else jnp.asarray(value)
