"""A page to play with a model: what it believes of a clip, what it predicts, and what a change would make of it.

python -m experiments.explore --model=RUN|FILE|NAME --input=VIDEO.mp4|FOLDER|ANIMATION.gif

Opens a page on this machine alone (127.0.0.1), which needs nothing from the net: hold an object, push it, move it,
remove or double it, slide the model's numbers, and see what follows; of simulated scenes, what would really have
happened beside it. Without --model the bundled model is taken, without --input a fresh scene is simulated. Ctrl-C ends
it.
"""

import argparse
import os
import pathlib
import sys
import threading
import webbrowser

from data_pipelines.command_line import INTERRUPTED
from data_pipelines.video import is_video_file
from experiments import command_line
from experiments.exploring.answers import Explorer
from experiments.exploring.clips import recorded_clip
from experiments.exploring.server import Server
from experiments.runs.logs import say
from experiments.runs.trained import add_model_argument, open_named

LARGEST_PORT = 65535


def arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("--input", type=pathlib.Path, help="a video file, an image, or a folder of images")
    parser.add_argument(
        "--stride", type=int, help="take every n-th frame (default: as in training, of images 1)"
    )
    parser.add_argument("--port", type=int, default=0, help="of the page's address (default: a free one)")
    parser.add_argument("--no_browser", action="store_true", help="open no browser, only say the address")


def main(options: argparse.Namespace) -> None:
    """Serves the page until it is interrupted."""
    if not 0 <= options.port <= LARGEST_PORT:
        raise ValueError(f"--port={options.port} must be from 0, which takes a free one, to {LARGEST_PORT}")
    if options.stride is not None and options.stride < 1:
        raise ValueError(f"--stride={options.stride} must be at least 1")
    if options.input is not None and not options.input.exists():
        raise FileNotFoundError(f"--input={options.input}: no such file or folder")
    trained = open_named(options.model)
    stride = trained.data.stride if trained.data else 4
    if options.input is not None and not is_video_file(options.input):
        stride = 1
    explorer = Explorer(trained, options.stride or stride)
    if options.input is not None:
        explorer.clip = recorded_clip(options.input, *explorer.size, explorer.stride)
    try:
        served = Server(explorer, options.port)
    except OSError as error:
        raise OSError(f"--port={options.port}: {error.strerror}; without it a free one is taken") from None
    with served as server:
        threading.Thread(target=_prepare, args=(server,), daemon=True).start()
        print(f"explore: {server.address} (Ctrl-C ends it)", flush=True)
        if not options.no_browser:
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            # At once, whatever other threads compute: the interpreter could not end around a compiler. There is
            # nothing to save.
            sys.stdout.flush()
            os._exit(INTERRUPTED)


def _prepare(server: Server) -> None:
    """Compiles meanwhile, so that the first gesture need not wait."""
    server.explorer.warm()
    server.ready.set()
    say("ready")


if __name__ == "__main__":
    command_line.run_tool(main, arguments)
