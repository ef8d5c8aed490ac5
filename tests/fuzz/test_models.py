"""Exported models, options and features that were damaged: the errors that are promised, bounded memory and time."""

import pytest

from tests.fuzz.fuzzing import check


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EXPORT", "HEADER", "TRAINING", "ANSWERING", "FEATURES"])
def test_damaged_files_for_a_minute(name):
    check(f"tests.fuzz.models:{name}", seconds=60)
