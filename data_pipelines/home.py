"""What words on command lines mean, before any path is made of them: `~`, in settings too, and nothing at all."""

import os
import re
from collections.abc import Sequence


def expand_home(path: str) -> str:
    """A path whose leading `~` or `~user` is a home folder. Of a folder of that very name the path begins with `./`.

    Shells do this for a word that begins with it, not within `--data_dir=~/data`. TFDS does it when it reads and not
    when it writes, so that nothing of it may be left to others.

    Raises:
        ValueError: there is no such home folder.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        name = path.partition("/")[0]
        raise ValueError(f"{path}: there is no home folder {name}; write ./{path} if a folder is called so")
    return expanded


def expand_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line, each that is a path from home (`~/data`, `--data_dir=~/data`) written out.

    An empty one, `--run=$RUN` without a RUN, is refused: it would be the same as no `--run`, and the work be done on
    something else. Options of a config may be empty texts.

    Raises:
        ValueError: there is no such home folder, or an argument is empty.
    """
    for argument in arguments:
        if re.fullmatch(r"(?s)|-{1,2}(?!-?config\.)[^=]*=", argument):
            raise ValueError(f"{argument or repr(argument)} is empty: say what is meant, or leave it out")
    parts = (re.fullmatch(r"(?s)(-[^=]*=)?(~.*)", argument) for argument in arguments)
    return [
        argument if found is None else (found[1] or "") + expand_home(found[2])
        for argument, found in zip(arguments, parts)
    ]
