"""Pages are short, their links lead somewhere, and what they name is there."""

import ast
import itertools
import re

import pytest

from oddn_jax.version import __version__
from tests.docs import pages
from tests.docs.pages import GUIDES, PAGES, ROOT

PACKAGES = ("oddn_jax", "data_pipelines", "experiments", "tests", "docs")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
# Backquoted, and nowhere in the repository: the reader's own, other packages', what the programs read and write.
ELSEWHERE = {"my_models", "my_videos", "my_videos_dataset_builder.py", "jax.profiler.ProfileData"}
DATA_FILE = re.compile(r".*\.(?:zip|png|gif|json|jsonl|mp4|npz|html|txt|safetensors)")


def named(page):
    return pages.name(page)


def long_pages(lengths: dict[str, int]) -> dict[str, int]:
    """The pages with more lines than they may have."""
    return {name: n for name, n in lengths.items() if n > (150 if name == "README.md" else 200)}


def test_pages_are_short():
    assert len(GUIDES) > 15
    read = [page for page in PAGES if page.parent.name != "results"]  # those there are made by `reproduce`
    assert not long_pages({named(page): len(page.read_text().splitlines()) for page in read})
    assert long_pages({"README.md": 151, "docs/train.md": 200, "docs/diary/x.md": 201}).keys() == {
        "README.md",
        "docs/diary/x.md",
    }


def test_the_site_names_every_page():
    listed = (ROOT / "mkdocs.yml").read_text().split("nav:")[1]
    missing = [page.name for page in GUIDES if f"{page.name}\n" not in listed and page.parent != ROOT]
    assert not missing


def test_mains_are_short():
    lengths = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name == "main":
                lengths[path.relative_to(ROOT).as_posix()] = node.end_lineno - node.lineno + 1
    assert len(lengths) > 12
    assert not {path: length for path, length in lengths.items() if length > 60}


def broken_links(page, text: str) -> list[str]:
    """The relative links of a page whose file or heading is not there; `text` may be another than the page's own."""
    broken = []
    for link in pages.links(text):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        aims_at_heading = not anchor or anchor in pages.anchors(
            text if target == page else target.read_text()
        )
        if not (target.is_file() and target.is_relative_to(ROOT) and aims_at_heading):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_resolve(page):
    assert not broken_links(page, page.read_text())


def test_a_broken_link_is_noticed():
    text = "# A b\n[x](docs/train.md) [x](#a-b) [x](docs/train.md#commands) [x](https://a.b) `[x](no.md)`\n"
    assert not broken_links(ROOT / "README.md", text)
    wrong = ["no.md", "#c", "docs/train.md#no", "docs"]
    text += " ".join(f"[x]({link})" for link in wrong)
    assert broken_links(ROOT / "README.md", text) == wrong


def test_every_page_is_reached_from_the_readme():
    seen, unread = set(), [ROOT / "README.md"]
    while unread:
        page = unread.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            links = (link.partition("#")[0] for link in pages.links(page.read_text()) if ":" not in link)
            unread += [(page.parent / link).resolve() for link in links if link]
    assert set(PAGES) - seen == set()
    linked = pages.links((ROOT / "README.md").read_text())
    assert {pages.name(page) for page in (ROOT / "docs").glob("*.md")} <= set(linked)


def missing_paths(text: str) -> set[str]:
    """Paths of the repository that a text names and that are not there."""
    tops = "|".join(PACKAGES)
    named = re.findall(rf"(?<![\w./-])(?:{tops})/[\w./*-]*[\w/*]", text)
    return {path for path in named if not any(ROOT.glob(path.split("::")[0].rstrip("/") or "*"))}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_paths_are_there(page):
    own = {part for path in pages.files(page.read_text()) for part in (path, path.rpartition("/")[0] + "/")}
    text = re.sub(r"\]\([^)]*\)|\S*NAME\S*", "", pages.prose(page.read_text()))
    assert not missing_paths(text) - own


def test_paths_in_the_code_are_there():
    wrong = {}
    for path in (*MODULES, ROOT / "setup.cfg", ROOT / "mkdocs.yml", ROOT / "pyproject.toml"):
        if not path.is_relative_to(ROOT / "tests"):
            text = re.sub(r"\S*(?:FOLDER|NAME|DIR)\S*", "", path.read_text())
            named = set(
                re.findall(r"(?<![\w./-])(?:docs|experiments|data_pipelines|tests)/[\w/]+\.(?:py|md)\b", text)
            )
            if missing := {name for name in named if not (ROOT / name).exists()}:
                wrong[path.relative_to(ROOT).as_posix()] = missing
    assert not wrong


def test_a_missing_path_is_noticed():
    text = "`tests/docs/` `experiments/config/training.py` `experiments/config.py` runs/docs/x `docs/no.md`"
    assert missing_paths(text) == {"experiments/config.py", "docs/no.md"}


@pytest.fixture(scope="module")
def words() -> set[str]:
    """Every word of the code and of what configures it, and every name of a file."""
    files = [path for path in MODULES if not path.is_relative_to(ROOT / "tests" / "docs")]
    files += [*ROOT.glob("*.toml"), *ROOT.glob("*.cfg"), *ROOT.glob("*.yml"), *ROOT.glob(".*.yaml")]
    files += [*ROOT.glob("*.cff"), *(ROOT / ".github").rglob("*.yml"), *(ROOT / "constraints").glob("*")]
    names = (part for path in (*MODULES, *PAGES, *files) for part in path.relative_to(ROOT).parts)
    texts = (re.sub(r"\W", " ", path.read_text()) for path in files)
    return set(itertools.chain(*(text.split() for text in texts), *(re.split(r"\W", name) for name in names)))


def unknown_names(text: str, words: set[str]) -> list[str]:
    """What stands in backquotes as a name of the code, and is none."""
    names = [
        span
        for span in pages.spans(text)
        if re.fullmatch(r"[A-Za-z_][\w.]*", span) and span not in ELSEWHERE and not DATA_FILE.fullmatch(span)
    ]
    return [name for name in names if not {part for part in name.split(".") if part} <= words]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_names_in_backquotes_are_in_the_code(page, words):
    assert not unknown_names(page.read_text(), words)


def test_an_unknown_name_is_noticed(words):
    assert unknown_names("`kl_weight` `RelationModule` `kl_weihgt` `oddn_jax.lode`", words) == [
        "kl_weihgt",
        "oddn_jax.lode",
    ]


def misplaced_names(page, text: str) -> list[str]:
    """What a page says to be `name` in [a file](of the repository), and is not."""
    said = re.findall(r"`([\w.]+)`[^`|\n]{0,40}? in\s\[[^\]]*\]\(([^)#\s]+\.py)\)", text)
    parts = [
        (name, part, (page.parent / path).read_text()) for name, path in said for part in name.split(".")
    ]
    return [name for name, part, code in parts if not re.search(rf"\b{part}\b", code)]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_names_are_in_the_files_that_are_said(page):
    assert not misplaced_names(page, page.read_text())


def test_a_misplaced_name_is_noticed():
    text = "`ari` with `foreground_only` in [m](../oddn_jax/metrics.py), `ODDN.losss` in [x](../oddn_jax/model.py)"
    assert misplaced_names(ROOT / "docs" / "code_map.md", text) == ["ODDN.losss"]
    assert len(re.findall(r"` in\s\[", (ROOT / "docs" / "code_map.md").read_text())) > 10


def folders_of_the_map(text: str) -> set[str]:
    """The folders of the tree under "Folders", whole paths."""
    (tree,) = (block.text for block in pages.blocks(text) if block.heading == "Folders")
    found, above = set(), []
    for line in tree.splitlines():
        indent, names = re.match(r"( *)((?:\w+/ ?)+)", line).groups()
        del above[len(indent) // 2 :]
        found |= {"".join(above) + name for name in names.split()}
        above.append(names.split()[0])
    return {folder.rstrip("/") for folder in found}


def test_the_code_map_names_every_folder():
    named = folders_of_the_map((ROOT / "docs" / "code_map.md").read_text())
    with_code = {path.parent.relative_to(ROOT).as_posix() for path in MODULES}
    assert with_code - named == set()
    assert {folder for folder in named if not (ROOT / folder).is_dir()} == set()
    assert folders_of_the_map("## Folders\n```\na/   x\n  b/ c/  y\n    d/\ne/\n```\n") == {
        "a",
        "a/b",
        "a/c",
        "a/b/d",
        "e",
    }


def test_the_index_names_every_program():
    text = (ROOT / "experiments" / "README.md").read_text()
    parts = [path for path in (ROOT / "experiments").iterdir() if path.name[0] not in "_."]
    named = set(re.findall(r"^\| \[?(\w+)", text, re.MULTILINE))
    missing = {path.stem for path in parts if path.suffix == ".py" or path.is_dir()} - named
    assert missing == {"command_line"} and "command_line.py" in text


def test_version_is_one():
    newest = re.search(r"^## (\S+),", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    assert newest == cited == __version__
