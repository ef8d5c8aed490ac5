"""What PROVIDE adds to the backbone's networks so that they remember the frames before: memory, prior, decoder."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from oddn_jax.config import ODDNConfig
from oddn_jax.decoder import SpatialBroadcastDecoder
from oddn_jax.distributions import Posterior
from oddn_jax.layers import dense
from oddn_jax.refinement import RefinementInputs, RefinementNetwork, RefinementState


class LSTM2DCell(nn.Module):
    """An LSTM cell with two memories, one along the refinement steps and one along the frames, that share its gates.

    Source: Bahar et al., Towards two-dimensional sequence to sequence model in neural machine translation, 2018; order
    of the gates and the three biases as PROVIDE's code, whose count is Table 4's.
    """

    inputs: int
    hidden: int
    dtype: str

    def setup(self):
        gates = 5 * self.hidden
        self.input = dense(self.inputs, gates, dtype=self.dtype)
        self.along_frames = dense(self.hidden, gates, dtype=self.dtype)
        self.along_steps = dense(self.hidden, gates, dtype=self.dtype)

    def __call__(self, x: Float[Array, "*b v"], states: RefinementState) -> RefinementState:
        """Returns the next state.

        Args:
          x: the input.
          states: both memories side by side [*b 2*m]: of the step before, then of the frame before.
        """
        step_hidden, frame_hidden = jnp.split(states.hidden, 2, -1)
        step_cell, frame_cell = jnp.split(states.cell, 2, -1)
        gates = self.input(x) + self.along_frames(frame_hidden) + self.along_steps(step_hidden)
        update, forget, output, mixing, candidate = jnp.split(gates.astype(step_cell.dtype), 5, -1)
        mixing = jax.nn.sigmoid(mixing)
        memory = mixing * frame_cell + (1 - mixing) * step_cell
        cell = jax.nn.sigmoid(forget) * memory + jax.nn.sigmoid(update) * jnp.tanh(candidate)
        return RefinementState(jax.nn.sigmoid(output) * jnp.tanh(cell), cell)


class TemporalRefinementNetwork(RefinementNetwork):
    """The backbone's refinement network around a cell that also sees the memory of the frame before.

    Source: PROVIDE's code.
    """

    lstm_type = LSTM2DCell

    def __call__(
        self, inputs: RefinementInputs, state: RefinementState, memory: RefinementState
    ) -> tuple[Posterior, RefinementState]:
        """Returns the change of the posterior's mean and log-variance, and the next state.

        Args:
          inputs: what the network sees of one step.
          state: after the refinement step before, zero in front of a frame's first.
          memory: after the last step of the frame before, zero in front of a clip's first.
        """
        side_by_side = jax.tree.map(lambda *pair: jnp.concatenate(pair, -1), state, memory)
        return super().__call__(inputs, side_by_side)


class ConditionalPrior(nn.Module):
    """The Gaussian in which a frame's latents are expected, given the memory of the frames before.

    Its log-variance goes through a softplus, so that its variance is above 1: a quirk of PROVIDE's code that is
    kept, because it was trained with it.

    Source: PROVIDE's code.
    """

    config: ODDNConfig

    def setup(self):
        config = self.config
        hidden, dtype = config.hidden_size, config.compute_dtype
        self.hidden = dense(hidden, hidden, dtype=dtype)
        self.mean = dense(hidden, config.latent_size, dtype=dtype)
        self.log_variance = dense(hidden, config.latent_size, dtype=dtype)

    def __call__(self, memory: Float[Array, "*b k m"]) -> Posterior:
        """Returns mean and log-variance of each slot's prior."""
        x = jax.nn.relu(self.hidden(memory))
        mean, log_variance = (layer(x).astype(memory.dtype) for layer in (self.mean, self.log_variance))
        return Posterior(mean, jax.nn.softplus(log_variance))


class ConditionalDecoder(SpatialBroadcastDecoder):
    """The backbone's decoder behind two dense layers that mix the latents with the memory of the frames before.

    Source: PROVIDE's code.
    """

    def setup(self):
        super().setup()
        size, dtype = self.config.latent_size, self.config.compute_dtype
        self.condition = [
            dense(size + self.config.hidden_size, size, dtype=dtype),
            dense(size, size, dtype=dtype),
        ]

    def __call__(
        self, latents: Float[Array, "*b k l"], memory: Float[Array, "*b k m"]
    ) -> tuple[Float[Array, "*b k h w 3"], Float[Array, "*b k h w 1"]]:
        """Returns the slots' mean colours in (0, 1) and their mask logits."""
        x = jnp.concatenate([latents, memory], -1)
        for layer in self.condition:
            x = jax.nn.elu(layer(x))
        return super().__call__(x.astype(latents.dtype))
