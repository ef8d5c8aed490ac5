"""What the page asks and what it gets: each public method answers one path below /api/."""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

import oddn_jax
from experiments.exploring import changes, keepsakes
from experiments.exploring.belief import Thinker
from experiments.exploring.changes import HORIZONS, Change, Room, parse_change
from experiments.exploring.clips import (
    MOST_UPLOADED,
    Clip,
    can_upload,
    simulated_clip,
    uploaded_clip,
)
from experiments.exploring.counterfactual import NoCounterpart, Reality, happens
from experiments.exploring.imagination import Imagined, imagine
from experiments.exploring.sessions import Session, Sessions
from experiments.exploring.wire import pack, to_pixels
from experiments.pictures.analysis import centroids, has_background
from experiments.pictures.drawing import slot_color
from experiments.runs.scenes import familiar_scenes
from experiments.runs.trained import Trained

MOST_SCENES = 10_000  # simulated ones to choose from
KEEPSAKES = {"png": "image/png", "gif": "image/gif", "npz": "application/octet-stream", "py": "text/plain"}
BINARY = "application/octet-stream"
Answer = tuple[str, bytes]  # media type and body


class Explorer:
    """A model, the pages that explore it, and what they are told."""

    def __init__(self, trained: Trained, stride: int, clip: Clip | None = None):
        self.trained, self.stride = trained, stride
        self.clip = clip  # that pages open with, instead of a simulated scene
        self.thinker = Thinker(trained.model, trained.params)
        self.sessions = Sessions()
        self._opening = threading.Lock()  # looking at a clip takes all cores

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the model sees."""
        return self.trained.model.config.image_height, self.trained.model.config.image_width

    @functools.cached_property
    def predicts(self) -> bool:
        """Whether the model predicts frames at all."""
        if self.thinker.has_dynamics:
            return True
        clip, keys = np.zeros((1, 2, *self.size, 3), np.float32), jax.random.split(jax.random.key(0), 1)
        look = functools.partial(self.trained.model.look, num_predicted=1)
        return jax.eval_shape(look, self.trained.params, clip, keys).predicted is not None

    def warm(self) -> None:
        """Compiles what gestures need, for as many slots as most changes leave, until then unasked."""
        if not self.thinker.has_dynamics:
            return
        config = self.trained.model.config
        self.thinker.infer(np.zeros((1, *self.size, 3), np.uint8))
        for count in dict.fromkeys((config.num_slots, config.num_slots - 1, config.num_slots + 1)):
            if count < 1:
                continue
            latents = np.zeros((2, count, config.latent_size), np.float32)
            dynamics = self.thinker.distil(latents)
            for use_relation in (True, False):
                self.thinker.roll(latents, dynamics, HORIZONS[0], use_relation)
            self.thinker.predict(dynamics[None], latents[1:])

    def open(self, record: Mapping[str, Any]) -> Answer:
        """A session of its own for a page: of the simulated scene of an index, or of the command line's clip."""
        scene = _field(record, "scene", lambda x: x is None or _is_whole(x, MOST_SCENES - 1))
        if self.clip is not None and scene is None:
            return self._begin(lambda: self.clip)
        scenes = familiar_scenes(self.trained.data)
        return self._begin(lambda: simulated_clip(scenes, scene or 0, *self.size, self.stride))

    def upload(self, content: bytes) -> Answer:
        """A session for a video that the page sends."""
        if not can_upload():
            raise ValueError("this system has no files in memory: start explore with --input=VIDEO")
        return self._begin(lambda: uploaded_clip(content, *self.size, self.stride))

    def imagine(self, record: Mapping[str, Any]) -> Answer:
        """What the model makes of a change."""
        session, change = self._asked(record)
        with session.turn("imagine", _serial(record)):
            started = time.perf_counter()
            imagined, future = self._imagine(session, change)
            seconds = time.perf_counter() - started
        facts = {"seconds": seconds, "slots": list(range(_count(future)))}
        arrays = _pictures(future)
        if imagined is not None:
            facts["slots"] = list(imagined.start.slots)
            arrays |= {
                "latents": imagined.start.latents[1],
                "dynamics": imagined.start.dynamics,
                "rolled_dynamics": imagined.rollout.dynamics,
                "match_attention": imagined.rollout.match_attention,
                "pair_attention": imagined.rollout.pair_attention,
            }
        return BINARY, pack(facts, arrays)

    def reality(self, record: Mapping[str, Any]) -> Answer:
        """What would really happen, or why nobody can say so."""
        session, change = self._asked(record)
        with session.turn("reality", _serial(record)):
            try:
                found = self._reality(session, change)
            except NoCounterpart as error:
                return BINARY, pack({"reason": str(error)}, {})
        return BINARY, pack({}, {"video": found.video, "segmentation": found.segmentation})

    def keepsake(self, record: Mapping[str, Any]) -> Answer:
        """A picture, an animation, the arrays or the Python lines of what the page shows."""
        session, change = self._asked(record)
        kind = _field(record, "kind", lambda x: x in KEEPSAKES)
        with session.turn("keepsake", _serial(record)):
            imagined, future = self._imagine(session, change)
            try:
                real = self._reality(session, change)
            except NoCounterpart:
                real = None
            clip = session.clip
            if kind == "png":
                content = keepsakes.picture(clip, future, change.frame, real)
            elif kind == "gif":
                content = keepsakes.animation(clip, future, change.frame, real)
            elif imagined is None:
                raise ValueError("this model has no dynamics: its arrays are written by experiments.predict")
            elif kind == "npz":
                content = keepsakes.arrays(clip, session.belief.seen.latents, imagined, change, real)
            else:
                slots = self.trained.model.config.num_slots
                text = keepsakes.lines(
                    self.trained.name, slots, change, imagined, session.belief.seen.latents
                )
                content = text.encode()
        return KEEPSAKES[kind], content

    def ping(self, record: Mapping[str, Any]) -> Answer:
        """A sign of life."""
        self.sessions.find(record.get("session"))
        return BINARY, pack({}, {})

    def close(self, record: Mapping[str, Any]) -> Answer:
        """The page was left."""
        self.sessions.free(record.get("session"))
        return BINARY, pack({}, {})

    def _begin(self, read: Callable[[], Clip]) -> Answer:
        with self._opening:
            clip = read()
            session = Session(clip, self.thinker.believe(clip))
        self.sessions.add(session)
        return BINARY, pack(self._facts(session), _clip_arrays(session))

    def _asked(self, record: Mapping[str, Any]) -> tuple[Session, Change]:
        session = self.sessions.find(record.get("session"))
        config = self.trained.model.config
        sizes = [getattr(config, name, 0) for name in ("num_slots", "latent_size", "dynamics_size")]
        room = Room(len(session.clip.video), *sizes, has_background(self.trained.model))
        change = parse_change(record.get("change"), room)
        if not self.thinker.has_dynamics and (change.edits or not change.relation):
            raise ValueError(
                f"{type(self.trained.model).__name__} distils no dynamics: nothing can be changed"
            )
        return session, change

    def _imagine(self, session: Session, change: Change) -> tuple[Imagined | None, oddn_jax.Decoded]:
        if self.thinker.has_dynamics:
            imagined = imagine(self.thinker, session.belief, change)
            return imagined, imagined.decoded
        seen = self.thinker.foresee(session.clip.video[: change.frame + 1], change.num_steps)
        if seen.future is None:
            raise ValueError(f"{type(self.trained.model).__name__} predicts no frames")
        pairs = zip(seen.decoded, seen.future.decoded)
        joined = (None if x is None or y is None else np.concatenate([x[-1:], y]) for x, y in pairs)
        return None, oddn_jax.Decoded(*joined)

    def _reality(self, session: Session, change: Change) -> Reality:
        objects = session.belief.objects
        found = objects[change.frame] if objects else {}
        return happens(session.clip, found, getattr(self.trained.model.config, "num_slots", 0), change)

    def _facts(self, session: Session) -> dict[str, Any]:
        """What the page has to know that is no array."""
        model, clip, belief = self.trained.model, session.clip, session.belief
        slots = 0 if belief.seen.decoded.slot_masks is None else belief.seen.decoded.slot_masks.shape[1]
        names = None
        if belief.objects is not None:
            things = clip.origin.scene.objects
            names = [
                {slot: f"{things[i].color} {things[i].material} {things[i].shape}" for slot, i in at.items()}
                for at in belief.objects
            ]
        return {
            "session": session.key,
            "account": clip.account,
            "model": f"{self.trained.name} ({type(model).__name__})",
            "scene": None if clip.origin is None else clip.origin.index,
            "simulated": clip.origin is not None,
            "has_dynamics": self.thinker.has_dynamics,
            "predicts": self.predicts,
            "has_relation": bool(getattr(model.config, "use_relation", False)),
            "background": has_background(model),
            "colors": [slot_color(slot) for slot in range(slots + changes.MOST_DOUBLES)],
            "names": names,
            "horizons": HORIZONS,
            "most_doubles": changes.MOST_DOUBLES,
            "most_uploaded": MOST_UPLOADED if can_upload() else 0,
            "most_scenes": MOST_SCENES,
        }


def _clip_arrays(session: Session) -> dict[str, np.ndarray | None]:
    clip, belief = session.clip, session.belief
    arrays = {"video": clip.video, "latents": belief.seen.latents, "expected": belief.expected}
    if belief.seen.distillation is not None:
        arrays |= {
            "dynamics": belief.seen.distillation.dynamics,
            "match_attention": belief.seen.distillation.match_attention,
            "pair_attention": belief.seen.interaction.pair_attention,
        }
    return arrays | _pictures(belief.seen.decoded)


def _pictures(decoded: oddn_jax.Decoded) -> dict[str, np.ndarray | None]:
    """Pictures of t frames, and of each slot its mask, look, share of the picture and centre, where there are slots."""
    arrays = {"reconstruction": to_pixels(decoded.reconstruction), "slot_rgb": to_pixels(decoded.slot_rgb)}
    if decoded.slot_masks is not None:
        arrays |= {
            "masks": to_pixels(decoded.slot_masks[..., 0]),
            "share": decoded.slot_masks.mean((-3, -2, -1)),
            "centre": centroids(decoded.slot_masks).astype(np.float32),
        }
    return arrays


def _count(decoded: oddn_jax.Decoded) -> int:
    return 0 if decoded.slot_masks is None else decoded.slot_masks.shape[1]


def _field(record: Mapping[str, Any], name: str, allowed: Callable[[Any], bool]) -> Any:
    value = record.get(name)
    try:
        fits = allowed(value)
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(f"{name} is not what it may be: {str(value)[:60]}")
    return value


def _serial(record: Mapping[str, Any]) -> int:
    return _field(record, "serial", lambda x: _is_whole(x, 2**53))


def _is_whole(value: Any, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high
