"""Linear probes against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from experiments.evaluation import linear_probes


def test_the_logistic_probe_is_scikit_learns():
    random = np.random.default_rng(0)
    inputs = random.normal(3.0, [0.1, 1.0, 20.0, 0.0], (300, 4))
    classes = (inputs[:, 0] > 3).astype(int) + (inputs[:, 1] + random.normal(0, 1, 300) > 3)
    probe = linear_probes.fit_classes(inputs, classes, 3)
    standard = (inputs - inputs.mean(0)) / np.where(inputs.std(0) > 0, inputs.std(0), 1)
    other = LogisticRegression(C=1 / (linear_probes.RIDGE * len(inputs)), tol=1e-8, max_iter=10_000).fit(
        standard, classes
    )
    np.testing.assert_allclose(probe.probabilities(inputs), other.predict_proba(standard), atol=2e-4)
    assert (probe(inputs).argmax(-1) == classes).mean() > 0.6
    np.testing.assert_allclose(probe.probabilities(inputs[:1])[0], probe.probabilities(inputs[0]))


def test_the_linear_probe_is_scikit_learns():
    random = np.random.default_rng(0)
    inputs = random.normal(1.0, [0.1, 5.0, 1.0], (50, 3))
    outputs = inputs @ random.normal(size=(3, 2)) + [4, -2] + random.normal(0, 0.1, (50, 2))
    standard = (inputs - inputs.mean(0)) / inputs.std(0)
    other = Ridge(alpha=linear_probes.RIDGE * len(inputs)).fit(standard, outputs)
    np.testing.assert_allclose(
        linear_probes.fit_numbers(inputs, outputs)(inputs), other.predict(standard), atol=1e-9
    )


def test_probes_need_samples():
    for fit in (
        lambda: linear_probes.fit_numbers(np.zeros((0, 3)), np.zeros((0, 2))),
        lambda: linear_probes.fit_classes(np.zeros((0, 3)), np.zeros(0, int), 2),
    ):
        with pytest.raises(ValueError, match="nothing to fit a probe to"):
            fit()
