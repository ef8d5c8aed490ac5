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


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_for_a_minute(target):
    check(target, seconds=60)


def test_damaged_files():
    check(*TARGETS)
