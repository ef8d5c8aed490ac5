"""Answers questions about a video, with the bundled model and a bundled reasoner.

    python -m experiments.ask --input=VIDEO.mp4|FOLDER|ANIMATION.gif "How many objects are moving?" ...
    python -m experiments.ask --input=VIDEO.mp4 "Which of the following is responsible for the collision between the
        cube and the sphere?" --choice="The cylinder's entrance" --choice="The presence of the gray cube"

Words are those of CLEVRER's questions; without a question some that it understands are listed. Choices are those of
each question that is answered by choices. Without --input it looks at a freshly simulated scene. The picture shows,
under the frames that were read, how much the reasoner attended to each slot for each answer. A reasoner is often wrong:
what it was trained on, and how often it was right there, is said with its answers.
"""

import argparse
import json
import pathlib

from experiments import command_line
from experiments.runs.logs import say
from experiments.runs.scenes import name_of, show
from experiments.runs.trained import add_import_argument, open_named
from experiments.vqa import asking, reasoner
from experiments.vqa.attention import draw_attention


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help="in CLEVRER's words")
    parser.add_argument("--input", type=pathlib.Path, help="a video file, an image folder or an animation")
    parser.add_argument("--choice", action="append", default=[], help="a possible answer; may be given again")
    parser.add_argument(
        "--reasoner",
        default=reasoner.BUNDLED,
        help="a run folder of clevrer_vqa, its file, or a bundled name (default: %(default)s)",
    )
    parser.add_argument("--model", help="whose slots it reads (default: what it was trained on)")
    add_import_argument(parser)
    parser.add_argument("--output", type=pathlib.Path, help="a folder (default: runs/ask/NAME_OF_INPUT)")
    parser.add_argument("--start", type=int, default=0, help="the first frame, from 0 (default: 0)")
    parser.add_argument(
        "--stride", type=int, help="take every n-th frame (default: of videos as in training)"
    )
    parser.add_argument("--json", action="store_true", help="the answers as JSON on stdout")


def main(options: argparse.Namespace) -> None:
    """Reads the video, answers, draws what was attended to, and says all of it."""
    for name, least in (("start", 0), ("stride", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name}={value} must be at least {least}")
    if not options.questions:
        print("\n".join(("Ask, for instance:", *(f'  "{text}"' for text in asking.EXAMPLES))))
        return
    questions = asking.parse(options.questions, options.choice)
    taken = reasoner.open_reasoner(options.reasoner)
    reasoner.check_sees(taken)
    found = open_named(options.model or taken.reads.model)
    reasoner.check_model(taken, found)
    reads = taken.reads
    footage = show(found, options.input, options.start, options.stride, reads.num_frames, reads.source_stride)
    say(f"looking at {footage.account} (the model is compiled first)")
    watched = asking.watch(taken, found, footage.video)
    replies = [asking.reply(taken, watched, question) for question in questions]
    output = options.output or pathlib.Path("runs", "ask", name_of(options.input))
    output.mkdir(parents=True, exist_ok=True)
    picture = draw_attention(found, footage, watched, replies, output / "attention.png")
    if options.json:
        print(json.dumps(asking.record(taken, replies), indent=2))
        return
    for reply in replies:
        print("\n".join(asking.describe(reply)))
    print(f"{asking.account(taken)}\nwritten: {picture}")


if __name__ == "__main__":
    command_line.run_tool(main, arguments)
