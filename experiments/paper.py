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
