"""Every option of training a question answering model; the model's own are in `oddn_jax.reasoning.config`."""

from dataclasses import dataclass, field

from oddn_jax.reasoning import ALOEConfig

# No `from __future__ import annotations` here: ml_collections reads the field types to parse command-line overrides.


@dataclass(kw_only=True)
class VQAConfig:
    """One run: which questions about which videos, what is seen of these, and how the reasoner learns.

    Source: Adam without clipping or decay, peak rate 1e-3 with a warm-up and a cosine to a hundredth, 256 questions a
    step and 240,000 steps are SlotFormer's for ALOE; ALOE's own settings are unpublished.
    """

    # The model; its feature_size, num_slots and num_frames follow from the features.
    model: ALOEConfig = field(default_factory=lambda: ALOEConfig.preset("slotformer"))
    workdir: str = "runs/vqa"
    # A reasoner that was trained on the true objects, to begin with: a run folder, a file or the name of a bundled one;
    # "" begins from scratch.
    taught_by: str = ""
    seed: int = 0  # initial parameters, dropout, order of questions, frames and slots

    videos: str = "clevrer/64x96"  # NAME/CONFIG of data_pipelines, as for pre-training
    questions: str = "clevrer_qa/questions"  # likewise
    data_dir: str = "data"  # where built data sets lie
    valid_split: str = "validation"
    submission_split: str = ""  # of submission.json, CLEVRER's is "test"; empty: valid_split

    # "both", "latents", "dynamics": of the model below. "truth": position, velocity and attributes of the simulator's
    # or the annotations' objects. "blind": nothing is seen of the videos.
    features: str = "both"
    features_of: str = "runs/reasoning"  # a run folder, an exported file or the name of a bundled model
    features_dir: str = (
        ""  # what extract_latents wrote, taken as it is; empty: its default folder, filled if need be
    )
    num_frames: int = 25  # of a video, fewer where it has fewer
    # Frames of the features from one to the next, from a random start in training; 0: spread from the first to the
    # last, in training each moved by up to half a gap.
    frame_stride: int = 5
    # So many frames after the last one, as the model rolls them out, are among those that predictive questions see,
    # spread from the first to the last; 32 are SlotFormer's. 0: they see what all others see.
    rollout_frames: int = 0

    num_steps: int = 240_000
    batch_size: int = 256  # questions a step, of both kinds in the proportion of the data
    choices_per_question: int = 0  # so many random ones of each question in a step; 0: all
    optimizer: str = "adam"  # or "muon" for the kernels of the transformer's layers, and Adam for the rest
    learning_rate: float = 1e-3
    warmup_share: float = 0.1  # of the steps, in which the rate climbs
    hidden_slots_weight: float = 0.01  # of the loss of hidden slots, with config.model.predict_hidden_slots

    log_every: int = 100  # steps
    eval_every: int = 5_000  # steps
    save_every: int = 5_000  # steps
    keep_checkpoints: int = 2  # the latest ones; the best by validation loss is kept besides
    num_valid_questions: int = 2_000  # of the validation while training; the final scores use all
    references: tuple = ("blind", "majority", "executor")  # what is scored beside the model
