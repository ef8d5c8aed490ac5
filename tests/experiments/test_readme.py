"""The Python blocks of README.md run as they stand."""

from tests.experiments import readme_blocks


def test_every_block_runs(run_program, tmp_path):
    """In a process without the tests' checks of annotations, as for whoever copies them."""
    headings = [heading for heading, _ in readme_blocks.blocks(readme_blocks.README.read_text())]
    for heading in ("Use the library", "Use the parameters in your project", "Understand a trained model"):
        assert heading in headings
    folder = tmp_path / "folder"
    folder.mkdir()
    code, output = run_program("-W", "error", "-m", "tests.experiments.readme_blocks", str(folder))
    assert code == 0, output
    lines = output.splitlines()
    assert [line.removeprefix("# ") for line in lines if line.startswith("# ")] == headings
    for line in ("future (1, 6, 32, 32, 3)", "predicted_video (1, 6, 16, 16, 3)", "position (4, 5)"):
        assert line in lines


def test_blocks_are_found_under_their_headings():
    text = "# A\n```bash\n# B\n```\n## C\n```python\nx = 1  # D\n```\n```python\n# E\n```\n"
    assert readme_blocks.blocks(text) == [("C", "x = 1  # D\n"), ("C", "# E\n")]


def test_a_block_that_fails_is_noticed(run_program, tmp_path):
    program = (
        "from tests.experiments import readme_blocks\n"
        "readme_blocks.blocks = lambda text: [('Broken', 'import numpy\\nnumpy.nothing\\n')]\n"
        f"readme_blocks.main({str(tmp_path)!r})"
    )
    code, output = run_program("-c", program)
    assert code == 1 and "README.md, Broken" in output and "has no attribute 'nothing'" in output
