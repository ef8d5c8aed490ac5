"""ODDNConfig: every architectural choice of the model in one place, each with its source.

Sources are the ODDN paper (ICLR 2022), the released code of its backbone (IODINE, the implementation whose parameter
count is the paper's Table 4), or "our choice" where neither settles a question.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from oddn_jax.fields import check_fields, check_sizes

NUM_FEATURES = 16  # channels of the image features, unless there are none

# The values that string fields accept.
CHOICES = {
    "features": ("none", "random", "imagenet"),
    "gradient_scale": ("per_sample", "per_batch"),
    "iteration_weights": ("linear", "uniform", "last"),
    "rollout_mode": ("redistill", "carry"),
    "prediction_latents": ("sample", "mean"),
    "distiller_init": ("random", "match"),
    "compute_dtype": ("float32", "bfloat16", "float64"),
    "remat": ("auto", "none", "step"),
}

# Options that earlier versions had, with the value that says what every model does now; and values that mean the same
# under another name. Run folders and exported files still name them.
FORMER_OPTIONS = {
    "num_attention_heads": 1,
    "qkv_bias": False,
    "attention_output_projection": False,
    "ffn_activation": "relu",
    "dynamics_norm_affine": True,
    "pair_embedding_bias": False,
    "pair_embedding_activation": "relu",
    "pair_attention_activation": "tanh",
    "dynamics_update_bias": True,
    "predictor_bias": False,
    "predictor_residual": False,
}
FORMER_VALUES = {"remat": {"everything": "step"}}


@dataclasses.dataclass(kw_only=True, unsafe_hash=True)
class ODDNConfig:
    """Architecture and objective of ODDN; the defaults are the paper's prediction model.

    Mutable so that a command line can override single fields. Do not change it once a module holds it.
    """

    # The picture.
    image_height: int = 64  # pixels, a multiple of 4, or of 8 with `pyramid` 3; paper A.3
    image_width: int = 64  # pixels, a multiple of the same; 64 (centre crop) or 96 (whole frame)

    # The backbone: iterative amortised inference (paper 3.1; IODINE).
    num_slots: int = 7  # K, paper A.3
    latent_size: int = 64  # L, paper A.3: 64 for prediction, 16 for reasoning
    num_refinement_steps: int = 5  # T decodes and T - 1 updates, paper A.3
    hidden_size: int = 128  # LSTM and the code in front of it; IODINE code
    convolution_channels: int = 64  # decoder and refinement network; IODINE code
    # 0: all convolutions at the size of the picture (the paper). 3, the cheap form: the decoder starts at an eighth of
    # it and doubles that three times, the refinement network goes down to a quarter by patches; our choice, as slot
    # models since have it (docs/diary/cheap_learning.md). 2: that for half the size, see `Backbone.coarser`.
    pyramid: int = 0
    # Added to the mask logits of the first slot, which becomes the background's: it wins wherever no other has a reason
    # to. Each slot then starts from a posterior of its own, and the background's is not refined: it paints what all
    # videos have in common, as those of a camera that stands still (our choice, training diary). 0: all are alike.
    background_slot: float = 0.0
    initial_posterior_range: float = (
        0.5  # learned initial posterior ~ U(-r, r); IODINE code (the paper prints U(0.5, 0.5))
    )
    kernel_gain: float = (
        1.0  # initial kernels in front of an ELU, over PyTorch's default; our choice: 2.2 keeps the signal's
        # variance through the layers, and the slots divide the scene many times sooner (training diary)
    )
    # All frames of a clip get the noise of the first, so that most objects keep their slot from frame to frame, and
    # their latents change with the object alone (our choice; the paper draws it for each frame; training diary).
    share_noise: bool = False
    # Decodings of each frame but a clip's first, whose slots then start from where those of the frame before ended:
    # objects keep their slots, and frames cost less (our choice, as in PROVIDE; training diary). 0: every frame starts
    # anew, with all T (the paper).
    num_tracking_steps: int = 0
    features: str = (
        "random"  # SqueezeNet channels for the refinement: none, random or imagenet weights; Table 4's count
    )
    freeze_features: bool = False  # the released code means to freeze them but trains them

    # The likelihood and the objective (Eq. 1, 5, 6).
    likelihood_variance: float = 0.3  # a variance, not a standard deviation; IODINE code
    nll_weight: float = (
        100.0  # beta; on the likelihood (paper A.3, Algorithm 1), not on the KL as Eq. 5 prints
    )
    kl_weight: float = 1.0
    iteration_weights: str = "linear"  # step t of T counts t/T; IODINE code
    gradient_scale: str = (
        "per_sample"  # per_batch divides the refinement gradients by the number of frames, as the code does
    )

    # Dynamics distillation (Eq. 7-9).
    dynamics_size: int = 4  # paper A.3
    scale_attention: bool = (
        True  # by 1/sqrt(head size); our choice: Eq. 7 prints none, its source (the Transformer) has it
    )
    attend_current: bool = (
        True  # Eq. 8: keys of both frames; False: of the previous frame only, as one sentence says
    )
    # What the attention starts from: "random" kernels, or "match": every slot finds the one most like it, and what is
    # left is by how much they differ (our choice; training diary).
    distiller_init: str = "random"
    ffn_hidden_size: int = 16  # with this width Table 4's count is met to the unit

    # Relation module (Eq. 10-13).
    use_relation: bool = True  # False: the paper's ablation "ODDN w/o relation"
    pair_embedding_size: int = 256
    pair_attention_size: int = 100
    pair_effect_size: int = 256

    # Prediction (Eq. 4, 6).
    rollout_mode: str = (
        "redistill"  # dynamics from the last two frames; "carry": the updated dynamics are the state
    )
    student_forcing_depth: int = 2  # steps predicted from every observed pair in training; 1 switches it off
    long_range_steps: int = 0  # ODDN-l (Table 3): 6, an additional rollout from the first two frames
    prediction_weight: float = 1.0
    # What predictions start from in training: the posterior's "sample", or its "mean", as at test time. Latents that
    # are not in use are pure noise in a sample, in which the distiller drowns (our choice; training diary).
    prediction_latents: str = "sample"
    nll_weight_on_prediction: bool = True  # beta also multiplies the prediction loss; the author's later code

    # Test time.
    sample_at_test: bool = False  # False: the posterior mean is the latent
    num_context_frames: int = 2  # observed frames; paper 4.2
    num_rollout_steps: int = 6  # predicted frames; paper 4.2

    # How it is computed. None of these changes what is computed, beyond rounding.
    compute_dtype: str = (
        "float32"  # of convolutions and dense layers; likelihood, KL, norms and parameters keep float32
    )
    # What the backward pass computes again instead of keeping it: "none", or each refinement "step", which takes a
    # fifth of the memory (docs/on_a_card.md). "auto": none on the CPU, step on accelerators.
    remat: str = "auto"
    unroll: int = 0  # refinement steps per loop iteration; 0: all of them on the CPU, 1 on accelerators

    def __post_init__(self):
        self.validate()

    @property
    def fold(self) -> int:
        """Pixels along each axis that the finest layers have side by side in one place; see `layers.fold`."""
        return 2 if self.pyramid == 3 else 1

    def validate(self):
        """Checks the whole configuration.

        Raises:
          ValueError: a field is out of its range; the message names it, its value and what is allowed.
        """
        check_fields(self)
        check_sizes(self)
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(allowed)}")
        if self.pyramid not in (0, 2, 3):
            raise ValueError(f"pyramid={self.pyramid} is not one of 0, 2, 3")
        smallest, why = 4, "the pooling window"
        if self.pyramid:
            smallest = 1 << self.pyramid
            why = f"pyramid={self.pyramid} doubles a map {smallest} times smaller"
        for name in ("image_height", "image_width"):
            if getattr(self, name) < smallest or getattr(self, name) % smallest:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be a positive multiple of {smallest} ({why})"
                )
        at_least_one = (
            "num_slots latent_size num_refinement_steps hidden_size convolution_channels dynamics_size "
            "ffn_hidden_size pair_embedding_size pair_attention_size pair_effect_size "
            "student_forcing_depth num_rollout_steps"
        )
        for name in at_least_one.split():
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.num_context_frames < 2:
            raise ValueError(
                f"num_context_frames={self.num_context_frames} must be at least 2: dynamics need two frames"
            )
        if self.num_tracking_steps and not 2 <= self.num_tracking_steps <= self.num_refinement_steps:
            raise ValueError(
                f"num_tracking_steps={self.num_tracking_steps} must be 0, or at least 2 (one update and a decoding of "
                f"it) and at most num_refinement_steps={self.num_refinement_steps}"
            )
        for name in ("likelihood_variance", "kernel_gain"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        for name in (
            "initial_posterior_range",
            "nll_weight",
            "kl_weight",
            "long_range_steps",
            "prediction_weight",
            "unroll",
            "background_slot",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")

    @classmethod
    def preset(cls, name: str, **overrides) -> "ODDNConfig":
        """Returns a named configuration.

        Args:
          name: "prediction" (paper: Tables 3-4, Figures 3-8), "reasoning" (Tables 1-2), or one of ours: "quickstart"
            (learns something on two CPU cores within minutes, on small simulated scenes) or "clevrer" (CLEVRER's own
            scenes, 64x64 with seven slots, within hours).
          **overrides: fields to change.

        Raises:
          ValueError: no preset has that name.
        """
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})


def without_former_options(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a model's config as an earlier version wrote them, in the names of this one.

    Args:
      kind: the config's dataclass; what is a field of it stays.
      values: by name.

    Raises:
      ValueError: an option that is gone had a value whose meaning is gone with it.
    """
    fields = {field.name for field in dataclasses.fields(kind)}
    kept = {}
    for name, value in values.items():
        if name in fields:
            known = FORMER_VALUES.get(name, {}) if issubclass(kind, ODDNConfig) else {}
            kept[name] = known.get(value, value) if isinstance(value, str) else value
        elif name not in FORMER_OPTIONS:
            kept[name] = value
        elif value != FORMER_OPTIONS[name]:
            raise ValueError(
                f"{name}={value!r} is an option of an earlier version: this one has only {FORMER_OPTIONS[name]!r}"
            )
    return kept


QUICKSTART = dict(
    image_height=32,
    image_width=32,
    num_slots=4,  # three objects and the background, as the paper's seven are six and it: no slot is left to split one
    num_refinement_steps=10,  # with fewer, objects are left to the background (training diary)
    num_tracking_steps=3,  # half the price of ten for each frame, and objects keep their slots (training diary)
    latent_size=8,
    hidden_size=64,
    convolution_channels=16,  # XLA:CPU runs 24 at a third of the speed of 16 or 32 (measured)
    pyramid=3,
    background_slot=3.0,  # with 1 the others take the floor too, with 6 the first paints everything (training diary)
    kernel_gain=2.2,
    features="none",
    likelihood_variance=0.03,  # with nll_weight the paper's weight of a squared error; divides the scene sooner
    nll_weight=10.0,
    kl_weight=4.0,  # a slot must be worth its nats, but not so many that it is not worth drawing well
    share_noise=True,
    prediction_latents="mean",
    attend_current=False,
    distiller_init="match",
    pair_embedding_size=64,
    pair_attention_size=32,
    pair_effect_size=64,
)
PRESETS = {
    "prediction": {},
    "reasoning": dict(latent_size=16, image_width=96),
    "quickstart": QUICKSTART,
    "clevrer": QUICKSTART
    | dict(
        image_height=64,
        image_width=64,
        num_slots=7,
        num_refinement_steps=12,
        # Six other slots and four times the floor: with 4 they take it, with a kl_weight of 12 two objects share a slot
        # (training diary).
        background_slot=5.0,
        kl_weight=6.0,
    ),
}
