"""Finds the raw files of data sets as people keep them: at any depth, also behind links."""

import os
from collections.abc import Hashable
from pathlib import Path

NOT_OURS = {"__MACOSX", "lost+found"}  # what zip programs and file systems put beside people's files


def find_files(raw_dir: Path) -> list[Path]:
    """All files below a folder, folder by folder in the order of their names.

    Links to folders are followed, and no folder is entered twice, so that loops of links end.

    Raises:
        OSError: there is no such folder, or one below it may not be read; one line says which.
    """
    if not raw_dir.is_dir():
        raise FileNotFoundError(f"there is no folder {raw_dir}")
    paths, entered = [], set()
    for folder, subfolders, names in os.walk(raw_dir, onerror=_refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(set(subfolders) - NOT_OURS)
        paths += [Path(folder, name) for name in sorted(names)]
    return paths


def _refuse(error: OSError) -> None:
    raise OSError(
        f"{error.filename}: what it holds cannot be read ({error.strerror}): change that, or move it elsewhere"
    )


def note_file(found: dict[Hashable, Path], key: Hashable, path: Path, called: str | None = None) -> None:
    """Notes where the file of a key lies. The same file behind a second link is no second file.

    Args:
        found: the files so far, by key.
        key: what the file is.
        path: where it lies.
        called: what a message calls it; None for its name.

    Raises:
        ValueError: it is there twice.
    """
    first = found.setdefault(key, path)
    if first is not path and os.path.realpath(first) != os.path.realpath(path):
        raise ValueError(f"{called or path.name} is there twice, {first} and {path}: remove one of the two")
