"""ALOE: answers a question about a video by attention over the words and the slots of all frames."""

from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import normal, zeros
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from oddn_jax.layers import dense
from oddn_jax.reasoning.config import ALOEConfig
from oddn_jax.reasoning.slots import sort_slots
from oddn_jax.reasoning.transformer import Transformer
from oddn_jax.reasoning.vocabulary import CHOICE_LENGTH, NUM_ANSWERS, NUM_WORDS, PADDING, QUESTION_LENGTH


class Answer(NamedTuple):
    """What ALOE makes of a question, or of a question with one choice."""

    answer_logits: Float[Array, "*b a"]  # of the answers of `vocabulary.ANSWERS`, entry 0 is padding
    choice_logit: Float[Array, "*b"]  # above 0: the choice is correct
    # Of the token that is read, on each slot: the mean over layers and heads. What lacks to 1 is on words and itself.
    attention: Float[Array, "*b t k"]
    predicted_slots: Float[Array, "*b t k d"] | None  # with `predict_hidden_slots`


class ALOE(nn.Module):
    """Attention over learned object embeddings.

    Source: Ding et al., NeurIPS 2021, and the published evaluation code; the smaller form is SlotFormer's.

    Attributes:
      config: `ALOEConfig`; `ALOE(ALOEConfig.preset("slotformer", 16))` has 2,863,299 parameters.
      Config: its class, for `oddn_jax.save`.
    """

    config: ALOEConfig
    Config: ClassVar[type] = ALOEConfig

    def setup(self):
        config, relative = self.config, self.config.form == "relative"
        # Source: PyTorch's default, hence SlotFormer's. Flax's own, a quarter of it, learns slower.
        self.embedding = nn.Embed(NUM_WORDS, config.word_size, embedding_init=normal(1.0))
        text_size, slot_size = config.word_size + 4, (config.slot_hidden_size or config.feature_size) + 2
        self.first_token = self.param(
            "first_token", zeros, (slot_size if relative else config.width,), jnp.float32
        )
        self.text_input = dense(text_size, config.width, dtype=config.compute_dtype)
        if not relative:
            self.slot_input = dense(slot_size, config.width, dtype=config.compute_dtype)
        if config.slot_hidden_size:
            self.slot_reader = SlotReader(config.slot_hidden_size)
        self.transformer = Transformer(config)
        self.answer_head = Head(config, NUM_ANSWERS)
        self.choice_head = Head(config, 1)
        if config.predict_hidden_slots:
            self.hidden_slot = self.param("hidden_slot", zeros, (config.feature_size,), jnp.float32)
            self.slot_output = dense(config.width, config.feature_size)

    def __call__(
        self,
        slots: Float[Array, "*b t k d"],
        question: Int[Array, "*b q"],
        choice: Int[Array, "*b c"],
        *,
        hidden: Bool[Array, "*b t k"] | None = None,
        deterministic: bool = True,
    ) -> Answer:
        """Reads a question, or a question and one choice, with the slots in the order in which they come.

        Args:
          slots: features of roughly unit scale.
          question: words as `vocabulary.encode_question` numbers them. In the "absolute" form, which does not attend to
            padding, question and choice may be shorter, down to none: the result is the same, sooner.
          choice: words as `vocabulary.encode_choice` numbers them; all padding for a descriptive question.
          hidden: slots to be replaced by a learned vector; only with `predict_hidden_slots`.
          deterministic: False applies dropout, with `rngs={"dropout": key}`.

        Raises:
          ValueError: the slots are not of the configured number and size, or there are too many or few words.
        """
        config = self.config
        expected = (config.num_frames, config.num_slots, config.feature_size)
        if slots.shape[-3:] != expected:
            raise ValueError(
                f"slots are {slots.shape[-3:]} (frames, slots, features), the model's are {expected}"
            )
        _check_words(config, question.shape[-1], choice.shape[-1])
        if hidden is not None:
            slots = jnp.where(hidden[..., None], self.hidden_slot, slots)
        words = jnp.concatenate([question, choice], -1)
        text, visual = self.text_tokens(question, choice), self.slot_tokens(slots)
        batch, num_words, num_visual = words.shape[:-1], words.shape[-1], visual.shape[-2]
        first = jnp.broadcast_to(self.first_token, (*batch, 1, self.first_token.size))
        if config.form == "relative":
            tokens = jax.nn.relu(self.text_input(jnp.concatenate([first, text, visual], -2)))
            is_key, first_slot = jnp.ones(tokens.shape[:-1], bool), 1 + num_words
            places = jnp.arange(tokens.shape[-2])
        else:
            tokens = jnp.concatenate([first, self.slot_input(visual), self.text_input(text)], -2)
            is_key = jnp.concatenate([jnp.ones((*batch, 1 + num_visual), bool), words != PADDING], -1)
            first_slot = 1
            of_words = (jnp.arange(question.shape[-1]), QUESTION_LENGTH + jnp.arange(choice.shape[-1]))
            places = jnp.concatenate(
                [jnp.arange(1 + num_visual), *(1 + num_visual + part for part in of_words)]
            )
        num_read = None if config.predict_hidden_slots else 1
        tokens, attention = self.transformer(
            tokens.astype(slots.dtype), is_key, places, deterministic, num_read
        )
        on_slots = attention.mean(0)[..., first_slot : first_slot + num_visual].reshape(slots.shape[:-1])
        predicted = None
        if config.predict_hidden_slots:
            of_slots = tokens[..., first_slot : first_slot + num_visual, :]
            predicted = self.slot_output(of_slots).reshape(slots.shape)
        summary = tokens[..., 0, :]
        answer_logits, choice_logit = self.answer_head(summary), self.choice_head(summary)[..., 0]
        return Answer(answer_logits, choice_logit, on_slots, predicted)

    @nn.nowrap
    def initialize(self, key: PRNGKeyArray) -> dict[str, Any]:
        """Parameters, nested by name."""
        config = self.config
        slots = jnp.zeros((1, config.num_frames, config.num_slots, config.feature_size))
        words, choice = (jnp.zeros((1, length), jnp.int32) for length in (QUESTION_LENGTH, CHOICE_LENGTH))
        return jax.jit(self.init)(key, slots, words, choice)["params"]

    def answer(self, slots: Float[Array, "b t k d"], question: Int[Array, "b q"]) -> Float[Array, "b a"]:
        """Logits of the answers to descriptive questions; entry 0 is padding and no answer.

        Neither this nor `judge` depends on the order of the slots, as long as it is the same in all frames.
        """
        length = CHOICE_LENGTH if self.config.form == "relative" else 0
        choice = jnp.full((*question.shape[:-1], length), PADDING, question.dtype)
        return self(self.sorted(slots), question, choice).answer_logits

    def judge(
        self, slots: Float[Array, "b t k d"], question: Int[Array, "b q"], choices: Int[Array, "b c n"]
    ) -> Float[Array, "b c"]:
        """A logit for each choice of multiple-choice questions, each judged without the others: above 0 is correct."""
        num_choices = choices.shape[-2]
        slots = self.sorted(slots)
        slots, question = (jnp.repeat(x[:, None], num_choices, axis=1) for x in (slots, question))
        return self(slots, question, choices).choice_logit

    def sorted(self, slots: Float[Array, "b t k d"]) -> Float[Array, "b t k d"]:
        """The slots of each video in the order that their content gives."""
        return jax.vmap(partial(sort_slots, background=self.config.background_slot))(slots)

    def text_tokens(self, question: Int[Array, "*b q"], choice: Int[Array, "*b c"]) -> Float[Array, "*b n e"]:
        """Embedded words with what they belong to: question or choice, and text rather than slots.

        The words of a descriptive question are marked as those of a choice.
        """
        words = jnp.concatenate([question, choice], -1)
        has_choice = (choice != PADDING).any(-1, keepdims=True)
        of_question = has_choice & (jnp.arange(words.shape[-1]) < question.shape[-1])
        embedded = self.embedding(words)
        marks = jnp.stack([of_question, ~of_question], -1).astype(embedded.dtype)
        return jnp.concatenate([embedded, marks, _modality(embedded, 0)], -1)

    def slot_tokens(self, slots: Float[Array, "*b t k d"]) -> Float[Array, "*b n e"]:
        """The slots of the first frame, then those of the second, ..., marked as no text."""
        tokens = slots.reshape(*slots.shape[:-3], -1, slots.shape[-1])
        if self.config.slot_hidden_size:
            tokens = self.slot_reader(tokens)
        return jnp.concatenate([tokens, _modality(tokens, 1)], -1)


class SlotReader(nn.Module):
    """Two hidden layers that each slot goes through alone."""

    hidden_size: int

    @nn.compact
    def __call__(self, slots: Float[Array, "*b d"]) -> Float[Array, "*b h"]:
        for name in ("first", "second"):
            slots = jax.nn.gelu(nn.Dense(self.hidden_size, name=name)(slots))
        return slots


class Head(nn.Module):
    """A network of one hidden layer that reads the first token."""

    config: ALOEConfig
    outputs: int

    def setup(self):
        width, hidden = self.config.width, self.config.head_hidden_size
        self.layers = [dense(width, hidden), dense(hidden, self.outputs)]

    def __call__(self, summary: Float[Array, "*b w"]) -> Float[Array, "*b o"]:
        return self.layers[1](jax.nn.relu(self.layers[0](summary)))


def _check_words(config: ALOEConfig, in_question: int, in_choice: int) -> None:
    given, most = (in_question, in_choice), (QUESTION_LENGTH, CHOICE_LENGTH)
    for name, number, limit in zip(("question", "choice"), given, most):
        if number > limit or (config.form == "relative" and number < limit):
            least = "" if config.form == "relative" else "at most "
            raise ValueError(f"a {name} has {number} words, {least}{limit} are wanted, padding included")


def _modality(tokens: Float[Array, "*b n e"], place: int) -> Float[Array, "*b n 2"]:
    return jnp.broadcast_to(jax.nn.one_hot(place, 2, dtype=tokens.dtype), (*tokens.shape[:-1], 2))
