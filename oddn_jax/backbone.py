"""Backbone: the slot inference that ODDN and its IODINE baselines share."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Key, PRNGKeyArray

from oddn_jax import inputs
from oddn_jax.config import ODDNConfig
from oddn_jax.decoder import Decoded, SpatialBroadcastDecoder, compose, unfold_pictures
from oddn_jax.distributions import Posterior, slot_kl
from oddn_jax.features import FeatureStack
from oddn_jax.inference import Inference, iterative_inference, tracking_inference
from oddn_jax.layers import uniform_init
from oddn_jax.losses import Losses
from oddn_jax.metrics import training_diagnostics
from oddn_jax.refinement import POOL, RefinementNetwork, code_picture, empty_inputs
from oddn_jax.video_model import Keys, Params, Seen, Video, VideoModel, check_one_source


class Backbone(VideoModel):
    """IODINE with 64 latents per slot, as the paper uses it: frames in, slots out, frame by frame.

    Source: paper 3.1 and the released code whose parameter count is Table 4's.

    Attributes:
      config: `ODDNConfig`.
      decoder_type, refinement_type: the classes of its parts, each made from the config.
    """

    config: ODDNConfig
    Config = ODDNConfig
    decoder_type = SpatialBroadcastDecoder
    refinement_type = RefinementNetwork

    def setup(self):
        config = self.config
        if config.features != "none":
            self.features = FeatureStack(config)
        self.decoder = self.decoder_type(config)
        self.refinement = self.refinement_type(config)
        init = uniform_init(config.initial_posterior_range)
        # Of all slots, or of each.
        own = (config.num_slots,) if config.background_slot else ()
        self.initial_posterior = self.param("initial_posterior", init, (*own, 2 * config.latent_size))

    def infer(
        self,
        video: Float[Array, "*b h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: Float[Array, "r *b k l"] | None = None,
        deterministic: bool = False,
        before: Posterior | None = None,
    ) -> Inference:
        """Infers the slots of each frame, independently of all others; with `num_tracking_steps` frame after frame.

        Args:
          video: pixels in [0, 1], of the configured height and width; `*b` is usually (batch, time); with
            `share_noise` or `num_tracking_steps` its last axis is that of a clip's frames.
          key: for the samples of the posteriors.
          noise: standard normal, instead of the key; its first axis is the number of decodings.
          deterministic: the last latents are the posterior's mean; the steps before it still sample.
          before: posterior [*b k l] of the frame in front of the clip's first, with `num_tracking_steps`: the clip goes
            on with its slots.

        Raises:
          ValueError: the frames are not as `VideoModel` says, neither or both of key and noise are given, noise is of
            fewer decodings than `num_tracking_steps`, or `before` is given to a model that does not track.
        """
        config = self.config
        video, noise = self.check_inputs(video, key, noise)
        decode, refine = as_function(self.decoder), as_function(self.refinement)

        def infer(frames, features, noise, posterior):
            slots = (*frames.shape[:-3], config.num_slots)
            if posterior is None:
                posterior = self.initial_posteriors(slots, frames.dtype)
            state = self.refinement.initial_state(slots, frames.dtype)
            return iterative_inference(
                decode, refine, frames, features, posterior, state, noise, config, deterministic=deterministic
            )

        features = self.image_features(video)
        if config.num_tracking_steps and video.ndim > 3:
            if noise.shape[0] < (fewest := config.num_tracking_steps):
                raise ValueError(
                    f"noise is {inputs.describe(noise)}, of fewer decodings than num_tracking_steps={fewest}"
                )
            return tracking_inference(infer, video, features, noise, before, config)
        if before is not None:
            raise ValueError(
                "before is of a clip's frames, which only a model with num_tracking_steps tracks"
            )
        return infer(video, features, noise, None)

    def check_inputs(
        self,
        video: Float[Array, "*b h w 3"],
        key: PRNGKeyArray | None,
        noise: Float[Array, "r *b k l"] | None,
        fewest_axes: int = 3,
    ) -> tuple[Float[Array, "*b h w 3"], Float[Array, "r *b k l"]]:
        """Checks what `infer` is given, and returns video and noise, which is drawn where there is only a key."""
        video = self.check_frames(video, fewest_axes)
        check_one_source(key, noise)
        if noise is None:
            return video, self._draw(key, video.shape[:-3], video.dtype)
        wanted = (*video.shape[:-3], self.config.num_slots, self.config.latent_size)
        noise = inputs.as_array(noise, "noise", f"[r {' '.join(map(str, wanted))}]")
        if noise.shape[1:] != wanted or noise.shape[0] < 1:
            raise ValueError(f"noise is {inputs.describe(noise)}, [r {' '.join(map(str, wanted))}] is wanted")
        return video, noise

    @nn.nowrap
    def _draw(self, key: PRNGKeyArray, frames: tuple[int, ...], dtype: Any) -> Float[Array, "r *b k l"]:
        """Standard normal noise for frames of the given axes."""
        config = self.config
        steps, slots = config.num_refinement_steps, (config.num_slots, config.latent_size)
        different = (*frames[:-1], 1) if config.share_noise and frames else frames
        noise = jax.random.normal(key, (steps, *different, *slots), dtype)
        return jnp.broadcast_to(noise, (steps, *frames, *slots))

    def image_features(self, video: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w f"] | None:
        """Further image channels for the refinement network, where the model has such."""
        if self.config.features == "none":
            return None
        features = self.features(video.reshape(-1, *video.shape[-3:]))
        return features.reshape(*video.shape[:-1], -1)

    def initial_posteriors(self, slots: tuple[int, ...], dtype: jax.typing.DTypeLike) -> Posterior:
        """The learned posterior in front of the first decoding, the same for every slot, or each slot's own."""
        initial = jnp.broadcast_to(self.initial_posterior, (*slots, 2 * self.config.latent_size))
        return Posterior(*jnp.split(initial.astype(dtype), 2, -1))

    def infer_context(
        self,
        context: Float[Array, "*b t h w 3"] | Float[Array, "*b t k l"],
        key: PRNGKeyArray | None,
        noise: Float[Array, "r *b t k l"] | None,
    ) -> Float[Array, "*b 2 k l"]:
        """The latents of the last two frames of a context; latents are taken as they are.

        Raises:
          ValueError: it has fewer than two frames, or is neither a video nor latents.
        """
        config = self.config
        slots = (config.num_slots, config.latent_size)
        context = inputs.as_array(context, "context", "of a video or of latents")
        is_video = context.shape[-2:] != slots or context.shape[-3:-1] == (
            config.image_height,
            config.image_width,
        )
        if is_video:
            context = self.check_frames(context, fewest_axes=4)
        else:
            inputs.check_latents(context, (None, *slots), "context")
        if context.shape[-4 if is_video else -3] < 2:
            raise ValueError("a rollout needs two frames of context: what moves shows in a pair of frames")
        if not is_video:
            return context[..., -2:, :, :]
        noise = None if noise is None else noise[..., -2:, :, :]
        deterministic = not config.sample_at_test
        return self.infer(context[..., -2:, :, :, :], key, noise=noise, deterministic=deterministic).latents

    @nn.nowrap
    def coarser(self, factor: int) -> tuple["Backbone", Callable[[Params], Params]]:
        """The same model for pictures of which `factor` x `factor` pixels are averaged into one.

        One layer alone has a size that hangs on the picture's, the dense code of the refinement network's pooled
        picture. A coarse pooled pixel stands for `factor` x `factor` fine ones, so it takes the sum of their weights.
        A pyramid keeps its maps and that layer, and leaves out its finest step at either end: the decoder makes the
        average of four pixels, in front of the sigmoid and the softmax, and the first patches see each pixel as four.
        There are as many times fewer pixels, so the KL counts as many times less, and keeps its balance.

        Source: our choice; objects are found in coarse pictures first, at a fraction of the cost (training diary).
        """
        config = self.config
        height, width = config.image_height, config.image_width
        if config.pyramid and (config.pyramid, factor) != (3, 2):
            raise ValueError(
                f"pictures of pyramid={config.pyramid} cannot be {factor} times coarser: only 3, by 2"
            )
        if factor < 1 or height % (POOL * factor) or width % (POOL * factor):
            raise ValueError(
                f"{height}x{width} pictures cannot be {factor} times coarser: {POOL} must divide both sides"
            )
        coarse = dataclasses.replace(
            config,
            image_height=height // factor,
            image_width=width // factor,
            pyramid=max(config.pyramid - 1, 0),
            kl_weight=config.kl_weight / factor**2,
        )

        def coarsen(params):
            refinement, decoder = params["refinement"], params["decoder"]
            if config.pyramid:
                refinement = refinement | {"conv_0": _sum_patch(refinement["conv_0"])}
                decoder = decoder | {"conv_3": _average_pixels_made(decoder["conv_3"])}
            else:
                refinement = refinement | {
                    "code": _sum_pixels(refinement["code"], code_picture(coarse), factor)
                }
            return params | {"refinement": refinement, "decoder": decoder}

        return self.clone(config=coarse), coarsen

    @nn.nowrap
    def adopt(self, params: Params, former: VideoModel) -> Params:
        """Takes the parameters of a model of other pictures, or with another number of slots, to start from.

        All layers but one work on neighbourhoods of pixels, or on slots, and fit as they are. The dense code of the
        refinement network takes for each place of its picture the weights of the place nearest to it in the former's,
        as if both were of one size. A slot too many starts as one of the former's does, but not as the background's.

        Source: our choice; small scenes of few objects are learned first, at a fraction of the cost (training diary).
        """
        if type(former) is not type(self):
            return params
        code, posterior = params["refinement"]["code"], params["initial_posterior"]
        sizes = code_picture(former.config), code_picture(self.config)
        if sizes[0] != sizes[1]:
            params = params | {"refinement": params["refinement"] | {"code": _nearest_pixels(code, *sizes)}}
        if posterior.ndim == 2 and len(posterior) != self.config.num_slots:
            others = np.arange(self.config.num_slots - 1) % (len(posterior) - 1)
            params = params | {"initial_posterior": posterior[np.append(0, 1 + others)]}
        return params

    @nn.nowrap
    def observed_latents(self, inference: Inference) -> Float[Array, "*b k l"]:
        """The latents from which training predicts, by `prediction_latents`."""
        return inference.posterior.mean if self.config.prediction_latents == "mean" else inference.latents

    def decode(self, latents: Float[Array, "*b k l"]) -> Decoded:
        """Decodes slots into their pictures, their masks, and the picture they make together."""
        inputs.check_latents(latents, (None, self.config.latent_size))
        return unfold_pictures(compose(*self.decoder(latents)), self.config)

    def initialize_parameters(self) -> None:
        """Runs each submodule once on zeros: `model.init(key, method="initialize_parameters")` needs no video.

        The usual `model.init(key, video, key)` gives the same parameters, after tracing the whole model.
        """
        config = self.config
        self.decoder(jnp.zeros((1, config.latent_size)))
        if config.features != "none":
            self.features(jnp.zeros((1, config.image_height, config.image_width, 3)))
        self.refinement(empty_inputs(config), self.refinement.initial_state((1, 1), jnp.float32))

    @nn.nowrap
    def draw_noise(
        self, keys: Key[Array, " b"], num_frames: int, dtype: jax.typing.DTypeLike = "float32"
    ) -> Float[Array, "r b t k l"]:
        """The noise of `infer`, each clip's from its own key."""
        return jax.vmap(lambda key: self._draw(key, (num_frames,), dtype), out_axes=1)(keys)

    @nn.nowrap
    def metrics(
        self, losses: Losses, inference: Inference, video: Float[Array, "b t h w 3"]
    ) -> dict[str, Float[Array, ""]]:
        """Losses and diagnostics by name."""
        decoded = inference.decoded
        return losses.by_name() | training_diagnostics(
            video, decoded.reconstruction, decoded.slot_masks, slot_kl(inference.posterior)
        )

    @nn.nowrap
    def look(
        self, params: Params, video: Video, keys: Keys, *, num_predicted: int = 0, num_observed: int = 2
    ) -> Seen:
        """The slots of every frame, and a rollout of the first ones where the model has one; see `VideoModel`."""
        video = self.check_clips(video, keys)
        if num_predicted:
            inputs.check_horizon(num_predicted, num_observed, video.shape[1])
        apply, noise = (
            partial(self.apply, {"params": params}),
            self.draw_noise(keys, video.shape[1], video.dtype),
        )
        inferred = apply(video, noise=noise, deterministic=not self.config.sample_at_test, method="infer")
        decoded = inferred.decoded
        seen = Seen(decoded.reconstruction, decoded.slot_rgb, decoded.slot_masks, inferred.latents)
        if not num_predicted or not hasattr(self, "rollout"):
            return seen
        # From the latents, so that the slots of the predicted frames are those of the last observed one.
        observed = inferred.latents[:, :num_observed]
        future = apply(observed, num_steps=num_predicted, method="rollout").decoded
        return seen._replace(predicted=future.reconstruction, predicted_masks=future.slot_masks)


def _sum_pixels(code: dict[str, Any], size: tuple[int, int], factor: int) -> dict[str, Any]:
    """The dense code of a picture of the given size, of that of one `factor` times as fine."""
    rows, columns = size
    inputs, outputs = code["kernel"].shape
    channels = inputs // (rows * columns * factor**2)
    kernel = code["kernel"].reshape(rows, factor, columns, factor, channels, outputs).sum((1, 3))
    return code | {"kernel": kernel.reshape(-1, outputs)}


def _nearest_pixels(code: dict[str, Any], size: tuple[int, int], wanted: tuple[int, int]) -> dict[str, Any]:
    """The dense code of a picture of the wanted size, of that of one of another size."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for m, n in zip(size, wanted))
    kernel = code["kernel"].reshape(*size, -1, code["kernel"].shape[-1])
    return code | {"kernel": kernel[rows][:, columns].reshape(-1, kernel.shape[-1])}


def _sum_patch(layer: dict[str, Any]) -> dict[str, Any]:
    """Patches of one pixel, of those of several."""
    return layer | {"kernel": layer["kernel"].sum((0, 1), keepdims=True)}


def _average_pixels_made(layer: dict[str, Any]) -> dict[str, Any]:
    """A convolution that makes one pixel, of one that makes four."""
    return jax.tree.map(lambda x: x.reshape(*x.shape[:-1], 4, -1).mean(-2), layer)


def as_function(module: nn.Module) -> Callable:
    """A bound submodule as a pure function of its inputs, for use under `jax.lax` control flow and `jax.vjp`."""
    unbound, variables = module.unbind()
    return lambda *inputs: unbound.apply(variables, *inputs)
