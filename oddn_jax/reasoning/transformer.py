"""The transformer inside ALOE, with relative or with learned absolute positions."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import normal, variance_scaling
from jaxtyping import Array, Bool, Float

from oddn_jax.reasoning.config import ALOEConfig


class Transformer(nn.Module):
    """Layers of attention and feed-forward networks, each behind a LayerNorm; none comes after the last layer.

    All layers are one layer in a loop: one compilation, parameters stacked along their first axis.

    Source: ALOE; see `ALOEConfig.form` for what its two forms differ in.
    """

    config: ALOEConfig

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "*b n w"], is_key: Bool[Array, "*b n"], deterministic: bool
    ) -> Float[Array, "*b n w"]:
        """Returns the tokens after all layers; those without `is_key` are attended to by no other."""
        config = self.config
        num_tokens = tokens.shape[-2]
        distances = None
        if config.form == "relative":
            distances = sinusoids(jnp.arange(num_tokens - 1, -num_tokens, -1), config.width)
            distances = nn.Dropout(config.dropout)(distances, deterministic)
        else:
            tokens += self.param("positions", normal(0.02), (num_tokens, config.width), jnp.float32)
        layer = nn.remat(Layer, prevent_cse=False) if config.recompute else Layer
        layers = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            length=config.num_layers,
        )
        return layers(config, deterministic, name="layers")(tokens, is_key, distances)[0]


class Layer(nn.Module):
    """One layer of the transformer, in the form that `nn.scan` asks for."""

    config: ALOEConfig
    deterministic: bool

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "*b n w"],
        is_key: Bool[Array, "*b n"],
        distances: Float[Array, "p w"] | None,
    ) -> tuple[Float[Array, "*b n w"], None]:
        config = self.config
        dense = functools.partial(nn.Dense, dtype=config.compute_dtype, kernel_init=_initializer(config))
        dropout = nn.Dropout(config.dropout, deterministic=self.deterministic)
        norm = functools.partial(nn.LayerNorm, 1e-5)
        attended = Attention(config, self.deterministic, name="attention")(
            norm(name="attention_norm")(tokens), is_key, distances
        )
        tokens += dropout(attended).astype(tokens.dtype)
        hidden = jax.nn.relu(dense(config.hidden_size, name="hidden")(norm(name="feed_forward_norm")(tokens)))
        tokens += dropout(dense(config.width, name="output")(dropout(hidden))).astype(tokens.dtype)
        return tokens, None


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
    ) -> Float[Array, "*b n w"]:
        config = self.config
        dense = functools.partial(
            nn.Dense, config.width, dtype=config.compute_dtype, kernel_init=_initializer(config)
        )
        shape = (config.num_heads, config.head_size)

        def heads(name, x):
            return dense(use_bias=distances is None, name=name)(x).reshape(*x.shape[:-1], *shape)

        query, key, value = (heads(name, tokens) for name in ("query", "key", "value"))
        if distances is None:
            scores = jnp.einsum("...qhc,...khc->...hqk", query, key)
        else:
            content_bias = self.param("content_bias", nn.initializers.zeros, shape, jnp.float32).astype(
                query.dtype
            )
            distance_bias = self.param("distance_bias", nn.initializers.zeros, shape, jnp.float32).astype(
                query.dtype
            )
            scores = jnp.einsum("...qhc,...khc->...hqk", query + content_bias, key)
            position = heads("distance", distances)
            scores += align_distances(jnp.einsum("...qhc,phc->...hqp", query + distance_bias, position))
        scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32)) * config.head_size**-0.5
        scores = jnp.where(is_key[..., None, None, :], scores, jnp.finfo(scores.dtype).min)
        weights = nn.Dropout(config.dropout, deterministic=self.deterministic)(jax.nn.softmax(scores, -1))
        attended = jnp.einsum("...hqk,...khc->...qhc", weights.astype(value.dtype), value)
        return dense(name="output")(attended.reshape(tokens.shape))


def sinusoids(distance: Float[Array, " p"] | Array, size: int) -> Float[Array, "p {size}"]:
    """Sines, then cosines, of distances at wavelengths that grow from 2 pi to 10,000 times that.

    Source: Vaswani et al., Attention is all you need (2017), section 3.5, in the order of Transformer-XL.
    """
    frequency = 10_000.0 ** -(jnp.arange(0, size, 2) / size)
    angle = distance[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def align_distances(scores: Float[Array, "*b n p"]) -> Float[Array, "*b n n"]:
    """Turns scores by distance, from n - 1 down to 1 - n, into scores by key: entry [i, j] is that of distance i - j.

    One more column makes each row of the flat array begin one place later, which is the alignment.
    """
    n = scores.shape[-2]
    flat = jnp.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(0, 1)]).reshape(*scores.shape[:-2], -1)
    return flat[..., n - 1 : n - 1 + n * (2 * n - 1)].reshape(*scores.shape[:-2], n, 2 * n - 1)[..., :n]


def _initializer(config: ALOEConfig):
    """ALOE's scale falls with the depth; SlotFormer's is PyTorch's default."""
    if config.form == "relative":
        return variance_scaling(2 / config.num_layers**0.5, "fan_in", "truncated_normal")
    return variance_scaling(1 / 3, "fan_in", "uniform")
