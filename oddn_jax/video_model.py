"""VideoModel: what every program asks of a model of videos, whatever is inside."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from oddn_jax import inputs
from oddn_jax.metrics import largest_slot

# What the methods below take and give, and their overrides in every model.
Params = dict[str, Any]  # nested, by name
Video = Float[Array, "b t h w 3"]  # pixels in [0, 1]
Keys = Key[Array, " b"]  # one for each clip
Metrics = dict[str, Float[Array, ""]]  # by name


class Seen(NamedTuple):
    """What a model makes of some clips; None for what it does not have."""

    reconstruction: Float[Array, "b t h w 3"] | None = None
    slot_rgb: Float[Array, "b t k h w 3"] | None = None
    slot_masks: Float[Array, "b t k h w 1"] | None = None  # sum to 1 over k
    latents: Float[Array, "b t k l"] | None = None
    dynamics: Float[Array, "b t-1 k d"] | None = None  # of each frame but the first
    predicted: Float[Array, "b s h w 3"] | None = None  # the s frames after the observed ones
    predicted_masks: Float[Array, "b s k h w 1"] | None = None


def check_one_source(key: PRNGKeyArray | None, noise: Any) -> None:
    """Raises ValueError unless there is either a key to draw noise with, or the noise."""
    if (key is None) == (noise is None):
        raise ValueError("give either a key or noise, not both and not neither")


class VideoModel(nn.Module):
    """A model that can be trained, evaluated, drawn and exported by the programs.

    A subclass names the dataclass of its `config` as `Config`, and defines `loss` and `look`, and either
    `initialize_parameters`, which runs each of its layers once, or `initialize`. Its parameters are one tree: what Flax
    calls "params" at the top, and beside it each of its other `collections` under its own name. All methods below are
    pure functions of the unbound module:

        model, params = oddn_jax.load("model.safetensors")
        future = model.predict(params, video[:, :2], jax.random.key(0), num_steps=6)

    A video has pixels in [0, 1]. What sees it first refuses, in one line, another shape or type than it wants, no
    clips or frames, and, outside of `jit`, `vmap` and `grad`, pixels that are NaN or outside of [0, 1]. Inside of these
    a pixel has no value yet: a little outside of [0, 1] it is only explained worse; far outside, as those of 0 to 255
    are, likelihoods become 0 and what comes back is NaN or means nothing.

    Attributes:
      config: a hashable dataclass with `image_height` and `image_width`; a `validate` method is called before training.
      Config: its class.
      collections: Flax collections beside "params" that belong to a trained model, such as running averages. They are
        floating-point arrays; no gradient flows into them, `loss` says what they become.
    """

    config: Any
    Config: ClassVar[type]
    collections: ClassVar[tuple[str, ...]] = ()

    @property
    def num_context_frames(self) -> int:
        """Frames observed at test time; 2 (ODDN paper 4.2) unless configured."""
        return getattr(self.config, "num_context_frames", 2)

    @property
    def num_rollout_steps(self) -> int:
        """Frames predicted at test time; 6 (ODDN paper 4.2) unless configured."""
        return getattr(self.config, "num_rollout_steps", 6)

    @nn.nowrap
    def initialize(self, key: PRNGKeyArray) -> Params:
        """The parameters before the first step, all collections in one tree."""
        variables = self.initial_variables(key)
        return {**variables["params"], **{name: variables[name] for name in self.collections}}

    @nn.nowrap
    def initial_variables(self, key: PRNGKeyArray) -> dict[str, Params]:
        """The same by collection, compiled as one program: by itself JAX compiles one for each shape of a draw."""
        return jax.jit(self.init, static_argnames="method")(key, method="initialize_parameters")

    @nn.nowrap
    def check_frames(self, video: Float[Array, "*b h w 3"], fewest_axes: int = 3) -> Float[Array, "*b h w 3"]:
        """The same frames, once they are known to be such: of the configured size, with pixels in [0, 1].

        Raises:
          ValueError: they are not; see the class.
        """
        size = self.config.image_height, self.config.image_width
        return inputs.check_pixels(video, size, fewest_axes=fewest_axes)

    @nn.nowrap
    def check_clips(self, video: Video, keys: Keys | None = None) -> Video:
        """The same clips, checked as by `check_frames`, and that there is a key for each where keys are given."""
        video = self.check_frames(video, fewest_axes=5)
        if keys is not None and keys.shape[:1] != video.shape[:1]:
            raise ValueError(
                f"there are keys [{' '.join(map(str, keys.shape))}] for {video.shape[0]} clips: one each"
            )
        return video

    @nn.nowrap
    def to_variables(self, params: Params) -> dict[str, Params]:
        """The same tree as `apply` takes it; gradients flow into "params" alone."""
        others = {name: jax.lax.stop_gradient(params[name]) for name in self.collections}
        return {"params": {name: value for name, value in params.items() if name not in others}, **others}

    @nn.nowrap
    def loss(
        self, params: Params, video: Video, keys: Keys, *, train: bool = True, axis_name: str | None = None
    ) -> tuple[Metrics, Params]:
        """The objective of a batch.

        Args:
          params: of `initialize`.
          video: pixels in [0, 1].
          keys: one for each clip, so that its noise hangs neither on its place in the batch nor on the devices.
          train: False where only the numbers are wanted: nothing is then taken from the batch as a whole.
          axis_name: of the mapped axis, if any, over which a batch is shared by devices.

        Returns:
          Metrics by name, means over the batch, "loss" among them; and the collections as they are after this step.

        Raises:
          ValueError: the clips are not as the class says, or too short.
        """
        raise NotImplementedError

    @nn.nowrap
    def look(
        self, params: Params, video: Video, keys: Keys, *, num_predicted: int = 0, num_observed: int = 2
    ) -> Seen:
        """Looks at every frame once, and predicts from the first ones.

        Args:
          params: of `initialize`.
          video: pixels in [0, 1].
          keys: one for each clip.
          num_predicted: frames to predict; 0 for none.
          num_observed: the frames from which it predicts, which are the first.

        Raises:
          ValueError: the clips are not as the class says, or fewer than what is to be observed.
        """
        raise NotImplementedError

    @nn.nowrap
    def coarser(self, factor: int) -> tuple["VideoModel", Callable[[Params], Params]]:
        """The same model for pictures of which `factor` x `factor` pixels are averaged into one.

        Returns:
          The model, and the differentiable function that makes its parameters of this one's.

        Raises:
          ValueError: the model has no such form, or the pictures cannot be divided so.
        """
        raise ValueError(f"{type(self).__name__} has no form for coarser pictures")

    @nn.nowrap
    def adopt(self, params: Params, former: "VideoModel") -> Params:
        """Takes the parameters of another model to start from; as they are, where a system knows no better."""
        return params

    @nn.nowrap
    def _look(self, params: Params, video: Video, key: PRNGKeyArray) -> Seen:
        """`look` at clips that may be anything, each with its part of one key."""
        video = self.check_clips(video)
        return self.look(params, video, jax.random.split(key, len(video)))

    @nn.nowrap
    def reconstruct(
        self, params: Params, video: Video, key: PRNGKeyArray
    ) -> Float[Array, "b t h w 3"] | None:
        """The frames as the model sees them."""
        return self._look(params, video, key).reconstruction

    @nn.nowrap
    def segment(self, params: Params, video: Video, key: PRNGKeyArray) -> Int[Array, "b t h w"] | None:
        """The slot that each pixel belongs to, -1 where that is NaN; None for a model without slots."""
        masks = self._look(params, video, key).slot_masks
        return None if masks is None else largest_slot(masks)

    @nn.nowrap
    def latents(self, params: Params, video: Video, key: PRNGKeyArray) -> Float[Array, "b t k l"] | None:
        """The slots of each frame as vectors; None for a model without slots."""
        return self._look(params, video, key).latents

    @nn.nowrap
    def predict(
        self, params: Params, context: Video, key: PRNGKeyArray, num_steps: int
    ) -> Float[Array, "b s h w 3"]:
        """The frames after the context.

        Raises:
          ValueError: the model predicts no frames, or needs a longer context; `num_steps` is no number of frames.
        """
        context = self.check_clips(context)
        inputs.check_horizon(num_steps)
        keys = jax.random.split(key, len(context))
        seen = self.look(params, context, keys, num_predicted=num_steps, num_observed=context.shape[1])
        if seen.predicted is None:
            raise ValueError(f"{type(self).__name__} predicts no frames")
        return seen.predicted
