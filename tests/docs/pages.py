"""The pages of the repository, and what is in them: blocks, commands, links, names in backquotes."""

import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in (".", "docs", "experiments", "data_pipelines", "oddn_jax", "tests")
    for path in (ROOT.glob("*.md") if folder == "." else (ROOT / folder).rglob("*.md"))
)
GUIDES = [path for path in PAGES if path.parent == ROOT or path.is_relative_to(ROOT / "docs")]
_PART = re.compile(r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}[^\n]*\n?)+")


class Block(NamedTuple):
    """A block of code in a page."""

    heading: str  # the one above it
    language: str
    text: str


def name(page: pathlib.Path) -> str:
    """A page as messages call it."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str) -> list[Block]:
    """The fenced blocks."""
    found, heading = [], ""
    for part in _PART.finditer(text):
        heading = part[1] or heading
        if part[3] is not None:
            found.append(Block(heading, part[2], part[3]))
    return found


def prose(text: str) -> str:
    """A page without its blocks."""
    text = _PART.sub(lambda part: part[0] if part[3] is None else "", text)
    return _INDENTED.sub("", text)


def links(text: str) -> list[str]:
    """What a page links to, pictures included, as it is written."""
    without_code = re.sub(r"`[^`\n]*`", "", prose(text))
    return re.findall(r"\]\(([^)\s]+)\)", without_code)


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to a page's headings, where the site gives the same."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower().strip() for heading in headings]
    github = [re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain]
    site = [re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip()) for heading in plain]
    return {anchor for anchor, other in zip(github, site) if anchor == other}


def spans(text: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(text))


def commands(text: str) -> list[list[str]]:
    """The words of each command: of blocks of shell, of indented blocks, and of backquotes that run a module.

    What only an earlier version took stands in a block of the language "text", which is not looked at.
    """
    scripts = [block.text for block in blocks(text) if block.language == "bash"]
    drawn = [block.text for block in blocks(text) if not block.language]  # trees of folders and the like
    scripts += [line for drawing in drawn for line in drawing.splitlines() if line.startswith("python -m ")]
    indented = _INDENTED.findall(_PART.sub("", text))
    scripts += [script for script in indented if script.startswith("    python -m ")]
    scripts += [span for span in spans(text) if "python -m " in span]
    found = []
    for line in "\n".join(scripts).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            found.append([word.removeprefix(".venv/bin/") for word in words[:end]])
            words = words[end + 1 :]
    return found


def path_of(block: Block) -> str | None:
    """The path of a block that is a file of the reader's own: its first line says it."""
    path = re.match(r"# ([\w/]+\.py)\b", block.text)
    return path and path[1]


def files(text: str) -> dict[str, str]:
    """The blocks that are files of the reader's own, by their paths."""
    return {path: block.text for block in blocks(text) if (path := path_of(block))}
