"""Choosing among possible questions so that, over a data set, answers come as often as wanted.

Source: the idea, counting answers by the form of the question while generating, is CLEVR's (Johnson et al., CVPR 2017).
"""

import collections
from typing import NamedTuple


class Candidate(NamedTuple):
    """A question or a choice that could be asked."""

    text: str
    program: tuple[str, ...]
    form: str  # what a reader who has not seen the video can tell from it
    answer: str
    subtype: str = ""


class Balance:
    """How often each answer was given so far, in all and by the form of the question."""

    def __init__(self):
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._totals: collections.Counter[str] = collections.Counter()

    def excess(self, keys: tuple[str, ...], answer: str, share: float) -> float:
        """How many times too often an answer would be given, once more included; summed over the keys.

        Args:
            keys: of equal importance, such as the kind of the question and its form.
            share: wanted of the answer, above 0; an answer that was never given has an excess near 0.
        """
        return sum((self._counts[key, answer] + 1) / (share * self._totals[key] + 1) for key in keys)

    def add(self, keys: tuple[str, ...], answer: str) -> None:
        """Counts an answer."""
        for key in keys:
            self._counts[key, answer] += 1
            self._totals[key] += 1
