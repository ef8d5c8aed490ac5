"""PROVIDE: iterative inference with a memory that runs along the frames of a clip as well as along the refinements."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from oddn_jax import inputs
from oddn_jax.backbone import Backbone, as_function
from oddn_jax.baselines.provide.config import ProvideConfig, next_nll_weight, num_decodings
from oddn_jax.baselines.provide.inference import Memory, Networks, infer_frame, simulate_frame
from oddn_jax.baselines.provide.networks import (
    ConditionalDecoder,
    ConditionalPrior,
    TemporalRefinementNetwork,
)
from oddn_jax.decoder import Decoded, compose, unfold_pictures
from oddn_jax.distributions import sample
from oddn_jax.inference import Inference, scan_unroll
from oddn_jax.losses import Losses, iteration_weights
from oddn_jax.metrics import training_diagnostics
from oddn_jax.refinement import empty_inputs
from oddn_jax.video_model import Keys, Metrics, Params, Seen, Video


class Simulation(NamedTuple):
    """Predicted frames. Entry s belongs to the s-th frame after the context."""

    decoded: Decoded
    hidden: Float[Array, "*b t k m"]  # the memory from which the frame is decoded


class PROVIDE(Backbone):
    """The backbone with a 2D-LSTM, a prior and a decoder that depend on the frames before.

    Source: Zablotskaia et al., PROVIDE: a probabilistic framework for unsupervised video decomposition, UAI 2021, and
    its official code.

    Attributes:
      config: `ProvideConfig`; with the "prediction" preset it has Table 4's 2,977,940 parameters.
    """

    config: ProvideConfig
    Config = ProvideConfig
    collections = ("schedule",)
    decoder_type = ConditionalDecoder
    refinement_type = TemporalRefinementNetwork

    def setup(self):
        super().setup()
        self.prior = ConditionalPrior(self.config)

    def observe(
        self,
        video: Float[Array, "*b t h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "r *b t k l"] | None = None,
        deterministic: bool = False,
        nll_weight: float | Float[Array, ""] | None = None,
    ) -> tuple[Inference, Memory]:
        """Infers the slots of each frame from it and the frames before, and what is to be remembered of them all.

        Args:
          video: pixels in [0, 1], of the configured height and width.
          key: for the samples of the posteriors.
          noise: standard normal, instead of the key; its first axis is T. Entry (0, first frame) makes the sample that
            all frames start with.
          deterministic: the last latents of each frame are the posterior's mean.
          nll_weight: in place of the configured one, as `next_nll_weight` changes it during training.

        Raises:
          ValueError: the frames are not as `VideoModel` says, or neither or both of key and noise are given.
        """
        config = self.config
        video, noise = self.check_inputs(video, key, noise, fewest_axes=4)
        num_frames, slots = video.shape[-4], (*video.shape[:-4], config.num_slots)
        features, initial = self.image_features(video), self.initial_posteriors(slots, video.dtype)
        infer = partial(
            infer_frame,
            self._networks(),
            initial,
            nll_weight=config.nll_weight if nll_weight is None else nll_weight,
            config=config,
            deterministic=deterministic,
        )

        frames_axis = video.ndim - 4
        noise = jnp.moveaxis(noise, frames_axis + 1, 0)
        video, features = jax.tree.map(lambda x: jnp.moveaxis(x, frames_axis, 0), (video, features))
        memory = Memory(
            self.refinement.initial_state(slots, video.dtype),
            sample(initial, noise[0, 0]),
        )
        # The first frames are decoded a different number of times each, all others twice.
        inferences = []
        num_special = min(num_frames, config.num_refinement_steps - 2)
        for frame, decodings in enumerate(num_decodings(config, num_special)):
            inputs = jax.tree.map(lambda x, i=frame: x[i], (video, features, noise))
            memory, inference = infer(memory, *inputs, num_decodings=decodings)
            inferences.append(jax.tree.map(lambda x: x[None], inference))
        if num_frames > num_special:
            memory, inference = jax.lax.scan(
                lambda memory, inputs: infer(memory, *inputs, num_decodings=2),
                memory,
                jax.tree.map(lambda x: x[num_special:], (video, features, noise)),
                unroll=scan_unroll(config, num_frames - num_special),
            )
            inferences.append(inference)
        return jax.tree.map(lambda *x: jnp.moveaxis(jnp.concatenate(x), 0, frames_axis), *inferences), memory

    def infer(
        self,
        video: Float[Array, "*b t h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "r *b t k l"] | None = None,
        deterministic: bool = False,
        nll_weight: float | Float[Array, ""] | None = None,
    ) -> Inference:
        """Infers the slots of each frame from it and the frames before; see `observe`.

        Returns:
          Of each frame; one that is decoded fewer than T times repeats its first decoding in `nll`, `kl` and
          `trajectory`, so that the last entry is that of the last decoding.
        """
        observe = partial(self.observe, noise=noise, deterministic=deterministic, nll_weight=nll_weight)
        return observe(video, key)[0]

    def decode(self, latents: Float[Array, "*b k l"], hidden: Float[Array, "*b k m"]) -> Decoded:
        """Decodes slots, given the memory of the frame before, into their pictures, masks and common picture."""
        return unfold_pictures(compose(*self.decoder(latents, hidden)), self.config)

    def rollout(
        self,
        context: Float[Array, "*b t h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        num_steps: int,
        noise: Float[Array, "r *b t k l"] | None = None,
    ) -> Simulation:
        """Predicts the frames after the context.

        Args:
          context: video with pixels in [0, 1]; all its frames are used.
          key: for the samples.
          num_steps: frames to predict.
          noise: instead of the key.

        Raises:
          ValueError: as `observe`, or `num_steps` is below 1.
        """
        inputs.check_horizon(num_steps)
        deterministic = not self.config.sample_at_test
        return self.simulate(
            self.observe(context, key, noise=noise, deterministic=deterministic)[1], num_steps
        )

    def simulate(self, memory: Memory, num_steps: int) -> Simulation:
        """Predicts the frames after those of a memory, all from the clip's first sample and the memory as it runs on.

        Source: PROVIDE's code.
        """
        config, networks, slots = self.config, self._networks(), memory.first_latents.shape[:-1]
        initial = self.initial_posteriors(slots, memory.first_latents.dtype)

        def step(memory, _):
            following, decoded = simulate_frame(networks, initial, memory, config)
            return following, Simulation(decoded, memory.state.hidden)

        _, simulation = jax.lax.scan(step, memory, length=num_steps, unroll=scan_unroll(config, num_steps))
        return jax.tree.map(lambda x: jnp.moveaxis(x, 0, len(slots) - 1), simulation)

    def __call__(
        self,
        video: Float[Array, "*b t h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "r *b t k l"] | None = None,
        nll_weight: float | Float[Array, ""] | None = None,
    ) -> Inference:
        """Infers the slots of each frame; see `infer`."""
        if self.is_initializing():
            self.initialize_parameters()
        return self.infer(video, key, noise=noise, nll_weight=nll_weight)

    def initialize_parameters(self) -> None:
        """Runs each submodule once on zeros: `model.init(key, method="initialize_parameters")` needs no video."""
        config = self.config
        latents, hidden = jnp.zeros((1, config.latent_size)), jnp.zeros((1, config.hidden_size))
        self.decoder(latents, hidden)
        self.prior(hidden)
        if config.features != "none":
            self.features(jnp.zeros((1, config.image_height, config.image_width, 3)))
        state = self.refinement.initial_state((1, 1), jnp.float32)
        self.refinement(empty_inputs(config), state, state)

    def _networks(self) -> Networks:
        features = as_function(self.features) if self.config.features != "none" else None
        return Networks(
            as_function(self.decoder), as_function(self.refinement), as_function(self.prior), features
        )

    @nn.nowrap
    def initialize(self, key: PRNGKeyArray) -> Params:
        """The parameters before the first step; "schedule" holds the weight of the likelihood."""
        variables = self.initial_variables(key)
        return {**variables["params"], "schedule": {"nll_weight": jnp.float32(self.config.nll_weight)}}

    @nn.nowrap
    def loss(
        self, params: Params, video: Video, keys: Keys, *, train: bool = True, axis_name: str | None = None
    ) -> tuple[Metrics, Params]:
        """PROVIDE's bound, and the weight of its likelihood in the next step; see `VideoModel`."""
        video = self.check_clips(video, keys)
        variables, noise = self.to_variables(params), self.draw_noise(keys, video.shape[1], video.dtype)
        nll_weight = variables["schedule"]["nll_weight"]
        inference = self.apply(variables, video, noise=noise, nll_weight=nll_weight)
        losses, decoded = provide_losses(inference, self.config, nll_weight), inference.decoded
        named = losses.by_name() | {"nll_weight": nll_weight}
        # Without the slots' KL: the inference keeps only their sum.
        named |= training_diagnostics(video, decoded.reconstruction, decoded.slot_masks)
        if not train:
            return named, {}
        nll_final = losses.terms["nll_final"]
        if axis_name is not None:
            nll_final = jax.lax.pmean(nll_final, axis_name)
        following = next_nll_weight(nll_weight, jax.lax.stop_gradient(nll_final), self.config)
        return named, {"schedule": {"nll_weight": following}}

    @nn.nowrap
    def look(
        self, params: Params, video: Video, keys: Keys, *, num_predicted: int = 0, num_observed: int = 2
    ) -> Seen:
        """The slots of every frame, and the frames that the memory of the first ones gives; see `VideoModel`."""
        video = self.check_clips(video, keys)
        if num_predicted:
            inputs.check_horizon(num_predicted, num_observed, video.shape[1])
        apply, noise = (
            partial(self.apply, self.to_variables(params)),
            self.draw_noise(keys, video.shape[1], video.dtype),
        )
        nll_weight, deterministic = params["schedule"]["nll_weight"], not self.config.sample_at_test
        options = {"nll_weight": nll_weight, "deterministic": deterministic}
        inferred = apply(video, noise=noise, **options, method="infer")
        decoded = inferred.decoded
        seen = Seen(decoded.reconstruction, decoded.slot_rgb, decoded.slot_masks, inferred.latents)
        if not num_predicted:
            return seen
        # Once more the first frames, whose memory the inference of all does not return.
        context, noise = video[:, :num_observed], noise[:, :, :num_observed]
        _, memory = apply(context, noise=noise, **options, method="observe")
        future = apply(memory, num_predicted, method="simulate").decoded
        return seen._replace(predicted=future.reconstruction, predicted_masks=future.slot_masks)


def decoding_weights(config: ProvideConfig, num_frames: int) -> Float[Array, "t r"]:
    """The weight of each decoding's loss: t/T in the t-th of a frame, 0 in the repetitions in front of its first.

    Source: PROVIDE's code.
    """
    total, rows = config.num_refinement_steps, []
    for decodings in num_decodings(config, num_frames):
        weights = iteration_weights(config, decodings)
        if config.iteration_weights == "linear":
            weights = weights * decodings / total
        rows.append(jnp.concatenate([jnp.zeros(total - decodings), weights]))
    return jnp.stack(rows)


def provide_losses(
    inference: Inference, config: ProvideConfig, nll_weight: float | Float[Array, ""] | None = None
) -> Losses:
    """The weighted bound, summed over decodings and frames; PROVIDE is trained on no predictions.

    Source: PROVIDE's code; without the entropy of the masks, which it adds for binary pictures only.

    Args:
      inference: of `PROVIDE.__call__` on a batch of clips, with the same `nll_weight`.
      config: the model's.
      nll_weight: in place of the configured one.
    """
    weights = decoding_weights(config, inference.nll.shape[-2]).astype(inference.nll.dtype)
    scale = config.nll_weight if nll_weight is None else nll_weight
    reconstruction = scale * (inference.nll * weights).sum((-2, -1)).mean()
    kl = config.kl_weight * (inference.kl * weights).sum((-2, -1)).mean()
    terms = {
        "nll": inference.nll[..., -1].mean(),
        "kl_last": inference.kl[..., -1].mean(),
        "nll_first": inference.nll[..., 0].mean(),
        "nll_final": inference.nll[..., -1, -1].mean(),
    }
    return Losses(reconstruction + kl, reconstruction, kl, jnp.zeros_like(kl), terms)
