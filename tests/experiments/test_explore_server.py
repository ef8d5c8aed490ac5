"""The server of the page: what it answers, what it refuses, what it keeps, and how it ends."""

import concurrent.futures
import contextlib
import http.client
import io
import json
import signal
import socket
import time

import numpy as np
import pytest
from PIL import Image

import oddn_jax
from experiments.exploring import clips, server, sessions
from experiments.exploring.changes import Room, parse_change
from experiments.exploring.imagination import imagine
from experiments.exploring.wire import to_pixels
from tests.conftest import PATIENCE
from tests.experiments.exploration import CHANGE, ask, make_explorer, make_trained, request, serving

REMOVE = CHANGE | {"edits": [{"kind": "remove", "slot": 1}]}


@pytest.fixture(scope="module")
def served():
    with serving(make_explorer()) as running:
        yield running


@pytest.fixture(scope="module")
def opened(served):
    return ask(served, "open", {"scene": None})


@pytest.fixture
def session(served):
    """Of a page of its own, which has the first scene."""
    facts, _ = ask(served, "open", {"scene": 0})
    yield facts["session"]
    served.explorer.sessions.free(facts["session"])


def imagined(served, session, change=CHANGE, serial=1):
    return ask(served, "imagine", {"session": session, "serial": serial, "change": change})


def animation(count=3, size=(20, 16), kind="GIF"):
    frames = [Image.fromarray(np.full((*size[::-1], 3), 40 * n % 256, np.uint8)) for n in range(count)]
    frames[0].save(buffer := io.BytesIO(), kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


# ---- what it answers


def test_opening_gives_the_clip_and_what_the_model_believes(served, opened):
    facts, arrays = opened
    kept = served.explorer.sessions.find(facts["session"])
    assert facts["simulated"] and facts["has_dynamics"] and facts["has_relation"] and facts["scene"] == 0
    assert facts["horizons"] == [15, 31, 47, 63] and len(facts["colors"]) == 6
    assert arrays["video"].shape == (10, 16, 16, 3) and arrays["expected"].shape == (9, 3, 2)
    np.testing.assert_array_equal(arrays["video"], kept.clip.video)
    np.testing.assert_array_equal(
        arrays["reconstruction"], to_pixels(kept.belief.seen.decoded.reconstruction)
    )
    np.testing.assert_allclose(arrays["share"].sum(1), 1, atol=1e-5)


def test_imagining_gives_what_the_functions_give(served, session):
    facts, arrays = imagined(served, session, REMOVE)
    kept = served.explorer.sessions.find(session)
    found = imagine(served.explorer.thinker, kept.belief, parse_change(REMOVE, Room(10, 3, 4, 4)))
    assert facts["slots"] == [0, 2]
    np.testing.assert_array_equal(arrays["reconstruction"], to_pixels(found.decoded.reconstruction))
    np.testing.assert_array_equal(arrays["masks"], to_pixels(found.decoded.slot_masks[..., 0]))
    np.testing.assert_array_equal(arrays["dynamics"], found.start.dynamics)
    np.testing.assert_array_equal(arrays["pair_attention"], found.rollout.pair_attention)


def test_what_really_happens_and_why_not(served, session):
    question = {"session": session, "serial": 1, "change": CHANGE}
    _, arrays = ask(served, "reality", question)
    np.testing.assert_array_equal(arrays["video"][:6], served.explorer.sessions.find(session).clip.video[4:])
    slid = CHANGE | {"edits": [{"kind": "slide", "slot": 1, "dimension": 0, "value": 1}]}
    facts, arrays = ask(served, "reality", question | {"serial": 2, "change": slid})
    assert "what the model thinks" in facts["reason"] and not arrays


@pytest.mark.parametrize(
    ("kind", "start"), [("png", b"\x89PNG"), ("gif", b"GIF8"), ("npz", b"PK"), ("py", b'"""')]
)
def test_taking_away(served, session, kind, start):
    question = {"session": session, "serial": 1, "change": REMOVE, "kind": kind}
    status, _, content = request(served, "/api/keepsake", question)
    assert status == 200 and content.startswith(start)
    if kind == "npz":
        stored = np.load(io.BytesIO(content))
        assert (
            stored["predicted_frames"].shape == (15, 16, 16, 3)
            and json.loads(str(stored["change"])) == REMOVE
        )


@pytest.mark.slow
def test_a_model_without_dynamics_predicts_and_is_not_changed():
    with serving(make_explorer("PROVIDE")) as other:
        facts, arrays = ask(other, "open", {"scene": None})
        assert not facts["has_dynamics"] and facts["predicts"] and "dynamics" not in arrays
        found, future = imagined(other, facts["session"])
        assert future["reconstruction"].shape == (16, 16, 16, 3) and future["masks"].shape == (16, 3, 16, 16)
        assert found["slots"] == [0, 1, 2]
        refused = imagined(other, facts["session"], REMOVE, 2)
        assert refused == (400, "PROVIDE distils no dynamics: nothing can be changed")


def test_a_model_without_predictions_shows_its_slots():
    with serving(make_explorer("MONet")) as other:
        facts, arrays = ask(other, "open", {"scene": None})
        assert not facts["predicts"] and arrays["masks"].shape == (10, 3, 16, 16)
        assert imagined(other, facts["session"]) == (400, "MONet predicts no frames")


def test_a_model_without_slots_shows_its_pictures():
    with serving(make_explorer("SRVP")) as other:
        facts, arrays = ask(other, "open", {"scene": None})
        assert facts["predicts"] and "masks" not in arrays and facts["background"] is False
        assert imagined(other, facts["session"])[1]["reconstruction"].shape == (16, 16, 16, 3)


# ---- whom it answers


def test_it_listens_on_the_loopback_alone(served):
    assert served.socket.getsockname()[0] == "127.0.0.1"
    assert served.address == f"http://127.0.0.1:{served.server_port}/"


@pytest.mark.parametrize("path", ["/", "/page.js", "/api/status"])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:{port}", ""]
)
def test_another_name_for_this_address_is_refused(served, path, host):
    """DNS rebinding: the browser believes that it speaks to evil.example."""
    status, _, _ = request(served, path, Host=host.format(port=served.server_port))
    assert status == 403
    assert request(served, path, Host=f"localhost:{served.server_port}")[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_pages_of_other_sites_are_refused(served, origin):
    assert ask(served, "open", {"scene": 0}, Origin=origin) == (403, "pages of other sites are not answered")
    assert request(served, "/", Origin=origin)[0] == 403


def test_requests_that_the_browser_calls_cross_site_are_refused(served):
    assert ask(served, "open", {"scene": 0}, Sec_Fetch_Site="cross-site")[0] == 403
    assert ask(served, "ping", {"session": "no"}, Sec_Fetch_Site="same-origin")[0] == 410
    assert request(served, "/", Sec_Fetch_Site="cross-site")[0] == 200  # a link to the page


def test_what_a_form_can_send_is_refused(served):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
        assert request(served, "/api/open", b"{}", Content_Type=kind)[0] == 415
        assert request(served, "/api/upload", b"x", Content_Type=kind)[0] == 415


def test_answers_may_not_be_framed_scripted_kept_or_read_elsewhere(served):
    for path in ("/", "/page.js", "/nothing"):
        _, headers, _ = request(served, path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and headers["X-Content-Type-Options"] == "nosniff"
        assert (
            headers["Cache-Control"] == "no-store"
            and headers["Cross-Origin-Resource-Policy"] == "same-origin"
        )
        assert not [name for name in headers if name.startswith("Access-Control")]
        assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "path",
    [
        "/../../pyproject.toml",
        "/page/page.html",
        "//etc/passwd",
        "/%2e%2e/server.py",
        "/page.js/../../server.py",
        "/?x",
        "/api/open",
    ],
)
def test_no_path_reaches_a_file(served, path):
    assert request(served, path)[0] == 404


def test_the_page_needs_nothing_from_the_net(served):
    for path in served.assets:
        content = request(served, path)[2].decode()
        assert "http://" not in content and "https://" not in content and "@import" not in content


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "CONNECT"])
def test_other_methods_are_refused(served, method):
    assert request(served, "/", method=method)[0] == 501


# ---- how much it takes


def raw(served, head, body=b""):
    """The first line of the answer to a request as it is written."""
    with socket.create_connection(("127.0.0.1", served.server_port), timeout=PATIENCE) as connection:
        connection.sendall(
            head.replace("PORT", str(served.server_port)).replace("\n", "\r\n").encode() + body
        )
        return connection.makefile("rb").readline().decode().strip()


def test_a_request_of_no_known_length_is_not_read(served):
    head = "POST /api/open HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Type: application/json\n"
    for lines in ("", "Transfer-Encoding: chunked\n", "Content-Length: -1\n", "Content-Length: ²\n"):
        line = raw(served, f"{head}{lines}\n")
        assert line.startswith(("HTTP/1.1 411", "HTTP/1.1 400")), lines


@pytest.mark.parametrize(("path", "kind"), [("open", server.JSON), ("upload", server.UPLOAD)])
def test_a_request_that_is_too_large_is_refused_before_it_comes(served, path, kind):
    head = (
        f"POST /api/{path} HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Type: {kind}\nContent-Length: {10**11}\n\n"
    )
    assert raw(served, head).startswith("HTTP/1.1 413")


def test_too_many_connections_are_closed_and_the_others_go_on(served):
    with contextlib.ExitStack() as stack:
        address = "127.0.0.1", served.server_port
        held = [
            stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
            for _ in range(server.MOST_CONNECTIONS + 8)
        ]
        assert held[-1].recv(1) == b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if request(served, "/")[0] == 200:
                return
    raise AssertionError("the server does not answer any more")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "the request is no record"),
        (b"[1]", "a list, not an object"),
        (b'{"scene": NaN}', "NaN is no number"),
        (b'{"scene": ' + b"[" * 30_000, "nested more than"),
        (b'{"scene": 1, "scene": 2}', "stands there twice"),
        (b'{"scene": -1}', "scene is not what it may be"),
        (b'{"scene": 10000}', "scene is not what it may be"),
        (b'{"scene": "../x"}', "scene is not what it may be"),
        (b'{"scene": "\xff"}', "no text in UTF-8"),
    ],
)
def test_bad_input_is_one_line_and_the_server_goes_on(served, body, told):
    status, line = ask(served, "open", body)
    assert status == 400 and told in line and "\n" not in line
    assert request(served, "/")[0] == 200


def test_a_fault_is_one_line_and_the_server_goes_on(served, session, monkeypatch, capsys):
    def fail(*arguments):
        raise ZeroDivisionError("hidden")

    monkeypatch.setattr(served.explorer, "_imagine", fail)
    status, line = imagined(served, session)
    assert status == 500 and "fault of the program" in line and "hidden" not in line
    assert "ZeroDivisionError: hidden" in capsys.readouterr().err
    monkeypatch.undo()
    assert imagined(served, session, serial=2)[0]["slots"] == [0, 1, 2]


def test_a_wrong_change_is_one_line(served, session):
    assert imagined(served, session, CHANGE | {"num_steps": 10**9})[0] == 400
    assert ask(served, "imagine", {"session": session, "serial": -1, "change": CHANGE})[0] == 400
    assert (
        ask(served, "keepsake", {"session": session, "serial": 1, "change": CHANGE, "kind": "../x"})[0] == 400
    )


# ---- uploads

needs_memory_files = pytest.mark.skipif(not clips.can_upload(), reason="needs files in memory (Linux)")


def upload(served, content):
    return ask(served, "upload", content, Content_Type=server.UPLOAD)


@needs_memory_files
def test_an_upload_becomes_a_clip_and_no_file(served, monkeypatch):
    facts, arrays = upload(served, animation(4))
    assert arrays["video"].shape == (4, 16, 16, 3) and not facts["simulated"]
    assert facts["account"].startswith("the upload, 4 frames (every 1., from frame 0) of 20x16 pixels")
    answer, _ = ask(
        served, "reality", {"session": facts["session"], "serial": 1, "change": CHANGE | {"frame": 2}}
    )
    assert answer["reason"].startswith("nobody knows")
    served.explorer.sessions.free(facts["session"])


@needs_memory_files
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nothing", "no video and no image"),
        (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
            "the upload is",
        ),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "the upload is"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\n", "the upload is"),
        (
            b'<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011"></MPD>',
            "the upload is",
        ),
        (animation(1, kind="PNG"), "has one frame only"),
        (animation(3)[:-40], "the upload"),
    ],
    ids=["noise", "m3u8", "concat", "sdp", "dash", "still", "cut off"],
)
def test_what_is_no_video_or_names_other_files_is_refused(served, content, told):
    status, line = upload(served, content)
    assert status == 400 and told in line and "/proc" not in line


@needs_memory_files
def test_one_upload_is_in_memory_at_a_time(served):
    head = f"POST /api/upload HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Type: {server.UPLOAD}\nContent-Length: 999\n\n"
    with socket.create_connection(("127.0.0.1", served.server_port), timeout=PATIENCE) as slow:
        slow.sendall(head.replace("PORT", str(served.server_port)).replace("\n", "\r\n").encode())
        deadline = time.monotonic() + PATIENCE
        while served.uploads._value and time.monotonic() < deadline:
            time.sleep(0.01)
        assert upload(served, animation()) == (503, "another upload is being read: try again")
    while not served.uploads._value and time.monotonic() < deadline:
        time.sleep(0.01)
    assert upload(served, b"nothing")[0] == 400


@needs_memory_files
def test_frames_and_pixels_of_uploads_are_limited(served, monkeypatch):
    monkeypatch.setattr(clips, "MOST_FRAMES", 6)
    facts, arrays = upload(served, animation(12, size=(16, 16)))
    assert len(arrays["video"]) == 6
    served.explorer.sessions.free(facts["session"])
    buffer = io.BytesIO()
    Image.new("1", (40_000, 40_000)).save(buffer, "PNG")  # 200 kB that would become 5 GB
    assert upload(served, buffer.getvalue())[1].startswith(
        "the upload has frames of more than 8388608 pixels"
    )
    monkeypatch.setattr(clips, "MOST_PIXELS", 100)
    assert upload(served, animation())[1].startswith("the upload has frames of more than 100 pixels")


# ---- pages and their states


def test_two_pages_have_states_of_their_own(served, session):
    other, arrays = ask(served, "open", {"scene": 1})
    assert other["session"] != session and other["scene"] == 1
    mine = served.explorer.sessions.find(session).clip
    assert not np.array_equal(arrays["video"], mine.video)
    # Serials count for each page alone: a high one of one page overtakes nothing of the other.
    assert imagined(served, other["session"], serial=10**6)[0]["slots"] == [0, 1, 2]
    assert imagined(served, session, serial=1)[0]["slots"] == [0, 1, 2]
    assert ask(served, "close", {"session": other["session"]}) == ({}, {})
    status, line = imagined(served, other["session"])
    assert status == 410 and "reload" in line


def test_states_of_silent_pages_and_of_too_many_are_freed(served, session, monkeypatch):
    kept = served.explorer.sessions
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 2)
    keys = [session]
    for _ in range(sessions.MOST_SESSIONS + 1):
        facts, _ = ask(served, "open", {"scene": 0})
        keys.append(facts["session"])
    assert len(kept) == sessions.MOST_SESSIONS
    assert ask(served, "ping", {"session": keys[0]})[0] == 410  # silent longest
    assert ask(served, "ping", {"session": keys[-1]}) == ({}, {})
    monkeypatch.setattr(sessions, "SILENCE", -1.0)
    deadline = time.monotonic() + PATIENCE
    while kept._held and time.monotonic() < deadline:  # the server looks by itself
        time.sleep(0.02)
    assert not kept._held


def test_of_fifty_gestures_at_once_the_newest_wins_and_none_queue_up(served, session, monkeypatch):
    worked, original = [], served.explorer._imagine

    def slow(held, change):
        worked.append(change)
        time.sleep(0.2)
        return original(held, change)

    monkeypatch.setattr(served.explorer, "_imagine", slow)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda serial: imagined(served, session, serial=serial), range(1, 51)))
    assert answers[-1][0]["slots"] == [0, 1, 2]
    refused = [answer for answer in answers if answer == (409, "superseded")]
    assert len(refused) + len(worked) == 50 and len(worked) < 25


# ---- the program


def test_the_program_opens_and_ends_at_once(start_program, tmp_path):
    trained = make_trained()
    oddn_jax.save(tmp_path / "tiny.safetensors", trained.model.config, trained.params)
    process = start_program(
        "-m", "experiments.explore", f"--model={tmp_path / 'tiny.safetensors'}", "--no_browser"
    )
    deadline = time.monotonic() + PATIENCE
    while "Ctrl-C" not in (said := process.output.read_text()) and time.monotonic() < deadline:
        assert process.poll() is None, said
        time.sleep(0.05)
    address = said.partition("http://")[2].split("/")[0]
    with contextlib.closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as connection:
        connection.request("GET", "/")
        assert b"What this model believes" in connection.getresponse().read()
        process.send_signal(signal.SIGINT)  # with the connection open, and while it compiles
        assert process.wait(timeout=PATIENCE) == 130
    assert "Traceback" not in process.output.read_text()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--port=70000", "--port=70000 must be from 0"),
        ("--input=no.mp4", "no such file"),
        ("--stride=0", "at least 1"),
    ],
)
def test_wrong_options_are_one_line(option, told, capsys):
    from experiments import command_line, explore

    with pytest.raises(SystemExit) as caught:
        command_line.run_tool(explore.main, explore.arguments, ["explore.py", option, "--no_browser"])
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = f"--port={other.getsockname()[1]}"
        test_wrong_options_are_one_line(port, f"{port}: Address already in use; without it", capsys)
