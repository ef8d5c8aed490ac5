"""Reads the JSON files of others; what is none is said in one line that names the file."""

import json
from pathlib import Path
from typing import Any


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no JSON, or nested deeper than Python follows.
    """
    content = Path(path).read_bytes()
    try:
        return json.loads(content)
    except RecursionError:
        reason = "its brackets are nested too deeply"
    except ValueError as error:  # also of bytes that are no text, and of numbers of thousands of digits
        reason = str(error)
    raise ValueError(f"{path}: not a JSON file ({reason})")
