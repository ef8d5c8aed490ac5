"""The transformer inside ALOE, with relative or with learned absolute positions."""

import functools
import operator

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import normal, variance_scaling
from jaxtyping import Array, Bool, Float, Int

from oddn_jax.reasoning.config import ALOEConfig


class Transformer(nn.Module):
    """Layers of attention and feed-forward networks, each behind a LayerNorm; none comes after the last layer.

    All layers are one layer in a loop: one compilation, parameters stacked along their first axis.

    Source: ALOE; see `ALOEConfig.form` for what its two forms differ in.
    """

    config: ALOEConfig

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "*b n w"],
        is_key: Bool[Array, "*b n"],
        places: Int[Array, " n"],
        deterministic: bool,
        num_read: int | None = None,
    ) -> tuple[Float[Array, "*b q w"], Float[Array, "l *b n"]]:
        """Returns the tokens after all layers, and what the first of them attends to in each layer, which sums to 1.

        Tokens without `is_key` are attended to by no other.

        Args:
          places: of the tokens in a whole sequence, of which padding may have been left out; of learned positions.
          num_read: only so many of the first tokens are wanted, and the last layer computes no others; None: all.
        """
        config = self.config
        distances = None
        if config.form == "relative":
            num_tokens = tokens.shape[-2]
            distances = sinusoids(jnp.arange(num_tokens - 1, -num_tokens, -1), config.width)
            distances = Dropout(config.dropout, deterministic)(distances)
        else:
            shape = (config.sequence_length, config.width)
            tokens += self.param("positions", normal(0.02), shape, jnp.float32)[places]

        def initialize(key):
            layer = Layer(config, deterministic=True, parent=None)
            return layer.init(key, tokens, is_key, distances, None)["params"]

        params = self.param(
            "layers", lambda key: jax.vmap(initialize)(jax.random.split(key, config.num_layers))
        )
        dropping = not deterministic and config.dropout > 0
        keys = jax.random.split(self.make_rng("dropout"), config.num_layers) if dropping else None

        def run(num_read, tokens, params, key):
            layer = Layer(config, deterministic, parent=None)
            rngs = {} if key is None else {"dropout": key}
            return layer.apply({"params": params}, tokens, is_key, distances, num_read, rngs=rngs)

        if config.recompute:
            run = jax.checkpoint(run, prevent_cse=False, static_argnums=0)
        first, last = (jax.tree.map(operator.itemgetter(taken), (params, keys)) for taken in (slice(-1), -1))
        tokens, attention = jax.lax.scan(lambda tokens, of_layer: run(None, tokens, *of_layer), tokens, first)
        tokens, of_last = run(num_read, tokens, *last)
        return tokens, jnp.concatenate([attention, of_last[None]])


class Layer(nn.Module):
    """One layer of the transformer."""

    config: ALOEConfig
    deterministic: bool

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "*b n w"],
        is_key: Bool[Array, "*b n"],
        distances: Float[Array, "p w"] | None,
        num_read: int | None,
    ) -> tuple[Float[Array, "*b q w"], Float[Array, "*b n"]]:
        """Returns the first `num_read` tokens after this layer, or all, and what the first of them attends to."""
        config = self.config
        dense = functools.partial(nn.Dense, dtype=config.compute_dtype, kernel_init=_initializer(config))
        dropout = Dropout(config.dropout, self.deterministic)
        norm = functools.partial(nn.LayerNorm, 1e-5)
        attended, of_first = Attention(config, self.deterministic, name="attention")(
            norm(name="attention_norm")(tokens), is_key, distances, num_read
        )
        tokens = tokens[..., :num_read, :] + dropout(attended).astype(tokens.dtype)
        hidden = jax.nn.relu(dense(config.hidden_size, name="hidden")(norm(name="feed_forward_norm")(tokens)))
        added = dropout(dense(config.width, name="output")(dropout(hidden))).astype(tokens.dtype)
        return tokens + added, of_first


class Attention(nn.Module):
    """Self-attention of several heads.

    With relative positions a score is (q + u) k + (q + v) W r for the distance between the two tokens, forwards and
    backwards. The published code shifts as a causal Transformer-XL does but has no mask, so that later tokens get the
    scores of wrapped-around distances; we take the true ones, with the same parameters.

    Source: Dai et al., Transformer-XL (ACL 2019), section 3.3; scaling by the square root of the head size.
    """

    config: ALOEConfig
    deterministic: bool

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "*b n w"],
        is_key: Bool[Array, "*b n"],
        distances: Float[Array, "p w"] | None,
        num_read: int | None = None,
    ) -> tuple[Float[Array, "*b q w"], Float[Array, "*b n"]]:
        """Returns what the first `num_read` tokens, or all, read, and how much the first attends to each token: the
        mean of the heads, before dropout."""
        config = self.config
        dense = functools.partial(
            nn.Dense, config.width, dtype=config.compute_dtype, kernel_init=_initializer(config)
        )
        shape = (config.num_heads, config.head_size)

        def heads(name, x):
            return dense(use_bias=distances is None, name=name)(x).reshape(*x.shape[:-1], *shape)

        readers = tokens[..., :num_read, :]
        query, key, value = heads("query", readers), heads("key", tokens), heads("value", tokens)
        scale = config.head_size**-0.5
        if distances is None:
            scores = jnp.einsum("...qhc,...khc->...hqk", scale * query, key)
        else:
            content_bias, distance_bias = (
                self.param(f"{name}_bias", nn.initializers.zeros, shape, jnp.float32).astype(query.dtype)
                for name in ("content", "distance")
            )
            scores = jnp.einsum("...qhc,...khc->...hqk", scale * (query + content_bias), key)
            by_distance = jnp.einsum(
                "...qhc,phc->...hqp", scale * (query + distance_bias), heads("distance", distances)
            )
            scores += align_distances(by_distance)
        scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
        scores += jnp.where(is_key, 0, jnp.finfo(scores.dtype).min)[..., None, None, :]
        # Softmax, whose sum divides what was attended to: n numbers for each of n tokens are passed over less often.
        weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
        total = jnp.swapaxes(weights.sum(-1), -1, -2)[..., None]
        of_first = (weights[..., 0, :] / total[..., 0, :, :]).mean(-2)
        weights = Dropout(config.dropout, self.deterministic)(weights)
        attended = jnp.einsum("...hqk,...khc->...qhc", weights.astype(value.dtype), value)
        attended = (attended / total).astype(value.dtype)
        return dense(name="output")(attended.reshape(readers.shape)), of_first


class Dropout(nn.Module):
    """Each number is zero with probability `rate`, rounded to 1/65,536; the others grow to keep the mean.

    `flax.linen.Dropout` draws 32 bits for each number, which takes two fifths of a training step on one core. Here two
    numbers share such a draw.
    """

    rate: float
    deterministic: bool

    @nn.compact
    def __call__(self, x: Float[Array, "*b"]) -> Float[Array, "*b"]:
        dropped = min(round(self.rate * 2**16), 2**16 - 1)
        if self.deterministic or not dropped:
            return x
        bits = jax.random.bits(self.make_rng("dropout"), (-(-x.size // 2),), jnp.uint32)
        bits = jax.lax.bitcast_convert_type(bits, jnp.uint16).reshape(-1)[: x.size].reshape(x.shape)
        return jnp.where(bits >= dropped, x * (2**16 / (2**16 - dropped)), 0)


def sinusoids(distance: Float[Array, " p"] | Array, size: int) -> Float[Array, "p {size}"]:
    """Sines, then cosines, of distances at wavelengths that grow from 2 pi to 10,000 times that.

    Source: Vaswani et al., Attention is all you need (2017), section 3.5, in the order of Transformer-XL.
    """
    frequency = 10_000.0 ** -(jnp.arange(0, size, 2) / size)
    angle = distance[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def align_distances(scores: Float[Array, "*b q p"]) -> Float[Array, "*b q n"]:
    """Turns scores by distance, from n - 1 down to 1 - n, into scores by key: entry [i, j] is that of distance i - j.

    One more column makes each row of the flat array begin one place later, which is the alignment.
    """
    rows, p = scores.shape[-2:]
    n = (p + 1) // 2
    flat = jnp.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(0, 1)]).reshape(*scores.shape[:-2], -1)
    flat = jnp.pad(flat, [(0, 0)] * (flat.ndim - 1) + [(0, n - 1)])  # few rows are shorter than the shift
    return flat[..., n - 1 : n - 1 + rows * p].reshape(*scores.shape)[..., :n]


def _initializer(config: ALOEConfig):
    """ALOE's scale falls with the depth; SlotFormer's is PyTorch's default."""
    if config.form == "relative":
        return variance_scaling(2 / config.num_layers**0.5, "fan_in", "truncated_normal")
    return variance_scaling(1 / 3, "fan_in", "uniform")
