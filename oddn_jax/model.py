"""ODDN: slots from each frame, their dynamics from two frames, their interactions, and the frames to come."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from oddn_jax import inputs
from oddn_jax.backbone import Backbone, as_function
from oddn_jax.decoder import Decoded
from oddn_jax.dynamics import Distillation, DynamicsDistiller
from oddn_jax.inference import Inference
from oddn_jax.losses import oddn_losses, prediction_weights
from oddn_jax.prediction import Prediction, score_predictions
from oddn_jax.relation import Interaction, LatentPredictor, RelationModule
from oddn_jax.video_model import Keys, Metrics, Params, Seen, Video


class Rollout(NamedTuple):
    """Predicted frames. Entry s belongs to the s-th frame after the context."""

    latents: Float[Array, "*b t k l"]
    dynamics: Float[Array, "*b t k d"]  # that entered the interaction from which the frame is predicted
    decoded: Decoded
    pair_attention: Float[Array, "*b t k k"]
    match_attention: Float[
        Array, "*b t k 2*k"
    ]  # zero after the first frame in mode "carry", which distils only once


class Outputs(NamedTuple):
    """What one training step needs, computed once."""

    inference: Inference
    distillation: Distillation
    interaction: Interaction  # of frames 2..t-1
    prediction: Prediction


class ODDN(Backbone):
    """Object Dynamics Distillation Network.

    Source: Tang et al., Object Dynamics Distillation for Scene Decomposition and Representation, ICLR 2022.

    Attributes:
      config: `ODDNConfig`; `ODDN(ODDNConfig.preset("prediction"))` has Table 4's 2,925,365 parameters.
    """

    def setup(self):
        super().setup()
        self.distiller = DynamicsDistiller(self.config)
        if self.config.use_relation:
            self.relation = RelationModule(self.config)
        self.predictor = LatentPredictor(self.config)

    def initialize_parameters(self) -> None:
        """Runs each submodule once on zeros: `model.init(key, method="initialize_parameters")` needs no video."""
        super().initialize_parameters()
        latents = jnp.zeros((2, self.config.num_slots, self.config.latent_size))
        dynamics = self.distill(latents).dynamics
        self.predict_latents(self.interact(dynamics, latents[1:]).updated_dynamics, latents[1:])

    def distill(self, latents: Float[Array, "*b t k l"]) -> Distillation:
        """Distils the dynamics of each frame but the first from it and the frame before it (Eq. 7-9)."""
        inputs.check_latents(latents, (None, None, self.config.latent_size))
        if latents.shape[-3] < 2:
            raise ValueError(f"latents is {inputs.describe(latents)}: dynamics need two frames")
        return Distillation(*self.distiller(latents[..., :-1, :, :], latents[..., 1:, :, :]))

    def interact(self, dynamics: Float[Array, "*b k d"], latents: Float[Array, "*b k l"]) -> Interaction:
        """Updates each slot's dynamics by what the other slots do to it (Eq. 10-13); without relation, by nothing."""
        inputs.check_latents(dynamics, (None, self.config.dynamics_size), "dynamics")
        inputs.check_latents(latents, (*dynamics.shape[:-1], self.config.latent_size))
        if self.config.use_relation:
            return self.relation(dynamics, latents)
        pairs = jnp.zeros((*dynamics.shape[:-1], dynamics.shape[-2]), dynamics.dtype)
        return Interaction(dynamics, pairs, pairs[..., None])

    def predict_latents(
        self, updated_dynamics: Float[Array, "*b k d"], latents: Float[Array, "*b k l"]
    ) -> Float[Array, "*b k l"]:
        """Predicts the latents of the next frame, slot by slot (Eq. 4)."""
        inputs.check_latents(updated_dynamics, (None, self.config.dynamics_size), "updated_dynamics")
        inputs.check_latents(latents, (*updated_dynamics.shape[:-1], self.config.latent_size))
        return self.predictor(updated_dynamics, latents)

    def rollout(
        self,
        context: Float[Array, "*b t h w 3"] | Float[Array, "*b t k l"],
        key: PRNGKeyArray | None = None,
        *,
        num_steps: int,
        mode: str | None = None,
        noise: Float[Array, "r *b t k l"] | None = None,
        dynamics: Float[Array, "*b k d"] | None = None,
    ) -> Rollout:
        """Predicts the frames after the context.

        Args:
          context: video with pixels in [0, 1], or its latents; at least two frames, of which the last two are used.
          key: for the inference of a video; latents need none.
          num_steps: frames to predict.
          mode: "redistill" (dynamics from the last two frames, predicted or not) or "carry" (the updated dynamics are
            handed on); None: the configured one. The paper does not say which; they agree at the first step.
          noise: instead of the key.
          dynamics: of the context's last frame, instead of those distilled from its last two: what if a slot moved
            otherwise? In mode "redistill" they hold for the first step, whose frame tells the others.

        Raises:
          ValueError: fewer than two frames, an unknown mode, a context that is neither video nor latents, or dynamics
            that do not fit it.
        """
        inputs.check_horizon(num_steps)
        mode = self.config.rollout_mode if mode is None else mode
        if mode not in ("redistill", "carry"):
            raise ValueError(f'mode={mode!r} is not "redistill" or "carry"')
        latents = self.infer_context(context, key, noise)
        latents, dynamics, pair_attention, match_attention = self.roll_latents(
            latents[..., -2, :, :], latents[..., -1, :, :], num_steps, mode, dynamics
        )
        return Rollout(latents, dynamics, self.decode(latents), pair_attention, match_attention)

    def roll_latents(
        self,
        previous: Float[Array, "*b k l"],
        current: Float[Array, "*b k l"],
        num_steps: int,
        mode: str,
        dynamics: Float[Array, "*b k d"] | None = None,
    ) -> tuple[
        Float[Array, "*b t k l"],
        Float[Array, "*b t k d"],
        Float[Array, "*b t k k"],
        Float[Array, "*b t k 2*k"],
    ]:
        """The rollout in latent space: latents, dynamics, pair attention and match attention of each step."""
        distill, predict = as_function(self.distiller), as_function(self.predictor)
        interact = as_function(self.relation) if self.config.use_relation else self.interact

        def step(carry, _):
            current, dynamics, match = carry
            interaction = interact(dynamics, current)
            following = predict(interaction.updated_dynamics, current)
            if mode == "redistill":
                next_dynamics, next_match = distill(current, following)
            else:
                next_dynamics, next_match = interaction.updated_dynamics, jnp.zeros_like(match)
            return (following, next_dynamics, next_match), (
                following,
                dynamics,
                interaction.pair_attention,
                match,
            )

        distilled, match = distill(previous, current)
        if dynamics is not None:
            inputs.check_latents(dynamics, (*current.shape[:-1], self.config.dynamics_size), "dynamics")
            distilled = jnp.asarray(dynamics, distilled.dtype)
        carry = (current, distilled, match)
        _, steps = jax.lax.scan(step, carry, length=num_steps)
        return tuple(jnp.moveaxis(x, 0, current.ndim - 2) for x in steps)

    def __call__(
        self,
        video: Float[Array, "b t h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "r b t k l"] | None = None,
    ) -> Outputs:
        """Everything that the losses need: slots of all frames, and predictions of all but the first two.

        Predictions start at every pair of observed frames and go `student_forcing_depth` steps far on their own output
        ("student forcing", paper 3.4); with `long_range_steps` one more rollout starts at the first pair (ODDN-l).

        Args:
          video: pixels in [0, 1]; at least three frames.
          key: for the samples of the posteriors.
          noise: standard normal, instead of the key.

        Raises:
          ValueError: fewer than three frames, or the clips are not as `VideoModel` says.
        """
        video = self.check_clips(video)
        if video.shape[1] < 3:
            raise ValueError(
                f"training needs at least 3 frames (two observed, one predicted), the clip has {video.shape[1]}"
            )
        if self.is_initializing():
            self.initialize_parameters()
        config = self.config
        inference = self.infer(video, key, noise=noise)
        latents = self.observed_latents(inference)
        distillation, interaction, predicted, target, depth = self.predict_observed(latents)
        prediction = score_predictions(as_function(self.decoder), video, predicted, target, depth, config)
        return Outputs(inference, distillation, interaction, prediction)

    def predict_observed(
        self, latents: Float[Array, "b t k l"]
    ) -> tuple[Distillation, Interaction, Float[Array, "b p k l"], list[int], list[int]]:
        """What training predicts of a clip's latents; see `__call__`.

        Returns:
          The dynamics of all frames but the first, the interactions at all frames but the first and the last, the
          predicted latents, and of each of these the index of the frame it aims at and how many steps it is from
          observed slots.
        """
        config, num_frames = self.config, latents.shape[1]
        distillation = self.distill(latents)
        interaction = self.interact(distillation.dynamics[:, :-1], latents[:, 1:-1])
        # Entry n of `current` continues slot order from observed frame n + 2; each further step has one start less.
        predicted, target, depth = [], [], []
        previous, current, updated = latents[:, :-2], latents[:, 1:-1], interaction.updated_dynamics
        for step in range(1, min(config.student_forcing_depth, num_frames - 2) + 1):
            if step > 1:
                previous, current, updated = previous[:, :-1], current[:, :-1], updated[:, :-1]
                dynamics = updated if config.rollout_mode == "carry" else self.distiller(previous, current)[0]
                updated = self.interact(dynamics, current).updated_dynamics
            following = self.predict_latents(updated, current)
            predicted.append(following)
            target += range(1 + step, num_frames)
            depth += [step] * following.shape[1]
            previous, current = current, following
        if config.long_range_steps:
            steps = min(config.long_range_steps, num_frames - 2)
            predicted.append(self.roll_latents(latents[:, 0], latents[:, 1], steps, config.rollout_mode)[0])
            target += range(2, 2 + steps)
            depth += range(1, 1 + steps)
        return distillation, interaction, jnp.concatenate(predicted, 1), target, depth

    @nn.nowrap
    def loss(
        self, params: Params, video: Video, keys: Keys, *, train: bool = True, axis_name: str | None = None
    ) -> tuple[Metrics, Params]:
        """The objective of Eq. 5-6; see `VideoModel`."""
        video = self.check_clips(video, keys)
        outputs = self.apply(
            {"params": params}, video, noise=self.draw_noise(keys, video.shape[1], video.dtype)
        )
        return self.metrics(oddn_losses(outputs, self.config), outputs.inference, video), {}

    @nn.nowrap
    def latent_loss(self, params: Params, latents: Float[Array, "b t k l"]) -> Float[Array, ""]:
        """How far predictions are from the latents of the frames that they aim at, these taken as given.

        Trains the dynamics alone, at a small part of what pictures cost. Our choice; the paper compares pictures.

        Args:
          params: all of the model's; the gradient of those outside distiller, relation and predictor is zero.
          latents: of clips of at least three frames, the posteriors' means.

        Returns:
          Half of the squared error of a predicted frame, summed over slots and latents; each target frame counts once.
        """
        _, _, predicted, target, _ = self.apply({"params": params}, latents, method="predict_observed")
        weights = prediction_weights(jnp.array(target), latents.shape[1])
        error = ((predicted - latents[:, jnp.array(target)]) ** 2).sum((-2, -1)).mean(0) / 2
        return (error * weights).sum() / weights.sum()

    @nn.nowrap
    def look(
        self, params: Params, video: Video, keys: Keys, *, num_predicted: int = 0, num_observed: int = 2
    ) -> Seen:
        """The slots of every frame, their dynamics, and a rollout of the first ones; see `VideoModel`."""
        seen = super().look(params, video, keys, num_predicted=num_predicted, num_observed=num_observed)
        if video.shape[1] > 1:
            distilled = self.apply({"params": params}, seen.latents, method="distill")
            seen = seen._replace(dynamics=distilled.dynamics)
        return seen
