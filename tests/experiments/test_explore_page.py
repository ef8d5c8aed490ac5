"""The page in a browser: it opens, holds, pushes, removes, predicts, and shows the bytes that the functions gave."""

import shutil
import time

import numpy as np
import pytest

from experiments.exploring.changes import Room, parse_change
from experiments.exploring.counterfactual import happens
from experiments.exploring.imagination import imagine
from experiments.exploring.wire import to_pixels
from tests.conftest import PATIENCE
from tests.experiments.exploration import make_explorer, serving

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser: playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium of this machine")
ROOM = Room(10, 3, 4, 4)
# What sticks out of the window to the right.
TOO_WIDE = (
    "[...document.querySelectorAll('body *:not(pre *)')].filter(x => x.getBoundingClientRect().right > innerWidth + 1)"
    ".map(x => `${x.tagName} ${x.id} ${x.textContent.slice(0, 40)}`)"
)


@pytest.fixture(scope="module")
def served():
    with serving(make_explorer()) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(served, browser):
    """A page of its own, with the first scene; nothing may go wrong in it that it does not say."""
    with browser.new_context(viewport={"width": 1200, "height": 1000}, reduced_motion="reduce") as context:
        opened, said = context.new_page(), []
        opened.said = said
        opened.set_default_timeout(1000 * PATIENCE)
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto(served.address)
        wait(opened, "globalThis.explore?.imagined && explore.real")
        yield opened
        assert not said


def wait(page, condition):
    """Until an expression of the page is true; its own waiting would need eval, which the page forbids itself."""
    deadline = time.monotonic() + PATIENCE
    while not page.evaluate(f"!!({condition})"):
        assert time.monotonic() < deadline, (condition, page.inner_text("#line"))
        time.sleep(0.02)


def settled(page):
    """Until the newest change is answered, its reality too."""
    wait(page, "explore.real && JSON.stringify(explore.imaginedOf) === JSON.stringify(explore.change)")


def pixels(page, figure):
    """What a picture of the page holds, u8[h w 3]."""
    values = page.evaluate(
        "id => { const c = document.querySelector(`#${id} .pixels`); const d = c.getContext('2d');"
        "return [c.height, c.width, ...d.getImageData(0, 0, c.width, c.height).data]; }",
        figure,
    )
    rgba = np.array(values[2:], np.uint8).reshape(*values[:2], 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def state(page, expression):
    return page.evaluate(f"structuredClone(explore.{expression})")


def computed(served, page):
    """What the functions make of the page's change: pictures u8[s+1 h w 3], and what really happens or None."""
    kept = served.explorer.sessions.find(state(page, "clip.facts.session"))
    change = parse_change(state(page, "change"), ROOM)
    found = imagine(served.explorer.thinker, kept.belief, change)
    try:
        real = happens(kept.clip, kept.belief.objects[change.frame], 3, change).video
    except ValueError:
        real = None
    return to_pixels(found.decoded.reconstruction), real


def show(page, frame):
    page.locator("#at").evaluate("(at, v) => { at.value = v; at.dispatchEvent(new Event('input')); }", frame)
    assert state(page, "at") == frame


def refused(page, status):
    """Takes note that the browser's console tells of refused requests, and of nothing else."""
    assert page.said and all(f"responded with a status of {status}" in text for text in page.said)
    page.said.clear()


def assert_shows(served, page):
    """The pictures of frames before, at and after the change, byte for byte."""
    settled(page)
    model, real = computed(served, page)
    clip = served.explorer.sessions.find(state(page, "clip.facts.session")).clip.video
    frame = state(page, "change.frame")
    for step in (0, 1, 7, 15):
        show(page, frame + step)
        np.testing.assert_array_equal(pixels(page, "model-view"), model[step])
        if real is not None:
            np.testing.assert_array_equal(pixels(page, "real"), real[step])
            wrong = np.minimum(4 * np.abs(model[step].astype(int) - real[step]), 255)
            np.testing.assert_array_equal(pixels(page, "difference"), wrong)
            error = state(page, f"errors[{step}]")
            assert error == pytest.approx(((model[step] - real[step].astype(float)) ** 2).mean() / 255**2)
        if frame + step < len(clip):
            np.testing.assert_array_equal(pixels(page, "clip"), clip[frame + step])


def point(page, slot):
    """Where in the window a pixel is whose largest share is a slot's."""
    row = state(page, "imagined.facts.slots").index(slot)
    masks = np.array(page.evaluate("Array.from(explore.imagined.arrays.masks.data.slice(0, 3 * 256))"))
    y, x = np.argwhere(masks.reshape(3, 16, 16).argmax(0) == row)[0]
    box = page.locator("#stage").bounding_box()
    return (
        box["x"] + (x + 0.5) / 16 * box["width"],
        box["y"] + (y + 0.5) / 16 * box["height"],
        box["width"] / 16,
    )


def a_visible_slot(page):
    masks = np.array(page.evaluate("Array.from(explore.imagined.arrays.masks.data.slice(0, 3 * 256))"))
    return int(masks.reshape(3, 16, 16).argmax(0)[8, 8])


def test_it_opens_with_what_is_seen_and_predicted(served, page):
    assert page.inner_text("#data") == "simulated" and "tiny (ODDN)" in page.inner_text("#model")
    assert_shows(served, page)
    show(page, 2)
    seen = served.explorer.sessions.find(state(page, "clip.facts.session")).belief.seen
    np.testing.assert_array_equal(pixels(page, "model-view"), to_pixels(seen.decoded.reconstruction[2]))
    assert page.inner_text("#kind") == "seen" and "3 of 10, seen" in page.inner_text("#when")
    show(page, 6)
    assert page.inner_text("#kind") == "predicted, +2"
    assert page.locator("#model-view.predicted").count() == 1
    assert "Mean squared error" in page.inner_text("#curve-text")


def test_dragging_pushes(served, page):
    slot = a_visible_slot(page)
    x, y, pixel = point(page, slot)
    page.mouse.move(x, y)
    assert f"slot {slot + 1}" in page.inner_text("#hover") and "% of the picture" in page.inner_text("#hover")
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(x + step * pixel / 2, y + step * pixel / 4)
    page.mouse.up()
    (edit,) = state(page, "change.edits")
    assert edit["kind"] == "push" and edit["slot"] == slot == state(page, "held")
    assert edit["velocity"] == pytest.approx([1, 0.5], abs=0.05)  # four pixels in four frames
    assert_shows(served, page)
    assert "pushed by x +1.0" in page.inner_text("#edits")
    page.click("#undo")
    settled(page)
    assert state(page, "change.edits") == []


def test_removing_doubling_and_what_really_happens(served, page):
    page.locator("#slots button:visible").nth(1).click()
    page.click("#remove")
    settled(page)
    assert (
        state(page, "imagined.facts.slots") == [0, 2] and page.locator("#slots button:visible").count() == 2
    )
    assert_shows(served, page)
    page.locator("#slots button:visible").nth(1).click()
    page.click("#double")
    settled(page)
    assert state(page, "imagined.facts.slots") == [0, 2, 3] and state(page, "held") == 3
    assert "a copy of slot 3" in page.inner_text("#held-name")
    page.select_option("#other", "0")
    page.click("#swap")
    settled(page)
    page.uncheck("#relation")
    assert_shows(served, page)
    page.click("#reset")
    assert_shows(served, page)


def test_sliders_and_what_has_no_counterpart(served, page):
    page.locator("#slots button:visible").nth(0).click()
    for kind, value in (("turn", 1.5), ("slide", -2.0)):
        slider = page.locator(f"#sliders [data-kind={kind}] input").nth(1)
        slider.evaluate(
            "(x, v) => { x.value = v; for (const e of ['input', 'change']) x.dispatchEvent(new Event(e)); }",
            value,
        )
        settled(page)
    assert state(page, "change.edits") == [
        {"kind": "turn", "slot": 0, "dimension": 1, "value": 1.5},
        {"kind": "slide", "slot": 0, "dimension": 1, "value": -2},
    ]
    assert_shows(served, page)
    assert "model" in page.inner_text("#reason")


def test_the_keyboard_alone(served, page):
    page.focus("#play")
    for _ in range(40):  # on to the first slot
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#slots') !== null"):
            break
    page.keyboard.press("Enter")
    assert state(page, "held") == 0
    page.focus("#stage")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    settled(page)
    assert state(page, "change.edits") == [{"kind": "push", "slot": 0, "velocity": [0.25, 0.25]}]
    page.keyboard.press("d")
    settled(page)
    assert state(page, "imagined.facts.slots") == [0, 1, 2, 3]
    page.keyboard.press("Delete")
    settled(page)
    assert state(page, "imagined.facts.slots") == [0, 1, 2]
    page.keyboard.press(" ")
    wait(page, "explore.at > explore.change.frame + 1")
    page.keyboard.press(" ")
    assert not state(page, "playing")


def test_bad_input_is_one_line_in_the_page(served, page):
    page.fill("#scene", "999999")
    page.click("#open")
    wait(page, "document.querySelector('#line.wrong')")
    assert "scene is not what it may be" in page.inner_text("#line")
    page.set_input_files("#upload", {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"no video"})
    wait(page, "document.querySelector('#line.wrong')?.textContent.includes('no video')")
    page.fill("#scene", "1")
    page.click("#open")
    wait(page, "explore.clip.facts.scene === 1 && explore.imagined")
    assert page.inner_text("#line") == ""
    refused(page, 400)


def test_a_freed_state_comes_back_and_a_left_page_frees_its(served, page):
    page.locator("#slots button:visible").nth(1).click()
    page.click("#remove")
    settled(page)
    session = state(page, "clip.facts.session")
    served.explorer.sessions.free(session)
    page.locator("#slots button:visible").nth(0).click()
    page.click("#double")
    wait(page, f"explore.clip.facts.session !== '{session}' && explore.real")
    settled(page)
    assert [edit["kind"] for edit in state(page, "change.edits")] == ["remove", "double"]
    refused(page, 410)
    kept = len(served.explorer.sessions)
    page.goto("about:blank")
    deadline = time.monotonic() + PATIENCE
    while len(served.explorer.sessions) >= kept:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_taking_away(served, page, tmp_path):
    for kind, start in (("png", b"\x89PNG"), ("gif", b"GIF8"), ("npz", b"PK"), ("py", b'"""')):
        with page.expect_download() as download:
            page.click(f"button[data-kind={kind}]")
        assert download.value.suggested_filename == f"explored.{kind}"
        download.value.save_as(tmp_path / kind)
        assert (tmp_path / kind).read_bytes().startswith(start)
    assert "oddn_jax.load('tiny')" in page.inner_text("#code")


def test_narrow_enlarged_dark_and_with_long_words(served, browser):
    for size, scheme in (((375, 800), "dark"), ((600, 500), "light")):  # the second: 1200 wide at 200 %
        with browser.new_context(
            viewport=dict(zip(("width", "height"), size)), color_scheme=scheme
        ) as context:
            page = context.new_page()
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(served.address)
            wait(page, "globalThis.explore?.imagined && explore.real")
            page.locator("#slots button:visible").nth(1).click()
            page.evaluate(
                "for (const x of document.querySelectorAll('label, button, h2, figcaption, legend'))"
                "x.append(' Wahrscheinlichkeitsverteilungen der Hintergrundbewegungsvorhersage')"
            )
            assert not page.evaluate(TOO_WIDE)
            ink, paper = page.evaluate(
                "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
            )
            assert contrast(ink, paper) > 7
            soft = page.evaluate("getComputedStyle(document.querySelector('.soft')).color")
            assert contrast(soft, paper) > 4.5
            page.goto("about:blank")


def contrast(first, second):
    """Of two colours "rgb(r, g, b)", as WCAG 2 defines it."""

    def luminance(color):
        values = [int(x) / 255 for x in color[4:-1].split(",")]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in values]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    dark, light = sorted(map(luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)
