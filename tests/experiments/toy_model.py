"""The model of docs/your_own_model.md: a convolution repaints each frame, and the last one stays."""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

import oddn_jax


@dataclasses.dataclass(unsafe_hash=True)
class ToyConfig:
    """Options of `Toy`; they can be given as --config.model.NAME."""

    image_height: int = 16
    image_width: int = 16
    window: int = 3


class Toy(oddn_jax.VideoModel):
    """Paints each frame anew."""

    Config = ToyConfig

    def setup(self):
        self.paint = nn.Conv(3, (self.config.window,) * 2)

    def initialize_parameters(self):
        self(jnp.zeros((1, 1, self.config.image_height, self.config.image_width, 3)))

    def __call__(self, video):
        return nn.sigmoid(self.paint(video))

    @nn.nowrap
    def loss(self, params, video, keys, *, train=True, axis_name=None):
        mse = ((self.apply({"params": params}, video) - video) ** 2).mean()
        return {"loss": mse, "mse": mse}, {}

    @nn.nowrap
    def look(self, params, video, keys, *, num_predicted=0, num_observed=2):
        seen = self.apply({"params": params}, video)
        last = seen[:, num_observed - 1 : num_observed]
        return oddn_jax.Seen(seen, predicted=jnp.repeat(last, num_predicted, 1) if num_predicted else None)
