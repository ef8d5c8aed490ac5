"""An explorer of a tiny model, its server in a thread, and requests to it."""

import contextlib
import http.client
import json
import threading

import jax
import numpy as np

import oddn_jax
from experiments.config import DataConfig
from experiments.exploring.answers import Explorer
from experiments.exploring.server import Server
from experiments.runs.trained import Trained
from tests.conftest import PATIENCE
from tests.experiments.tiny import DATA_NAME, make_model_config

CHANGE = {"frame": 4, "num_steps": 15, "relation": True, "edits": []}


def make_trained(system="ODDN", name="tiny"):
    """A model of random parameters that sees 16x16, as if it had been trained on the quickstart's scenes."""
    model = oddn_jax.MODELS[system](make_model_config(system))
    params = jax.jit(model.initialize)(jax.random.key(3))
    return Trained(model, params, DataConfig(name="simulated_clevrer", config=DATA_NAME), {}, name)


def make_explorer(system="ODDN", name="tiny"):
    return Explorer(make_trained(system, name), 4)


@contextlib.contextmanager
def serving(explorer):
    with Server(explorer, 0) as server:
        server.ready.set()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def request(server, path, body=None, method=None, **headers):
    """Status, headers and body; headers are those of a page of the server's own, but for those that are given."""
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    usual = {"Host": f"127.0.0.1:{server.server_port}"}
    if body is not None:
        usual |= {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{server.server_port}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
    with contextlib.closing(connection):
        wanted = {name: value for name, value in (usual | named).items() if value is not None}
        connection.request(method or ("GET" if body is None else "POST"), path, body, wanted)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def ask(server, path, body, **headers):
    """Facts and arrays of an answer, or the status and what was told."""
    status, _, content = request(server, f"/api/{path}", body, **headers)
    return unpack(content) if status == 200 else (status, json.loads(content)["error"])


def unpack(content):
    """What the page's own `unpack` does."""
    length = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + length])
    arrays = {}
    for entry in header["arrays"]:
        kind = np.uint8 if entry["kind"] == "u8" else np.dtype("<f4")
        count, start = int(np.prod(entry["shape"])), 4 + length + entry["offset"]
        arrays[entry["name"]] = np.frombuffer(content, kind, count, start).reshape(entry["shape"])
    return header["facts"], arrays
