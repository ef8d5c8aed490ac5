"""ALOEConfig: every architectural choice of the question answering model, each with its source."""

import dataclasses

from oddn_jax.fields import check_fields, check_sizes

# Sources are the published ALOE (Ding et al., Attention over learned object embeddings enables complex visual
# reasoning, NeurIPS 2021) and its smaller re-implementation in SlotFormer (Wu et al., ICLR 2023).
CHOICES = {
    "form": ("relative", "absolute"),
    "compute_dtype": ("float32", "bfloat16", "float64"),
}


@dataclasses.dataclass(kw_only=True, unsafe_hash=True)
class ALOEConfig:
    """Architecture of ALOE; the defaults are SlotFormer's twelve layers on the paper's features of ODDN.

    Mutable so that a command line can override single fields. Do not change it once a module holds it.
    """

    # What is seen of a video.
    feature_size: int = 20  # numbers per slot; ODDN paper, section 4.3: 16 latents and 4 dynamics
    num_slots: int = 7  # paper A.3
    num_frames: int = 25  # ALOE: 25 of CLEVRER's 128 frames
    background_slot: bool = False  # the first slot is the background's and stays the first; our choice

    # "relative": ALOE's own: Transformer-XL's relative positions, one input layer with ReLU for all tokens, text before
    # slots, padding is a word. "absolute": SlotFormer's: learned positions, an input layer per modality, slots before
    # text, padding is not attended to.
    form: str = "absolute"
    num_layers: int = 12
    num_heads: int = 8
    head_size: int = 18
    hidden_size: int = 512  # of each layer's feed-forward network
    word_size: int = 14  # of the word embedding
    head_hidden_size: int = 128  # of the two networks that read the first token
    # Of a network of two hidden layers that reads each slot before the input layer, in the "absolute" form; 0: there is
    # none, as published. Our choice: what slots say of their objects is there for such a network, not for a linear map.
    slot_hidden_size: int = 0
    dropout: float = 0.1  # of attention, feed-forward and residual branches; in "relative" of positions too

    # ALOE's self-supervision: slots are hidden and predicted. The ODDN paper's rows do without.
    predict_hidden_slots: bool = False

    # How it is computed.
    compute_dtype: str = (
        "float32"  # of dense layers and attention; norms, softmax and parameters keep float32
    )
    recompute: bool = False  # the backward pass computes each layer again: memory for a third more time

    def __post_init__(self):
        self.validate()

    @property
    def width(self) -> int:
        """Size of a token inside the transformer."""
        return self.num_heads * self.head_size

    @property
    def sequence_length(self) -> int:
        """Tokens: one to read the answer from, 20 of the question, 12 of the choice, and the slots of all frames."""
        return 1 + 20 + 12 + self.num_frames * self.num_slots

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
        at_least_one = (
            "feature_size num_slots num_frames num_layers num_heads head_size hidden_size word_size "
            "head_hidden_size"
        )
        for name in at_least_one.split():
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.slot_hidden_size < 0:
            raise ValueError(f"slot_hidden_size={self.slot_hidden_size} must be at least 0, for none")
        if self.slot_hidden_size and self.form == "relative":
            raise ValueError(
                f"slot_hidden_size={self.slot_hidden_size} must be 0 in the relative form: words and slots share one "
                "input layer"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be at least 0 and below 1")
        if self.form == "relative":
            if self.width % 2:
                raise ValueError(
                    f"num_heads * head_size = {self.width} must be even: half of the positions' numbers are sines"
                )
            if self.word_size != self.feature_size - 2:
                raise ValueError(
                    f"word_size={self.word_size} must be feature_size - 2 = {self.feature_size - 2}: "
                    "words and slots share one input layer"
                )

    @classmethod
    def preset(cls, name: str, feature_size: int = 20, **overrides) -> "ALOEConfig":
        """Returns a named configuration for slots of `feature_size` numbers.

        Args:
          name: "official" (28 layers, relative positions), "slotformer" (12 layers) or "quickstart" (ours: learns
            something on two CPU cores within minutes).
          **overrides: fields to change.

        Raises:
          ValueError: no preset has that name.
        """
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
        fields = dict(PRESETS[name], feature_size=feature_size)
        if name == "official":  # words, slots and heads are as wide as the slots are
            fields |= dict(word_size=feature_size - 2, head_size=feature_size + 2)
        return cls(**{**fields, **overrides})


PRESETS = {
    "official": dict(form="relative", num_layers=28, num_heads=10, hidden_size=1024),
    "slotformer": {},
    "quickstart": dict(
        num_layers=4, num_heads=4, head_size=16, hidden_size=128, head_hidden_size=64, dropout=0.0
    ),
}
