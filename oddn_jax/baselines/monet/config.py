"""MONetConfig."""

import dataclasses

from oddn_jax.fields import check_fields, check_sizes


@dataclasses.dataclass(kw_only=True, unsafe_hash=True)
class MONetConfig:
    """Architecture and objective of MONet.

    It was trained by RMSprop at 3e-5 (IODINE paper) to 1e-4 (MONet paper), with batches of 32 to 64 images.
    """

    image_height: int = 64  # pixels, a multiple of 2^(num_attention_blocks - 1)
    image_width: int = 64  # pixels, likewise
    num_slots: int = 8  # ALOE
    latent_size: int = 16  # per slot; MONet paper and ALOE
    attention_channels: int = 32  # of the fine blocks; the three coarsest have twice as many
    num_attention_blocks: int = 5  # on each path of the U-Net; MONet paper: 5 or 6
    attention_hidden_size: int = 128  # of the dense layers at the bottom of the U-Net
    component_channels: int = 32  # of the first two convolutions; the other two have twice as many
    component_hidden_size: int = 256
    background_scale: float = (
        0.09  # standard deviation of a colour value in the first slot; 0.06 in the IODINE paper
    )
    foreground_scale: float = 0.11  # in all other slots; 0.10 in the IODINE paper
    latent_kl_weight: float = 0.5  # beta
    mask_kl_weight: float = 0.5  # gamma
    compute_dtype: str = "float32"  # of the layers' products; parameters, masks and likelihood keep float32
    unroll: int = (
        0  # slots per iteration of the attention's loop; 0: all of them on the CPU, 1 on accelerators
    )

    def __post_init__(self):
        self.validate()

    def validate(self):
        """Checks the whole configuration.

        Raises:
          ValueError: a field is out of its range; the message names it, its value and what is allowed.
        """
        check_fields(self)
        check_sizes(self)
        dtypes = ("float32", "bfloat16", "float64")
        if self.compute_dtype not in dtypes:
            raise ValueError(f"compute_dtype={self.compute_dtype!r} is not one of {', '.join(dtypes)}")
        for field in dataclasses.fields(self):
            least = {"num_slots": 2, "unroll": 0}.get(field.name, 1)
            if field.type is int and getattr(self, field.name) < least:
                raise ValueError(f"{field.name}={getattr(self, field.name)} must be at least {least}")
        multiple = 2 ** (self.num_attention_blocks - 1)
        for name in ("image_height", "image_width"):
            if getattr(self, name) % multiple:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be a multiple of {multiple}: "
                    f"num_attention_blocks={self.num_attention_blocks} halve it"
                )
        for name in ("background_scale", "foreground_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        for name in ("latent_kl_weight", "mask_kl_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")
