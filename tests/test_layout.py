"""What import contracts cannot say without lists: machinery never imports the programs beside its folder."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
EXPERIMENTS = ROOT / "experiments"
PROGRAMS = sorted(path.stem for path in EXPERIMENTS.glob("*.py") if path.stem != "__init__")


def imported_modules(path: pathlib.Path) -> set[str]:
    """Every dotted name that a file imports, and every name that it imports from one."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_folders_of_experiments_do_not_import_programs():
    machinery = [path for folder in EXPERIMENTS.iterdir() if folder.is_dir() for path in folder.glob("*.py")]
    assert len(machinery) > 40 and len(PROGRAMS) > 10
    programs = {f"experiments.{name}" for name in PROGRAMS}
    wrong = {str(path.relative_to(ROOT)): imported_modules(path) & programs for path in machinery}
    assert not {path: names for path, names in wrong.items() if names}


def test_each_folder_says_what_happens_in_it():
    for package in ("oddn_jax", "data_pipelines", "experiments"):
        for path in (ROOT / package).rglob("*.py"):
            init = path.parent / "__init__.py"
            assert init.is_file(), f"{path.parent.relative_to(ROOT)} has no __init__.py"
    for init in ROOT.glob("[!.]*/**/__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text())), (
            f"{init.relative_to(ROOT)} does not say what it is"
        )
