"""IODINE linear: the backbone, and a small network that predicts a frame's slots from those of the two before."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from oddn_jax import inputs
from oddn_jax.backbone import Backbone, as_function
from oddn_jax.config import ODDNConfig
from oddn_jax.decoder import Decoded
from oddn_jax.inference import Inference
from oddn_jax.layers import dense
from oddn_jax.losses import oddn_losses
from oddn_jax.prediction import Prediction, score_predictions
from oddn_jax.video_model import Keys, Metrics, Params, Video

# Width of the hidden layer by `predictor_scope`.
HIDDEN_SIZE = {"slot": 256, "frame": 512}


@dataclasses.dataclass(kw_only=True, unsafe_hash=True)
class IODINELinearConfig(ODDNConfig):
    """Architecture and objective of IODINE linear: the backbone's and the prediction loss's fields, and its own.

    The fields of ODDN's dynamics and relation are without effect.
    """

    # "slot": each slot by itself, paired with the slot of the same index; "frame": all slots of a frame at once. The
    # paper says only that the latents of both frames are concatenated and go through a feed-forward network.
    predictor_scope: str = "slot"
    predictor_hidden_size: int = 0  # 0: 256 for a slot, 512 for a frame; our choice

    def validate(self):
        """Checks the whole configuration.

        Raises:
          ValueError: a field is out of its range; the message names it, its value and what is allowed.
        """
        super().validate()
        if self.predictor_scope not in HIDDEN_SIZE:
            raise ValueError(
                f"predictor_scope={self.predictor_scope!r} is not one of {', '.join(HIDDEN_SIZE)}"
            )
        if self.predictor_hidden_size < 0:
            raise ValueError(f"predictor_hidden_size={self.predictor_hidden_size} must not be negative")


class Extrapolation(NamedTuple):
    """Predicted frames. Entry s belongs to the s-th frame after the context."""

    latents: Float[Array, "*b t k l"]
    decoded: Decoded


class LinearOutputs(NamedTuple):
    """What one training step needs, computed once."""

    inference: Inference
    prediction: Prediction


class FeedForwardPredictor(nn.Module):
    """Two dense layers from the latents of two frames to those of the next.

    Source: paper Figure 3, in one sentence; widths and the activation are our choice.
    """

    config: IODINELinearConfig

    def setup(self):
        config = self.config
        size = config.latent_size * (config.num_slots if config.predictor_scope == "frame" else 1)
        hidden = config.predictor_hidden_size or HIDDEN_SIZE[config.predictor_scope]
        self.dense = [
            dense(2 * size, hidden, dtype=config.compute_dtype),
            dense(hidden, size, dtype=config.compute_dtype),
        ]

    def __call__(
        self, previous: Float[Array, "*b k l"], current: Float[Array, "*b k l"]
    ) -> Float[Array, "*b k l"]:
        """Returns the predicted latents; they are decoded as they are, without sampling."""
        lead = current.shape[:-2] if self.config.predictor_scope == "frame" else current.shape[:-1]
        x = jnp.concatenate([previous.reshape(*lead, -1), current.reshape(*lead, -1)], -1)
        x = self.dense[1](jax.nn.relu(self.dense[0](x)))
        return x.reshape(current.shape).astype(current.dtype)


class IODINELinear(Backbone):
    """The backbone, trained together with a feed-forward network that extrapolates its latents.

    Slots of different frames come in no common order, and nothing here finds one: the paper reports that it predicts
    the same picture over and over.

    Source: paper Figure 3 and section 4.2.

    Attributes:
      config: `IODINELinearConfig`.
    """

    config: IODINELinearConfig
    Config = IODINELinearConfig

    def setup(self):
        super().setup()
        self.predictor = FeedForwardPredictor(self.config)

    def initialize_parameters(self) -> None:
        """Runs each submodule once on zeros: `model.init(key, method="initialize_parameters")` needs no video."""
        super().initialize_parameters()
        latents = jnp.zeros((1, self.config.num_slots, self.config.latent_size))
        self.predictor(latents, latents)

    def predict_latents(
        self, previous: Float[Array, "*b k l"], current: Float[Array, "*b k l"]
    ) -> Float[Array, "*b k l"]:
        """Predicts the latents of the next frame from those of two."""
        inputs.check_latents(previous, (None, self.config.latent_size), "previous")
        inputs.check_latents(current, previous.shape, "current")
        return self.predictor(previous, current)

    def rollout(
        self,
        context: Float[Array, "*b t h w 3"] | Float[Array, "*b t k l"],
        key: PRNGKeyArray | None = None,
        *,
        num_steps: int,
        noise: Float[Array, "r *b t k l"] | None = None,
    ) -> Extrapolation:
        """Predicts the frames after the context, each from the two before it, observed or predicted.

        Args:
          context: video with pixels in [0, 1], or its latents; at least two frames, of which the last two are used.
          key: for the inference of a video; latents need none.
          num_steps: frames to predict.
          noise: instead of the key.

        Raises:
          ValueError: fewer than two frames, or a context that is neither video nor latents.
        """
        inputs.check_horizon(num_steps)
        latents = self.infer_context(context, key, noise)
        latents = self._roll_latents(latents[..., -2, :, :], latents[..., -1, :, :], num_steps)
        return Extrapolation(latents, self.decode(latents))

    def __call__(
        self,
        video: Float[Array, "b t h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "r b t k l"] | None = None,
    ) -> LinearOutputs:
        """Slots of all frames, and predictions of all but the first two, from the pairs that ODDN predicts from.

        Args:
          video: pixels in [0, 1]; at least three frames.
          key: for the samples of the posteriors.
          noise: standard normal, instead of the key.

        Raises:
          ValueError: fewer than three frames, or the clips are not as `VideoModel` says.
        """
        video = self.check_clips(video)
        config, num_frames = self.config, video.shape[1]
        if num_frames < 3:
            raise ValueError(
                f"training needs at least 3 frames (two observed, one predicted), the clip has {num_frames}"
            )
        if self.is_initializing():
            self.initialize_parameters()
        inference = self.infer(video, key, noise=noise)
        latents = self.observed_latents(inference)
        previous, current = latents[:, :-2], latents[:, 1:-1]
        predicted, target, depth = [], [], []
        for step in range(1, min(config.student_forcing_depth, num_frames - 2) + 1):
            # One start less with each step: its last prediction would lie behind the clip.
            previous, current = current, self.predictor(previous, current)
            predicted.append(current)
            target += range(1 + step, num_frames)
            depth += [step] * current.shape[1]
            previous, current = previous[:, :-1], current[:, :-1]
        if config.long_range_steps:
            steps = min(config.long_range_steps, num_frames - 2)
            predicted.append(self._roll_latents(latents[:, 0], latents[:, 1], steps))
            target += range(2, 2 + steps)
            depth += range(1, 1 + steps)
        prediction = score_predictions(
            as_function(self.decoder), video, jnp.concatenate(predicted, 1), target, depth, config
        )
        return LinearOutputs(inference, prediction)

    def _roll_latents(
        self, previous: Float[Array, "*b k l"], current: Float[Array, "*b k l"], num_steps: int
    ) -> Float[Array, "*b t k l"]:
        predict = as_function(self.predictor)

        def step(pair, _):
            following = predict(*pair)
            return (pair[1], following), following

        _, latents = jax.lax.scan(step, (previous, current), length=num_steps)
        return jnp.moveaxis(latents, 0, current.ndim - 2)

    @nn.nowrap
    def loss(
        self, params: Params, video: Video, keys: Keys, *, train: bool = True, axis_name: str | None = None
    ) -> tuple[Metrics, Params]:
        """The objective of Eq. 5-6, as ODDN's; see `VideoModel`."""
        video = self.check_clips(video, keys)
        outputs = self.apply(
            {"params": params}, video, noise=self.draw_noise(keys, video.shape[1], video.dtype)
        )
        return self.metrics(oddn_losses(outputs, self.config), outputs.inference, video), {}
