"""Linear probes: what a linear map reads off the numbers of a slot, fitted with labels."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

RIDGE = 1e-3  # of the squared weights, beside the mean over samples. Source: our choice
SMALLEST_DEVIATION = 1e-6  # inputs that hardly vary are left as they are


class Probe(NamedTuple):
    """An affine map of standardised inputs: f64[*b i] to f64[*b o]."""

    mean: np.ndarray  # f64[i]
    scale: np.ndarray  # f64[i]
    kernel: np.ndarray  # f64[i o]
    bias: np.ndarray  # f64[o]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """The outputs: numbers of `fit_numbers`, logits of `fit_classes`."""
        return ((inputs - self.mean) * self.scale) @ self.kernel + self.bias

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Of each class, f64[*b o]."""
        return softmax(self(inputs), axis=-1)


def fit_numbers(inputs: np.ndarray, outputs: np.ndarray) -> Probe:
    """The map f[s i] to f[s o] with the least mean squared error and `RIDGE` times its squared weights.

    Raises:
        ValueError: there is no sample.
    """
    mean, scale = _standardisation(inputs)
    x, offset = (inputs - mean) * scale, np.mean(outputs, axis=0, dtype=float)
    normal = x.T @ x / len(x) + RIDGE * np.eye(x.shape[1])
    return Probe(mean, scale, np.linalg.solve(normal, x.T @ (outputs - offset) / len(x)), offset)


def fit_classes(inputs: np.ndarray, classes: np.ndarray, num_classes: int) -> Probe:
    """Logistic regression of classes i[s] from f[s i]: the least mean cross-entropy, in nats, and half of `RIDGE` times
    the squared weights, the constants left out.

    Raises:
        ValueError: there is no sample.
    """
    mean, scale = _standardisation(inputs)
    x, number = (inputs - mean) * scale, inputs.shape[1]
    target = np.eye(num_classes)[classes]

    def loss(flat):
        kernel, bias = np.split(flat.reshape(number + 1, num_classes), [number])
        log_shares = log_softmax(x @ kernel + bias, axis=-1)
        error = (np.exp(log_shares) - target) / len(x)
        gradient = np.concatenate([x.T @ error + RIDGE * kernel, error.sum(0, keepdims=True)])
        value = -(target * log_shares).sum() / len(x) + RIDGE / 2 * (kernel**2).sum()
        return value, gradient.ravel()

    start = np.zeros((number + 1) * num_classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    kernel, bias = np.split(found.x.reshape(number + 1, num_classes), [number])
    return Probe(mean, scale, kernel, bias[0])


def _standardisation(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(inputs):
        raise ValueError("there is nothing to fit a probe to: no slot shows an object whose labels are known")
    mean, deviation = inputs.mean(0, dtype=float), inputs.std(0, dtype=float)
    known = deviation > SMALLEST_DEVIATION
    return mean, np.where(known, 1 / np.where(known, deviation, 1), 1.0)
