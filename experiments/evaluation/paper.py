"""The numbers that the paper reports, quoted; they are CLEVRER's and are measured nowhere here.

Source: Tang et al., Object Dynamics Distillation for Scene Decomposition and Representation, ICLR 2022.
"""

from typing import NamedTuple

LABEL = "paper (quoted, CLEVRER)"


class Decomposition(NamedTuple):
    """A row of Table 3: 1,000 clips of 10 frames with six objects, 64 x 64 pixels."""

    mse: float  # pixels in [0, 1]
    ari: float  # fraction
    fg_ari: float  # fraction; the paper prints "F-ARI" in per cent


# Source: Table 3. Figure 7, the error of each predicted frame, is only plotted.
TABLE_3 = {
    "IODINE": Decomposition(mse=0.000100, ari=0.096, fg_ari=0.9555),
    "PROVIDE": Decomposition(mse=0.000148, ari=0.228, fg_ari=0.9517),
    "ODDN": Decomposition(mse=0.000075, ari=0.156, fg_ari=0.9563),
    "ODDN-l": Decomposition(mse=0.000103, ari=0.233, fg_ari=0.9536),
}


class Reasoning(NamedTuple):
    """A row of Tables 1 and 2: right answers in per cent; None where the paper leaves it out."""

    descriptive: float
    explanatory_per_option: float | None
    explanatory: float  # this and the others without "per option" are per question
    predictive_per_option: float | None
    predictive: float
    counterfactual_per_option: float | None
    counterfactual: float


# Source: Table 1, CLEVRER's test questions by all that is known. The first four rows are others', quoted there.
TABLE_1 = {
    "MAC (V+)": Reasoning(86.4, 70.5, 22.3, 59.7, 42.9, 63.5, 25.1),
    "NS-DR": Reasoning(88.1, 87.6, 79.6, 82.9, 68.7, 74.1, 42.2),
    "DCL": Reasoning(90.7, 89.6, 82.8, 90.5, 82.0, 80.4, 46.5),
    "ALOE": Reasoning(94.0, 98.5, 96.0, 93.5, 87.5, 91.4, 75.6),
    "ODDN-ALOE": Reasoning(95.8, 98.9, 97.0, 95.7, 91.8, 93.0, 80.1),
}
# Source: Table 2: ALOE without self-supervision on the features of each.
TABLE_2 = {
    "PROVIDE": Reasoning(75.2, 91.6, 77.4, 80.5, 65.4, 76.4, 39.4),
    "MONet": Reasoning(91.0, None, 92.8, None, 82.8, None, 68.7),
    "IODINE (20)": Reasoning(92.8, 98.3, 95.6, 89.1, 80.2, 89.7, 71.3),
    "IODINE (16)": Reasoning(93.5, 98.1, 95.0, 91.6, 84.5, 90.6, 73.4),
    "ODDN w/o relation (-dyn)": Reasoning(92.8, 97.6, 93.6, 90.6, 82.8, 89.2, 70.1),
    "ODDN w/o relation": Reasoning(93.9, 98.2, 95.1, 93.6, 88.0, 90.7, 73.6),
    "ODDN (-dyn)": Reasoning(95.1, 98.5, 96.1, 94.1, 89.1, 91.7, 76.8),
    "ODDN": Reasoning(95.8, 98.9, 97.0, 95.7, 91.8, 93.0, 80.1),
}


class Complexity(NamedTuple):
    """A row of Table 4, as printed."""

    gflops: str
    parameters: str
    megabytes: str


# Source: Table 4.
TABLE_4 = {
    "IODINE": Complexity("17.2187", "2780052", "10.61"),
    "PROVIDE": Complexity("17.2251", "2977940", "11.36"),
    "ODDN": Complexity("17.2189", "2925365", "11.16"),
}
