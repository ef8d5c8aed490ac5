"""Readers of files that others have written, on damaged ones: the errors they promise, bounded memory and time."""

import pytest

from tests.fuzz.fuzzing import check

TARGETS = [
    "tests.fuzz.clevrer:ANNOTATION",
    "tests.fuzz.clevrer:PROPOSAL",
    "tests.fuzz.clevrer:MASK",
    "tests.fuzz.clevrer:QUESTIONS",
    "tests.fuzz.footage:VIDEO",
    "tests.fuzz.footage:IMAGE",
    "tests.fuzz.towers:PICTURES",
    "tests.fuzz.towers:NUMBERS",
]

# Loading a model traces it, which takes a second: for the slow tests alone.
MODELS = [f"tests.fuzz.models:{name}" for name in ("EXPORT", "HEADER", "TRAINING", "ANSWERING", "FEATURES")]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS + MODELS)
def test_damaged_files_for_a_minute(target):
    check(target, seconds=60)


def test_damaged_files():
    check(*TARGETS)
