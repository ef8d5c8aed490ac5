"""What the site has besides the pages of docs/: README as its front page, the API, and the files that pages link to.

On GitHub a relative link leads out of docs/ to a file of the repository; a site holds only pages. So each such file
gets a page below source/: a module its API, generated from its docstrings, a Markdown file itself, any other its text.
The links are then rewritten to these pages, and mkdocs checks them as all others.
"""

import os
import pathlib
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("oddn_jax", "data_pipelines", "experiments")
AS_THEY_ARE = (".md", ".png", ".gif")  # the other files get a page around their text
LINK = re.compile(
    r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)(?=[)#])"
)  # of [text](target#anchor), not to another site


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    modules = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    contents = {source_page(path): module_page(path) for path in modules}
    contents["api.md"] = api_page(modules)
    contents["index.md"] = (ROOT / "README.md").read_text()
    unread = {"index.md": contents["index.md"]}
    unread |= {file.src_uri: file.content_string for file in files.documentation_pages()}
    while unread:
        page, text = unread.popitem()
        for path in linked_files(page, text):
            if (name := source_page(path)) not in contents:
                contents[name] = file_page(path)
                if path.suffix == ".md":
                    unread[name] = contents[name]
    for name, content in contents.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page from places in the repository to places in the site."""
    name = page.file.src_uri
    here = os.path.dirname(name)

    def place(match: re.Match) -> str:
        path = target(name, match[1])
        if path.is_relative_to(ROOT / "docs"):
            return os.path.relpath(path.relative_to(ROOT / "docs"), here)
        return os.path.relpath("index.md" if path == ROOT / "README.md" else source_page(path), here)

    return LINK.sub(place, markdown) if in_repository(name) else markdown


def in_repository(page: str) -> pathlib.Path | None:
    """The Markdown file that a page shows as it is; None for a page made here."""
    path = ROOT / "README.md" if page == "index.md" else ROOT / "docs" / page
    if page.startswith("source/"):
        path = ROOT / page.removeprefix("source/")
    return path if path.is_file() else None


def target(page: str, link: str) -> pathlib.Path:
    """The file of the repository that a page links to."""
    return pathlib.Path(os.path.normpath(in_repository(page).parent / link))


def linked_files(page: str, text: str) -> set[pathlib.Path]:
    """The files outside of docs/ that a page links to; those that are not there mkdocs reports itself."""
    paths = {target(page, match[1]) for match in LINK.finditer(text)} if in_repository(page) else set()
    return {path for path in paths if path.is_file() and not path.is_relative_to(ROOT / "docs")} - {
        ROOT / "README.md"
    }


def source_page(path: pathlib.Path) -> str:
    """The page of a file outside of docs/."""
    return f"source/{path.relative_to(ROOT).as_posix()}" + ("" if path.suffix in AS_THEY_ARE else ".md")


def module_name(path: pathlib.Path) -> str:
    """ "oddn_jax.model" of oddn_jax/model.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def module_page(path: pathlib.Path) -> str:
    """The API of a module."""
    return f"# {module_name(path)}\n\n`{path.relative_to(ROOT).as_posix()}`\n\n::: {module_name(path)}\n"


def file_page(path: pathlib.Path) -> str | bytes:
    """Markdown and pictures as they are, anything else as its text."""
    if path.suffix in AS_THEY_ARE:
        return path.read_text() if path.suffix == ".md" else path.read_bytes()
    return f"# {path.relative_to(ROOT).as_posix()}\n\n````{path.suffix.removeprefix('.')}\n{path.read_text()}````\n"


def api_page(modules: list[pathlib.Path]) -> str:
    """All modules, each with the first line of its docstring."""
    lines = ["# API", ""]
    for path in modules:
        first = re.match(r'r?"""(.*?)(?:"""|\n)', path.read_text())
        lines.append(f"* [{module_name(path)}]({source_page(path)}): {first[1].strip() if first else ''}")
    return "\n".join(lines) + "\n"
