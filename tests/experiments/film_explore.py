"""Films the page of `experiments.explore`: an object is held and pushed, what follows plays, another one is removed.

    XLA_FLAGS= python -m tests.experiments.film_explore docs/explore.gif

Needs the extra "browser" and a Chromium of this machine. Prints how long the changes took, from the gesture to the new
pictures in the browser.
"""

import io
import pathlib
import shutil
import statistics
import sys
import time

from PIL import Image
from playwright import sync_api

from data_pipelines.whole_files import whole_file
from experiments.exploring.answers import Explorer
from experiments.machine.preparation import prepare
from experiments.runs.trained import open_named
from tests.experiments.exploration import serving

SCENE = 2
WIDTH = 640  # pixels
COLORS = 64
PAUSE = 100  # milliseconds between pictures


class Film:
    """The pictures of the page's upper part, one after the other."""

    def __init__(self, page):
        self.page, self.frames, self.shown = page, [], []

    def shoot(self, milliseconds=PAUSE):
        """Adds the page as it is, for so long."""
        image = Image.open(io.BytesIO(self.page.locator("#views").screenshot())).convert("RGB")
        height = round(WIDTH * image.height / image.width)
        self.frames.append(image.resize((WIDTH, height), Image.Resampling.LANCZOS))
        self.shown.append(milliseconds)

    def play(self):
        """Adds the frames from the change on."""
        for frame in range(
            self.page.evaluate("explore.change.frame"), self.page.evaluate("explore.change.frame") + 11
        ):
            self.page.locator("#at").evaluate(
                "(x, v) => { x.value = v; x.dispatchEvent(new Event('input')); }", frame
            )
            self.shoot()
        self.shown[-1] = 900

    def save(self, path):
        """Writes the animation, whole or not at all."""
        tallest = max(frame.height for frame in self.frames)
        strip = Image.new("RGB", (WIDTH, tallest * len(self.frames)), "white")
        for row, frame in enumerate(self.frames):
            strip.paste(frame, (0, row * tallest))
        # One palette for all frames, so that nothing flickers.
        indexed = strip.quantize(COLORS, dither=Image.Dither.NONE)
        canvases = [indexed.crop((0, top, WIDTH, top + tallest)) for top in range(0, strip.height, tallest)]
        with whole_file(path) as partial:
            rest = dict(save_all=True, append_images=canvases[1:], duration=self.shown, loop=0, optimize=True)
            canvases[0].save(partial, format="GIF", **rest)


def settled(page):
    """Waits for the newest change's pictures, and for what really happens."""
    while not page.evaluate(
        "!!explore.real && JSON.stringify(explore.imaginedOf) === JSON.stringify(explore.change)"
    ):
        time.sleep(0.02)


def film(page):
    """Pushes the first slot that shows an object, then removes another."""
    result = Film(page)
    page.evaluate("scrollTo(0, 0)")
    frame = page.evaluate("explore.change.frame")
    named = [int(slot) for slot in page.evaluate(f"Object.keys(explore.clip.facts.names[{frame}])")]
    centre = page.evaluate(
        f"Array.from(explore.imagined.arrays.centre.data.slice({2 * named[0]}, {2 * named[0] + 2}))"
    )
    box, (height, width) = (
        page.locator("#stage").bounding_box(),
        page.evaluate("explore.clip.arrays.video.shape.slice(1, 3)"),
    )
    x, y = (
        box["x"] + (centre[0] + 0.5) / width * box["width"],
        box["y"] + (centre[1] + 0.5) / height * box["height"],
    )
    away = 1 if centre[0] < width / 2 else -1
    result.shoot(900)
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(2, 9, 2):
        page.mouse.move(x + away * step * box["width"] / 32, y + step * box["height"] / 90)
        time.sleep(0.3)
        result.shoot()
    page.mouse.up()
    settled(page)
    result.play()
    page.click("#reset")
    page.locator(f"#slots button[data-slot='{named[-1]}']").click()
    settled(page)
    page.locator("#at").evaluate("(x, v) => { x.value = v; x.dispatchEvent(new Event('input')); }", frame)
    result.shoot(600)
    page.click("#remove")
    settled(page)
    result.play()
    return result


def main(path):
    """Serves, films, writes and prints."""
    prepare()
    explorer = Explorer(open_named("quickstart"), 4)
    explorer.warm()
    with serving(explorer) as server, sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1320, "height": 1000}, reduced_motion="reduce")
        page.goto(server.address)
        while not page.evaluate("!!globalThis.explore?.real"):
            time.sleep(0.1)
        page.fill("#scene", str(SCENE))
        page.click("#open")
        while not page.evaluate(f"explore.clip.facts.scene === {SCENE} && !!explore.real"):
            time.sleep(0.1)
        page.evaluate("explore.milliseconds.length = 0")
        film(page).save(path)
        took = page.evaluate("explore.milliseconds")
        browser.close()
    print(f"{path}: {path.stat().st_size} bytes")
    print(f"{len(took)} changes: median {statistics.median(took):.0f} ms, longest {max(took):.0f} ms")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
