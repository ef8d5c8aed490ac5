"""SRVP: stochastic latent residual video prediction, the paper's prediction baseline without objects."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, PRNGKeyArray

from oddn_jax import inputs
from oddn_jax.backbone import as_function
from oddn_jax.baselines.srvp.coders import Decoder, Encoder
from oddn_jax.baselines.srvp.config import SRVPConfig, SRVPNoise, srvp_noise
from oddn_jax.baselines.srvp.losses import SRVPOutputs, SRVPRollout, srvp_losses
from oddn_jax.baselines.srvp.states import MLP, Gaussian, draw, euler_steps, gaussian
from oddn_jax.layers import dense
from oddn_jax.metrics import training_diagnostics
from oddn_jax.refinement import LSTMCell, RefinementState
from oddn_jax.video_model import Keys, Metrics, Params, Seen, Video, VideoModel, check_one_source


class SRVP(VideoModel):
    """A state that moves by residual steps under random innovations, and a content that stays.

    Batch normalisation keeps running averages in the collection "batch_stats" beside "params":

        variables = model.init(key, method="initialize_parameters")
        outputs, changed = model.apply(variables, video, key, train=True, mutable=["batch_stats"])
        rollout = model.apply(variables | changed, video[:, :2], key, num_steps=6, method="rollout")

    Under data parallelism give `axis_name`: then the statistics of a batch, and with them the running averages, are
    averaged over the devices, as SRVP's code does, and agree on all of them. Without it each device has its own.

    Source: Franceschi et al., Stochastic Latent Residual Video Prediction, ICML 2020, and its code.

    Attributes:
      config: `SRVPConfig`.
      axis_name: of the mapped axis ("data") over which training averages batch statistics.
    """

    config: SRVPConfig
    Config = SRVPConfig
    collections = ("batch_stats",)
    axis_name: str | None = None

    def setup(self):
        config, dtype = self.config, self.config.compute_dtype
        coder = (config.coder, config.coder_channels)
        shared = {"dtype": dtype, "axis_name": self.axis_name}
        self.encoder = Encoder(*coder, config.code_size, **shared)
        self.decoder = Decoder(*coder, config.image_height, config.image_width, **shared)
        code, state, size = config.code_size, config.state_size, config.inference_size
        self.content = [dense(code, size, dtype=dtype), dense(size, size, dtype=dtype)]
        hidden = (size,) * (config.num_inference_layers - 1)
        self.initial = MLP((config.num_inference_frames * code, *hidden, 2 * state), dtype=dtype)
        self.lstm = LSTMCell(code, size, dtype)
        self.posterior = dense(size, 2 * config.innovation_size, dtype=dtype)
        hidden = (config.dynamics_hidden_size,) * (config.num_dynamics_layers - 1)
        self.prior = MLP((state, *hidden, 2 * config.innovation_size), dtype=dtype)
        self.dynamics = MLP(
            (state + config.innovation_size, *hidden, state), config.residual_gain, dtype=dtype
        )

    def initialize_parameters(self) -> None:
        """Runs each submodule once on zeros: `model.init(key, method="initialize_parameters")` needs no video."""
        config = self.config
        video = jnp.zeros((1, config.num_inference_frames, config.image_height, config.image_width, 3))
        codes, skips = self.encode(video)
        self.infer_initial_state(codes)
        self.lstm(codes[:, 0], RefinementState(*jnp.zeros((2, 1, config.inference_size))))
        self.posterior(jnp.zeros((1, config.inference_size)))
        states = jnp.zeros((1, 1, config.state_size))
        self.prior(states)
        self.advance(states, jnp.zeros((1, 1, config.innovation_size)))
        self.decode(self.infer_content(codes), states, [skip[:, 0] for skip in skips])

    def encode(
        self, video: Float[Array, "b t h w 3"], *, train: bool = False
    ) -> tuple[Float[Array, "b t c"], list[Float[Array, "b t _ _ _"]]]:
        """The code of each frame, and its skip connections from coarse to fine."""
        video = self.check_clips(video)
        codes, skips = self.encoder(video.reshape(-1, *video.shape[2:]), train)
        codes, *skips = (x.reshape(*video.shape[:2], *x.shape[1:]) for x in (codes, *skips))
        return codes, skips

    def decode(
        self,
        content: Float[Array, "b m"],
        states: Float[Array, "b t y"],
        skips: list[Float[Array, "b _ _ _"]],
        *,
        train: bool = False,
    ) -> Float[Array, "b t h w 3"]:
        """The frame of each state, with pixels in (0, 1); content and skip connections are those of the clip."""
        batch, num_frames = states.shape[:2]

        def for_each_frame(x):
            return jnp.broadcast_to(x[:, None], (batch, num_frames, *x.shape[1:])).reshape(-1, *x.shape[1:])

        codes = jnp.concatenate([for_each_frame(content), states.reshape(-1, states.shape[-1])], -1)
        skips = tuple(for_each_frame(skip) for skip in skips) if self.config.use_skips else ()
        frames = self.decoder(codes, skips, train)
        return frames.reshape(batch, num_frames, *frames.shape[1:])

    def infer_content(self, codes: Float[Array, "b n c"]) -> Float[Array, "b m"]:
        """What stays the same, from a few frames in any order."""
        features = jax.nn.relu(self.content[0](codes)).sum(-2)
        return jnp.tanh(self.content[1](features).astype(codes.dtype))

    def infer_initial_state(self, codes: Float[Array, "b t c"]) -> Gaussian:
        """Posterior of the first frame's state, given the first few frames."""
        first = codes[:, : self.config.num_inference_frames]
        return gaussian(self.initial(first.reshape(first.shape[0], -1)))

    def infer_innovations(self, codes: Float[Array, "b t c"]) -> Gaussian:
        """Posteriors of the innovations of the second and later frames, each given all frames up to its own."""
        cell = as_function(self.lstm)

        def step(state, code):
            state = cell(code, state)
            return state, state.hidden

        zeros = jnp.zeros((codes.shape[0], self.config.inference_size))
        _, hidden = jax.lax.scan(step, RefinementState(zeros, zeros), jnp.moveaxis(codes, 1, 0))
        return gaussian(self.posterior(jnp.moveaxis(hidden, 0, 1)[:, 1:]))

    def advance(
        self, state: Float[Array, "*b y"], innovation: Float[Array, "*b z"]
    ) -> tuple[Float[Array, "*b y"], Float[Array, "*b e y"]]:
        """The next frame's state, and what each Euler step added; see `euler_steps`."""
        return euler_steps(self.dynamics, state, innovation, self.config.num_euler_steps)

    def generate(
        self, initial: Float[Array, "b y"], innovations: Float[Array, "b n z"]
    ) -> tuple[Float[Array, "b n+1 y"], Float[Array, "b n e y"]]:
        """The states from the first on, and what each Euler step added, for given innovations."""
        dynamics = as_function(self.dynamics)

        def step(state, innovation):
            state, residuals = euler_steps(dynamics, state, innovation, self.config.num_euler_steps)
            return state, (state, residuals)

        _, (states, residuals) = jax.lax.scan(step, initial, jnp.moveaxis(innovations, 1, 0))
        states = jnp.concatenate([initial[None], states])
        return jnp.moveaxis(states, 0, 1), jnp.moveaxis(residuals, 0, 1)

    def __call__(
        self,
        video: Float[Array, "b t h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        noise: SRVPNoise | None = None,
        train: bool = False,
    ) -> SRVPOutputs:
        """Explains a clip, all of whose frames are seen.

        Args:
          video: pixels in [0, 1].
          key: for the samples and, in training, for the choice of frames.
          noise: of the batch, instead of the key; see `srvp_noise`.
          train: normalise by the batch (which needs `mutable=["batch_stats"]`), and take content and skip connections
            from random frames of the clip instead of the last ones.

        Raises:
          ValueError: the clips are not as `VideoModel` says, or have fewer than two frames or than
            `num_inference_frames`, or neither or both of key and noise are given.
        """
        config, video = self.config, self.check_clips(video)
        batch, num_frames = video.shape[:2]
        noise = self._check(video, key, noise, num_frames)
        if self.is_initializing():
            self.initialize_parameters()
        codes, skips = self.encode(video, train=train)
        if train:
            content_frames, skip_frame = noise.content_frames, noise.skip_frame
        else:
            first = num_frames - config.num_inference_frames
            content_frames = jnp.broadcast_to(jnp.arange(first, num_frames), noise.content_frames.shape)
            skip_frame = jnp.full(batch, num_frames - 1)
        clips = jnp.arange(batch)
        content = self.infer_content(codes[clips[:, None], content_frames])
        skips = [skip[clips, skip_frame] for skip in skips]

        initial, posterior = self.infer_initial_state(codes), self.infer_innovations(codes)
        states, residuals = self.generate(
            draw(initial, noise.initial), draw(posterior, noise.innovations[:, : num_frames - 1])
        )
        prior = gaussian(self.prior(states[:, :-1]))
        reconstruction = self.decode(content, states, skips, train=train)
        squared_error = ((reconstruction - video) ** 2).mean((-3, -2, -1))
        scale, num_values = config.observation_scale, math.prod(video.shape[2:])
        normalizer = math.log(scale) + 0.5 * math.log(2 * math.pi)
        nll = num_values * (squared_error / (2 * scale**2) + normalizer)
        return SRVPOutputs(
            initial, posterior, prior, states, residuals, content, reconstruction, nll, squared_error
        )

    def rollout(
        self,
        context: Float[Array, "b t h w 3"],
        key: PRNGKeyArray | None = None,
        *,
        num_steps: int,
        noise: SRVPNoise | None = None,
    ) -> SRVPRollout:
        """Predicts the frames after the context, one sample of them; innovations after the context are the prior's.

        Args:
          context: pixels in [0, 1].
          key: for the samples; another key gives another future.
          num_steps: frames to predict.
          noise: of the context's and the predicted frames, instead of the key.

        Raises:
          ValueError: as `__call__`.
        """
        inputs.check_horizon(num_steps)
        context = self.check_clips(context)
        num_frames = context.shape[1]
        noise = self._check(context, key, noise, num_frames + num_steps)
        codes, skips = self.encode(context)
        content = self.infer_content(codes[:, -self.config.num_inference_frames :])
        initial, posterior = self.infer_initial_state(codes), self.infer_innovations(codes)
        innovations = draw(posterior, noise.innovations[:, : num_frames - 1])
        observed, _ = self.generate(draw(initial, noise.initial), innovations)
        prior, dynamics = as_function(self.prior), as_function(self.dynamics)

        def step(state, noise):
            innovation = draw(gaussian(prior(state)), noise)
            state, _ = euler_steps(dynamics, state, innovation, self.config.num_euler_steps)
            return state, state

        future = noise.innovations[:, num_frames - 1 : num_frames - 1 + num_steps]
        _, states = jax.lax.scan(step, observed[:, -1], jnp.moveaxis(future, 1, 0))
        states = jnp.moveaxis(states, 0, 1)
        return SRVPRollout(states, self.decode(content, states, [skip[:, -1] for skip in skips]))

    def _check(
        self, video: Array, key: PRNGKeyArray | None, noise: SRVPNoise | None, num_frames: int
    ) -> SRVPNoise:
        """Checks the arguments of `__call__` and `rollout`, and draws the noise unless it is given."""
        config = self.config
        fewest = max(2, config.num_inference_frames)
        if video.shape[1] < fewest:
            raise ValueError(f"SRVP needs at least {fewest} frames, the clip has {video.shape[1]}")
        check_one_source(key, noise)
        if noise is None:
            return self._draw_noise(jax.random.split(key, video.shape[0]), num_frames, video.dtype)
        inputs.check_latents(noise.initial, (video.shape[0], config.state_size), "noise.initial")
        drawn = noise.innovations[:, : num_frames - 1]
        inputs.check_latents(
            drawn, (video.shape[0], num_frames - 1, config.innovation_size), "noise.innovations"
        )
        return noise

    @nn.nowrap
    def loss(
        self, params: Params, video: Video, keys: Keys, *, train: bool = True, axis_name: str | None = None
    ) -> tuple[Metrics, Params]:
        """SRVP's bound and penalty, and its running averages after this step; see `VideoModel`."""
        video = self.check_clips(video, keys)
        model, variables = self.clone(axis_name=axis_name), self.to_variables(params)
        noise = self._draw_noise(keys, video.shape[1], video.dtype)
        outputs, changed = model.apply(variables, video, noise=noise, train=train, mutable=["batch_stats"])
        named = srvp_losses(outputs, self.config).by_name() | training_diagnostics(
            video, outputs.reconstruction
        )
        return named, changed if train else {}

    @nn.nowrap
    def look(
        self, params: Params, video: Video, keys: Keys, *, num_predicted: int = 0, num_observed: int = 2
    ) -> Seen:
        """Every frame, explained by the whole clip, and one sample of what follows the first ones; see `VideoModel`."""
        video = self.check_clips(video, keys)
        apply = partial(self.apply, self.to_variables(params))
        outputs = apply(video, noise=self._draw_noise(keys, video.shape[1], video.dtype))
        seen = Seen(outputs.reconstruction)
        if not num_predicted:
            return seen
        inputs.check_horizon(num_predicted, num_observed, video.shape[1])
        noise = self._draw_noise(keys, num_observed + num_predicted, video.dtype)
        context = video[:, :num_observed]
        future = apply(context, noise=noise, num_steps=num_predicted, method="rollout")
        return seen._replace(predicted=future.video)

    @nn.nowrap
    def _draw_noise(self, keys: Key[Array, " b"], num_frames: int, dtype: jax.typing.DTypeLike) -> SRVPNoise:
        return jax.vmap(lambda key: srvp_noise(self.config, key, num_frames, dtype))(keys)
