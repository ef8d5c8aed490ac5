"""Small networks read what linear maps cannot, and no more than is there."""

import numpy as np
import pytest
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor

from experiments.evaluation import network_probes
from experiments.evaluation.linear_probes import fit_numbers
from experiments.evaluation.network_probes import fit_network


@pytest.fixture
def samples():
    """Outputs: a product of two inputs, a sum, and noise, each of unit scale; a fifth of the sums are unknown."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(4000, 5))
    outputs = np.stack(
        [inputs[:, 0] * inputs[:, 1], (inputs[:, 2] - inputs[:, 3]) / 2**0.5, random.normal(size=4000)], -1
    )
    return inputs, outputs


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_product_is_read_as_scikit_learns_network_reads_it(samples, monkeypatch):
    monkeypatch.setattr(network_probes, "NUM_PASSES", 150)
    inputs, outputs = samples
    fitted = outputs[:3000].copy()
    fitted[::5, 1] = np.nan
    probe = fit_network(inputs[:3000], fitted, 64)
    scores = r2_score(outputs[3000:], probe(inputs[3000:].astype("f4")), multioutput="raw_values")
    other = MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=40, random_state=0).fit(
        inputs[:3000], outputs[:3000, :2]
    )
    others = r2_score(outputs[3000:, :2], other.predict(inputs[3000:]), multioutput="raw_values")
    assert (scores[:2] > others - 0.05).all() and (scores[:2] > 0.9).all()
    assert scores[2] < 0.05
    linear = fit_numbers(inputs[:3000], outputs[:3000])(inputs[3000:])
    assert r2_score(outputs[3000:], linear, multioutput="raw_values")[0] < 0.05
    again = fit_network(inputs[:3000], fitted, 64)
    np.testing.assert_array_equal(again.kernel, probe.kernel)
