"""ALOE: counts, positions, what the answers do and do not depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oddn_jax.reasoning import ALOE, ALOEConfig, vocabulary
from oddn_jax.reasoning.transformer import Attention, Dropout, align_distances, sinusoids

SMALL = dict(
    num_slots=3, num_frames=4, num_layers=2, num_heads=2, head_size=6, hidden_size=8, head_hidden_size=4
)


def small(form, **changes):
    return ALOEConfig(**{**SMALL, "form": form, "feature_size": 4, "word_size": 2, **changes})


def variables_of(config, scale=0.3):
    """Random parameters: the initial ones hide what biases and the first token do."""
    model = ALOE(config)
    shapes = jax.eval_shape(
        lambda: model.init(
            jax.random.key(0),
            jnp.zeros((1, config.num_frames, config.num_slots, config.feature_size)),
            jnp.zeros((1, 20), jnp.int32),
            jnp.zeros((1, 12), jnp.int32),
        )
    )
    generator = np.random.default_rng(0)
    return model, jax.tree.map(lambda leaf: jnp.asarray(generator.normal(0, scale, leaf.shape), "f4"), shapes)


def inputs(config, batch=2, num_choices=3):
    generator = np.random.default_rng(1)
    shape = (batch, config.num_frames, config.num_slots, config.feature_size)
    words = generator.integers(1, 82, (batch, 20)).astype(np.int32)
    words[:, 15:] = 0
    choices = generator.integers(1, 82, (batch, num_choices, 12)).astype(np.int32)
    choices[:, :, 8:] = 0
    return jnp.asarray(generator.normal(size=shape), "f4"), jnp.asarray(words), jnp.asarray(choices)


def relative_count(size):
    """Summed from the table of layers: 28 of 10 heads of size + 2, feed-forward 1,024."""
    width = 10 * (size + 2)
    attention = 5 * width**2 + width + 2 * width  # query, key, value, distance, output; two position biases
    layer = attention + 2 * 2 * width + (width * 1024 + 1024) + (1024 * width + width)
    first_and_words = (size + 2) + 82 * (size - 2)
    heads = 2 * (width * 128 + 128) + (128 * 22 + 22) + (128 + 1)
    return 28 * layer + first_and_words + ((size + 2) * width + width) + heads


def absolute_count(size):
    """Summed from the table of layers: 12 of width 144, feed-forward 512, positions of 208 tokens."""
    layer = 4 * (144**2 + 144) + 2 * 2 * 144 + (144 * 512 + 512) + (512 * 144 + 144)
    tokens = 144 + 208 * 144 + 82 * 14 + (18 * 144 + 144) + ((size + 2) * 144 + 144)
    heads = 2 * (144 * 128 + 128) + (128 * 22 + 22) + (128 + 1)
    return 12 * layer + tokens + heads


@pytest.mark.parametrize(
    "preset, size, expected, published",
    [
        ("official", 16, 14_980_801, 15.0e6),
        ("official", 20, 19_535_733, 19.5e6),
        ("slotformer", 16, 2_863_299, 2.9e6),
        ("slotformer", 20, 2_863_875, 2.9e6),
    ],
)
def test_parameter_counts_and_sequence_length(preset, size, expected, published):
    config = ALOEConfig.preset(preset, size)
    assert config.sequence_length == 208
    assert ALOEConfig.preset(preset, size, num_slots=8).sequence_length == 233
    count = {"official": relative_count, "slotformer": absolute_count}[preset]
    assert count(size) == expected == pytest.approx(published, abs=0.05e6)
    shapes = jax.eval_shape(
        lambda: ALOE(config).init(
            jax.random.key(0),
            jnp.zeros((1, 25, 7, size)),
            jnp.zeros((1, 20), jnp.int32),
            jnp.zeros((1, 12), jnp.int32),
        )
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def test_distances_are_aligned():
    n = 5
    distances = np.broadcast_to(np.arange(n - 1, -n, -1.0), (2, n, 2 * n - 1))
    wanted = np.arange(n)[:, None] - np.arange(n)
    for rows in (n, 3, 1):  # of the first queries alone
        aligned = align_distances(jnp.asarray(distances[:, :rows], jnp.float32))
        np.testing.assert_array_equal(aligned, np.broadcast_to(wanted[:rows], (2, rows, n)))


def test_relative_attention_equals_a_direct_computation():
    config = small("relative")
    generator = np.random.default_rng(3)
    n, width, heads, size = 7, config.width, config.num_heads, config.head_size
    tokens = generator.normal(size=(n, width))
    distances = sinusoids(jnp.arange(n - 1, -n, -1), width)
    attention = Attention(config, deterministic=True)
    is_key = jnp.ones((1, n), bool)
    with jax.enable_x64(True):
        shapes = jax.eval_shape(
            lambda: attention.init(
                jax.random.key(0), jnp.zeros((1, n, width)), is_key, jnp.zeros((2 * n - 1, width))
            )
        )["params"]
        params = jax.tree.map(lambda leaf: generator.normal(0, 0.5, leaf.shape), shapes)
        config64 = small("relative", compute_dtype="float64")
        found = Attention(config64, deterministic=True).apply(
            {"params": params}, jnp.asarray(tokens[None]), is_key, jnp.asarray(distances, "f8")
        )
        found, of_first = found[0][0], found[1][0]

    def project(name, x):
        return (x @ params[name]["kernel"] + params[name].get("bias", 0.0)).reshape(-1, heads, size)

    query, key, value = (project(name, tokens) for name in ("query", "key", "value"))
    attended, of_all = np.zeros((n, heads, size)), np.zeros((n, heads, n))
    for h in range(heads):
        for i in range(n):
            scores = np.zeros(n)
            for j in range(n):
                angle = (i - j) * 10_000.0 ** (-np.arange(0, width, 2) / width)
                code = np.concatenate([np.sin(angle), np.cos(angle)])
                position = project("distance", code[None])[0, h]
                scores[j] = (query[i, h] + params["content_bias"][h]) @ key[j, h]
                scores[j] += (query[i, h] + params["distance_bias"][h]) @ position
            weights = np.exp(scores / size**0.5)
            attended[i, h] = weights / weights.sum() @ value[:, h]
            of_all[i, h] = weights / weights.sum()
    wanted = attended.reshape(n, width) @ params["output"]["kernel"] + params["output"]["bias"]
    assert "bias" not in params["query"] and "bias" not in params["distance"]
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6)  # the angles are float32
    np.testing.assert_allclose(of_first, of_all[0].mean(0), rtol=2e-6, atol=2e-6)


def numpy_aloe(params, config, video, question, choice):
    """SlotFormer's ALOE for one question, read off its description: every token in every layer, padding and all."""
    heads, size = config.num_heads, config.head_size

    def dense(x, at):
        return x @ at["kernel"] + at["bias"]

    def norm(x, at):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * at["scale"] + at["bias"]

    words = np.concatenate([question, choice])
    in_question = np.arange(32) < 20 if choice.any() else np.zeros(32, bool)
    marks = np.stack([in_question, ~in_question, np.ones(32), np.zeros(32)], -1)
    text = dense(np.concatenate([params["embedding"]["embedding"][words], marks], -1), params["text_input"])
    slots = video.reshape(-1, config.feature_size)
    slots = np.concatenate([slots, np.tile([0.0, 1.0], (len(slots), 1))], -1)
    tokens = np.concatenate([params["first_token"][None], dense(slots, params["slot_input"]), text])
    tokens = tokens + params["transformer"]["positions"]
    is_key = np.concatenate([np.ones(1 + len(slots), bool), words != 0])
    attended_to = []  # by the first token, of each head of each layer
    for number in range(config.num_layers):
        layer = jax.tree.map(lambda leaf: leaf[number], params["transformer"]["layers"])  # noqa: B023
        attention, seen = layer["attention"], norm(tokens, layer["attention_norm"])
        query, key, value = (dense(seen, attention[name]) for name in ("query", "key", "value"))
        attended = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[:, own] @ key[:, own].T / size**0.5
            weights = np.exp(scores - scores.max(-1, keepdims=True)) * is_key
            weights /= weights.sum(-1, keepdims=True)
            attended.append(weights @ value[:, own])
            attended_to.append(weights[0, 1 : 1 + len(slots)])
        tokens = tokens + dense(np.concatenate(attended, -1), attention["output"])
        hidden = np.maximum(dense(norm(tokens, layer["feed_forward_norm"]), layer["hidden"]), 0)
        tokens = tokens + dense(hidden, layer["output"])

    def head(at):
        return dense(np.maximum(dense(tokens[0], at["layers_0"]), 0), at["layers_1"])

    attention = np.mean(attended_to, 0).reshape(video.shape[:-1])
    return head(params["answer_head"]), head(params["choice_head"])[0], attention


def test_the_absolute_form_equals_a_computation_in_numpy_with_or_without_its_padding():
    config = small("absolute", num_layers=3)
    model, variables = variables_of(config, scale=0.5)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    videos, words, choices = inputs(config)
    nothing = np.zeros((2, 12), np.int32)
    apply = jax.jit(lambda *x: model.apply(variables, *x))
    for choice, shorter in ((choices[:, 0], choices[:, 0, :8]), (nothing, nothing[:, :0])):
        wanted = [
            numpy_aloe(params, config, *(np.asarray(x[row]) for x in (videos, words, choice)))
            for row in range(2)
        ]
        for asked in ((words, choice), (words[:, :15], shorter)):  # those that are left out are padding
            found = apply(videos, *asked)
            for row, (answer, logit, attention) in enumerate(wanted):
                np.testing.assert_allclose(found.answer_logits[row], answer, rtol=1e-3, atol=1e-4)
                np.testing.assert_allclose(found.choice_logit[row], logit, rtol=1e-3, atol=1e-4)
                np.testing.assert_allclose(found.attention[row], attention, rtol=1e-3, atol=1e-5)
                assert np.ptp(attention) > 0.002
    assert abs(wanted[0][0] - wanted[1][0]).max() > 0.1


def test_a_reader_of_slots_is_two_hidden_layers_before_the_input_layer():
    read = small("absolute", slot_hidden_size=5)
    model, variables = variables_of(read)
    video, question, choices = inputs(read)
    params = dict(variables["params"])
    hidden = np.asarray(video, float)
    reader = params.pop("slot_reader")
    for name in ("first", "second"):
        x = hidden @ np.asarray(reader[name]["kernel"], float) + np.asarray(reader[name]["bias"], float)
        hidden = x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
    plain = ALOE(small("absolute", feature_size=5))
    wanted = jax.jit(plain.apply)({"params": params}, jnp.asarray(hidden, "f4"), question, choices[:, 0])
    found = jax.jit(model.apply)(variables, video, question, choices[:, 0])
    np.testing.assert_allclose(found.answer_logits, wanted.answer_logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.attention, wanted.attention, rtol=1e-4, atol=1e-6)


def test_too_many_words_or_too_few_are_refused():
    videos, words, choices = inputs(small("absolute"))
    for form, question, choice, message in (
        (
            "absolute",
            jnp.zeros((2, 21), int),
            choices[:, 0],
            "a question has 21 words, at most 20 are wanted",
        ),
        ("absolute", words, jnp.zeros((2, 13), int), "a choice has 13 words, at most 12 are wanted"),
        ("relative", words[:, :15], choices[:, 0], "a question has 15 words, 20 are wanted"),
    ):
        model, variables = variables_of(small(form))
        with pytest.raises(ValueError, match=message):
            model.apply(variables, videos, question, choice)


@pytest.mark.parametrize("form", ["relative", "absolute"])
def test_each_choice_is_judged_alone_and_slots_have_no_order(form):
    config = small(form)
    model, variables = variables_of(config)
    videos, words, choices = inputs(config)
    judge = jax.jit(lambda *x: model.apply(variables, *x, method="judge"))
    answer = jax.jit(lambda *x: model.apply(variables, *x, method="answer"))
    logits, answers = judge(videos, words, choices), answer(videos, words)
    assert logits.shape == (2, 3) and answers.shape == (2, 22)
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(
        judge(videos, words, choices[:, order]), logits[:, order], rtol=1e-5, atol=1e-6
    )
    for permutation in ([1, 0, 2], [2, 1, 0], [1, 2, 0]):
        shuffled = videos[:, :, np.array(permutation)]
        np.testing.assert_array_equal(judge(shuffled, words, choices), logits)
        np.testing.assert_array_equal(answer(shuffled, words), answers)
    # That is the doing of the sorted slots: without them their places matter. And everything else matters too.
    apply = jax.jit(lambda *x: model.apply(variables, *x).choice_logit)
    first = choices[:, 0]
    assert abs(apply(videos[:, :, ::-1], words, first) - apply(videos, words, first)).max() > 1e-4
    for changed in ((videos[::-1], words, choices), (videos[:, ::-1], words, choices)):
        assert abs(judge(*changed) - logits).max() > 1e-4
    for changed in ((videos, words[::-1], choices), (videos, words, choices[::-1])):
        assert abs(judge(*changed) - logits).max() > 1e-4


@pytest.mark.parametrize("form, seen", [("relative", True), ("absolute", False)])
def test_padding_is_a_word_or_nothing(form, seen):
    config = small(form)
    model, variables = variables_of(config)
    videos, words, _ = inputs(config)
    changed = jax.tree.map(lambda leaf: leaf, variables)
    table = changed["params"]["embedding"]["embedding"]
    changed["params"]["embedding"]["embedding"] = table.at[vocabulary.PADDING].add(1.0)
    answer = jax.jit(functools.partial(model.apply, method="answer"))
    answers, others = (answer(v, videos, words) for v in (variables, changed))
    assert (abs(answers - others).max() > 1e-4) == seen


def test_descriptive_words_are_marked_as_those_of_a_choice():
    config = small("relative")
    model, variables = variables_of(config)
    _, words, choices = inputs(config)

    def marks(choice):
        tokens = model.apply(variables, words, choice, method="text_tokens")
        return np.asarray(tokens[0, :, config.word_size :])

    with_choice = marks(choices[:, 0])
    np.testing.assert_array_equal(with_choice, [[1, 0, 1, 0]] * 20 + [[0, 1, 1, 0]] * 12)
    without = marks(jnp.zeros_like(choices[:, 0]))
    np.testing.assert_array_equal(without, [[0, 1, 1, 0]] * 32)
    np.testing.assert_array_equal(marks(choices[:, 0, :0]), without[:20])


@pytest.mark.parametrize("form", ["relative", "absolute"])
def test_hidden_slots_are_predicted_from_the_others(form):
    config = small(form, predict_hidden_slots=True)
    model, variables = variables_of(config)
    videos, words, choices = inputs(config)
    hidden = np.zeros((2, 4, 3), bool)
    hidden[:, 1, 2] = True

    @jax.jit
    def predict(videos, hidden):
        return model.apply(variables, videos, words, choices[:, 0], hidden=hidden).predicted_slots

    seen = predict(videos, hidden)
    assert seen.shape == videos.shape
    np.testing.assert_array_equal(predict(videos.at[:, 1, 2].add(1.0), hidden), seen)
    assert abs(predict(videos.at[:, 1, 1].add(1.0), hidden) - seen).max() > 1e-4
    # Entry [b t k] belongs to slot k of frame t: hiding a slot changes its own prediction most.
    change = abs(predict(videos, np.zeros_like(hidden)) - seen).max(-1)
    assert (change.reshape(2, -1).argmax(-1) == 1 * 3 + 2).all()


def test_recomputing_and_half_precision_change_nothing_but_rounding():
    config = small("absolute", dropout=0.0)
    _, variables = variables_of(config)
    videos, words, choices = inputs(config)

    def gradient(config):
        def loss(variables):
            answer = ALOE(config).apply(
                variables,
                videos,
                words,
                choices[:, 0],
                deterministic=False,
                rngs={"dropout": jax.random.key(0)},
            )
            return (answer.answer_logits**2).mean() + (answer.choice_logit**2).mean()

        return jax.jit(jax.grad(loss))(variables)

    plain = gradient(config)
    for changes, tolerance in (({"recompute": True}, 1e-5), ({"compute_dtype": "bfloat16"}, 5e-2)):
        other = gradient(small("absolute", dropout=0.0, **changes))
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(other))
        difference = jax.tree.map(lambda a, b: ((a - b) ** 2).sum(), plain, other)
        total = sum(jax.tree.leaves(jax.tree.map(lambda a: (a**2).sum(), plain)))
        assert (sum(jax.tree.leaves(difference)) / total) ** 0.5 < tolerance


def test_dropout_drops_its_share_everywhere_and_keeps_the_mean():
    """16 bits decide on each number: shares within five standard errors, of an odd count of numbers."""

    def drop(rate, x, seed=0):
        return Dropout(rate, False).apply({}, x, rngs={"dropout": jax.random.key(seed)})

    ones = jnp.ones((101, 7, 143))
    for rate in (0.1, 0.5):
        kept = drop(rate, ones)
        dropped = np.asarray(kept == 0)
        error = 5 * (rate * (1 - rate) / ones.size) ** 0.5
        assert abs(dropped.mean() - rate) < error
        low, high = dropped.ravel()[::2], dropped.ravel()[1::2]  # halves of a word
        assert abs(low.mean() - high.mean()) < 2 * error
        np.testing.assert_allclose(kept[~dropped], 1 / (1 - rate), rtol=1e-4)
        both = (low[: high.size] & high).mean()
        assert abs(both - rate**2) < 5 * rate / high.size**0.5
    assert (drop(0.1, ones) != drop(0.1, ones, seed=1)).any()
    assert drop(0.1, ones.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    assert (drop(1 - 1e-9, ones) == 0).mean() > 0.99
    gradient = jax.grad(lambda x: drop(0.1, x).sum())(ones)
    np.testing.assert_array_equal(gradient, drop(0.1, ones))
    for unchanged in (Dropout(0.1, True), Dropout(0.0, False)):
        np.testing.assert_array_equal(unchanged.apply({}, ones), ones)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"form": "causal"}, "form='causal' is not one of relative, absolute"),
        ({"num_layers": 0}, "num_layers=0 must be at least 1"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and below 1"),
        ({"form": "relative", "word_size": 3}, "word_size=3 must be feature_size - 2 = 2"),
        ({"form": "relative", "num_heads": 1, "head_size": 5}, "must be even"),
        ({"slot_hidden_size": -1}, "slot_hidden_size=-1 must be at least 0, for none"),
        ({"form": "relative", "slot_hidden_size": 4}, "slot_hidden_size=4 must be 0 in the relative form"),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**{"form": "absolute", **changes})


def test_wrong_preset_and_wrong_slots():
    with pytest.raises(ValueError, match="no preset 'large'; there are official, slotformer, quickstart"):
        ALOEConfig.preset("large")
    model, variables = variables_of(small("absolute"))
    videos, words, _ = inputs(small("absolute"))
    with pytest.raises(ValueError, match=r"slots are \(4, 3, 3\)"):
        model.apply(variables, videos[..., :3], words, method="answer")
