"""docs/promises.md names tests that exist, and what it says of the code at large is so."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
# The weights of other people's packages, read by an unpickler that makes nothing but arrays.
ARRAYS_ONLY = {"lpips.py", "squeezenet_weights.py"}
# What runs code that a file brings.
RUNNING = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def test_every_promise_names_a_test_that_exists():
    text = (ROOT / "docs" / "promises.md").read_text()
    assert len(text.splitlines()) <= 200
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 20
    for file, name in named:
        text = (ROOT / file).read_text()
        assert f"\ndef {name}(" in text, f"{file}::{name}"


def test_nothing_that_is_read_is_executed():
    for package in ("oddn_jax", "data_pipelines", "experiments"):
        for path in (path for path in (ROOT / package).rglob("*.py") if path.name not in ARRAYS_ONLY):
            for node in ast.walk(ast.parse(path.read_text())):
                imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                imported += [node.module] if isinstance(node, ast.ImportFrom) else []
                assert not RUNNING & {(name or "").partition(".")[0] for name in imported}, path
                called = (
                    node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
                )
                assert called not in ("eval", "exec", "compile"), path
                if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                    assert node.value.value is False, path
