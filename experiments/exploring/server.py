"""The server: this machine's own pages alone, requests of bounded size, one line for whatever is wrong with them.

Whoever may open a connection to this machine's loopback may look and play; nothing here reads, writes or names a file.
"""

import importlib.resources
import json
import sys
import threading
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from experiments.exploring.answers import Answer, Explorer
from experiments.exploring.clips import MOST_UPLOADED
from experiments.exploring.sessions import Gone, Superseded
from oddn_jax.records import parse_record

LOOPBACK = "127.0.0.1"
MOST_ASKED = 2**16  # bytes of a request that is no upload
MOST_CONNECTIONS = 64
PATIENCE = 30.0  # seconds that a connection may be silent
SCRIPT = "text/javascript; charset=utf-8"
ASSETS = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{
        f"/{name}.js": (f"{name}.js", SCRIPT)
        for name in ("page", "showing", "gestures", "panel", "drawing", "asking")
    },
}
JSON = "application/json"
UPLOAD = "application/octet-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refused(Exception):
    """A request that is not answered."""

    def __init__(self, status: HTTPStatus, reason: str):
        super().__init__(reason)
        self.status = status


class Server(ThreadingHTTPServer):
    """Serves the page of an explorer on the loopback; port 0 takes a free one."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, explorer: Explorer, port: int):
        self.explorer = explorer
        self.ready = threading.Event()  # what gestures need is compiled
        self.assets = {path: (kind, _asset(name)) for path, (name, kind) in ASSETS.items()}
        self.uploads = threading.Semaphore()  # one is in memory at a time
        self._free = threading.Semaphore(MOST_CONNECTIONS)
        super().__init__((LOOPBACK, port), Handler)
        self.names = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives a connection a thread of its own, if there are not too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The life of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that left in the middle of an answer is no error."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def service_actions(self) -> None:
        """Frees the states of silent pages, twice a second."""
        len(self.explorer.sessions)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "explore", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        """The page and what belongs to it."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """What the page asks."""
        self._answer(self._post)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing of each request."""

    def _get(self) -> Answer:
        if self.path == "/api/status":
            return JSON, json.dumps({"ready": self.server.ready.is_set()}).encode()
        if self.path not in self.server.assets:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        return self.server.assets[self.path]

    def _post(self) -> Answer:
        explorer = self.server.explorer
        answers: dict[str, Callable] = {
            f"/api/{answer.__name__}": answer
            for answer in (
                explorer.open,
                explorer.imagine,
                explorer.reality,
                explorer.keepsake,
                explorer.ping,
                explorer.close,
            )
        }
        # Neither kind can be sent by a form of another site.
        if self.path == "/api/upload":
            if not self.server.uploads.acquire(blocking=False):
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "another upload is being read: try again")
            try:
                return explorer.upload(self._body(UPLOAD, MOST_UPLOADED))
            finally:
                self.server.uploads.release()
        if self.path not in answers:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such question")
        body = self._body(JSON, MOST_ASKED)
        try:
            record = parse_record(body)
        except ValueError as error:
            raise ValueError(f"the request is no record: {error}") from None
        return answers[self.path](record)

    def _body(self, kind: str, most: int) -> bytes:
        if self.headers.get_content_type() != kind:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{kind} is wanted")
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not length.isascii() or not length.isdecimal():
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "a request says how long it is")
        if len(length) > 12 or int(length) > most:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {most} bytes are read")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError
        return body

    def _check_sender(self) -> None:
        """Refuses what another site has the browser send: by its own name for this address, or from its pages."""
        if self.headers.get_all("Host", []) not in [[name] for name in self.server.names]:
            raise Refused(HTTPStatus.FORBIDDEN, "this address has another name")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{name}" for name in self.server.names}:
            raise Refused(HTTPStatus.FORBIDDEN, "pages of other sites are not answered")
        if (
            self.path.startswith("/api/")
            and self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin"
        ):
            raise Refused(HTTPStatus.FORBIDDEN, "pages of other sites are not answered")

    def _answer(self, find: Callable[[], Answer]) -> None:
        """Sends what was found, or one line that says why there is nothing."""
        status = HTTPStatus.OK
        try:
            self._check_sender()
            kind, body = find()
        except Refused as refusal:
            self.close_connection = True  # the rest of the request is not read
            status, kind, body = refusal.status, JSON, _error(refusal)
        except Superseded:
            status, kind, body = HTTPStatus.CONFLICT, JSON, _error("superseded")
        except Gone as gone:
            status, kind, body = HTTPStatus.GONE, JSON, _error(gone)
        except (ValueError, MemoryError) as error:
            status, kind, body = HTTPStatus.BAD_REQUEST, JSON, _error(error)
        except ConnectionError:
            raise
        except Exception:
            traceback.print_exc()
            self.close_connection = True
            fault = "this is a fault of the program: its terminal shows where"
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, JSON, _error(fault)
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _error(reason: object) -> bytes:
    line = (str(reason).strip().splitlines() or ["not enough memory"])[0]
    return json.dumps({"error": line}).encode()


def _asset(name: str) -> bytes:
    return importlib.resources.files("experiments.exploring").joinpath("page", name).read_bytes()
