"""SRVPConfig, and what is random in a clip of that model."""

import dataclasses
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from oddn_jax.baselines.srvp.coders import ENCODER_WIDTHS
from oddn_jax.fields import check_fields, check_sizes


@dataclasses.dataclass(kw_only=True, unsafe_hash=True)
class SRVPConfig:
    """Architecture and objective of SRVP.

    The ODDN paper gives no settings. The defaults are SRVP's own for BAIR, its only published recipe with colour and
    two frames of context: Adam at 3e-4, constant for 1,000,000 steps, then linear to 0 over 500,000, batch 192.
    """

    image_height: int = 64  # pixels, a multiple of 16
    image_width: int = 64  # pixels, a multiple of 16
    coder: str = "vgg"  # vgg or dcgan
    coder_channels: int = 64  # of the finest level
    use_skips: bool = True  # from one frame of the clip to all decoded ones
    code_size: int = 128  # of a frame
    state_size: int = 50  # y
    innovation_size: int = 50  # z, the random input of each step
    inference_size: int = 256  # content, LSTM, and the hidden layers for the first state
    num_inference_layers: int = 3
    dynamics_hidden_size: int = 512
    num_dynamics_layers: int = 4  # of the dynamics and of the prior
    residual_gain: float = 1.41  # of the orthogonal initialisation of the dynamics
    num_euler_steps: int = 2  # per frame
    num_inference_frames: int = 2  # that give the content and the first state
    observation_scale: float = 0.71  # standard deviation of a colour value
    initial_kl_weight: float = 1.0
    innovation_kl_weight: float = 1.0
    residual_weight: float = 1.0
    num_context_frames: int = 2  # observed frames at test time; ODDN paper 4.2
    num_rollout_steps: int = 6  # predicted frames at test time; ODDN paper 4.2
    compute_dtype: str = "float32"  # of the layers' products; parameters, state and likelihood keep float32

    def __post_init__(self):
        self.validate()

    def validate(self):
        """Checks the whole configuration.

        Raises:
          ValueError: a field is out of its range; the message names it, its value and what is allowed.
        """
        check_fields(self)
        check_sizes(self)
        choices = {"coder": tuple(ENCODER_WIDTHS), "compute_dtype": ("float32", "bfloat16", "float64")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(allowed)}")
        for name in ("image_height", "image_width"):
            if getattr(self, name) < 16 or getattr(self, name) % 16:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be a positive multiple of 16 (four halvings)"
                )
        for field in dataclasses.fields(self):
            if field.type is int and getattr(self, field.name) < 1:
                raise ValueError(f"{field.name}={getattr(self, field.name)} must be at least 1")
        if not self.num_inference_frames <= self.num_context_frames:
            raise ValueError(
                f"num_inference_frames={self.num_inference_frames} must not exceed "
                f"num_context_frames={self.num_context_frames}: prediction sees no other frames"
            )
        for name in ("observation_scale", "residual_gain"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        for name in ("initial_kl_weight", "innovation_kl_weight", "residual_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")


class SRVPNoise(NamedTuple):
    """All that is random in a clip."""

    initial: Float[Array, "*b y"]  # standard normal, of the first state
    innovations: Float[Array, "*b t-1 z"]  # standard normal, of the steps to the second and later frames
    skip_frame: Int[Array, "*b"]  # whose skip connections training uses
    content_frames: Int[Array, "*b n"]  # all different, from which training infers the content


def srvp_noise(
    config: SRVPConfig, key: PRNGKeyArray, num_frames: int, dtype: jax.typing.DTypeLike = "float32"
) -> SRVPNoise:
    """Draws what is random in one clip of so many frames; `jax.vmap` over keys makes a batch of it."""
    initial, innovations, skip, content = jax.random.split(key, 4)
    return SRVPNoise(
        jax.random.normal(initial, (config.state_size,), dtype),
        jax.random.normal(innovations, (num_frames - 1, config.innovation_size), dtype),
        jax.random.randint(skip, (), 0, num_frames),
        jax.random.permutation(content, num_frames)[: config.num_inference_frames],
    )
