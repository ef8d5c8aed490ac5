"""Answers questions from their words and from trajectories alone: no programs, no executor, no recorded collisions."""

import itertools
import re

import mujoco
import numpy as np

from data_pipelines.simulator.config import HALF_SIZE
from data_pipelines.simulator.physics import build_model, simulate
from data_pipelines.simulator.questions.truth import MOVING_SPEED

COLORS = {"gray", "red", "blue", "green", "brown", "yellow", "cyan", "purple"}
MATERIALS = {"metal", "rubber"}
SHAPES = {"sphere", "cylinder", "cube"}


class Oracle:
    """One scene: its trajectory, everything else is found again from that."""

    def __init__(self, scene, trajectory, num_frames):
        self.num_frames = num_frames
        self.kinds = [{thing.color, thing.material, thing.shape} for thing in scene.objects]
        self.scene = scene
        self.view = in_view(scene, trajectory)
        self.speed = np.hypot(trajectory.velocity[..., 0], trajectory.velocity[..., 1])
        self.seen = [i for i in range(len(self.kinds)) if self.view[:num_frames, i].any()]
        touches = touches_in_view(scene, trajectory)
        self.shown = [(frame, pair) for frame, pair in touches if frame < num_frames]
        self.later = [pair for frame, pair in touches if frame >= num_frames]
        self.passages = {"enter": self._passages(False), "exit": self._passages(True)}
        self._without = {}

    def _passages(self, before):
        """Frame and object of each change of visibility from `before` during the video."""
        return [
            (frame, i)
            for frame in range(1, self.num_frames)
            for i in self.seen
            if self.view[frame - 1, i] == before and self.view[frame, i] != before
        ]

    def pairs_without(self, i):
        """Pairs that collide during the video when object i is not there."""
        if i not in self._without:
            trajectory = simulate(self.scene, self.num_frames, drop=i)
            assert not trajectory.launched[:, i].any()
            self._without[i] = {pair for _, pair in touches_in_view(self.scene, trajectory)}
        return self._without[i]

    def group(self, words):
        """The seen objects that have all named attributes."""
        named = {re.sub(r"s$", "", word) for word in words.split()} - {"object", "the", ""}
        assert named <= COLORS | MATERIALS | SHAPES, words
        return {i for i in self.seen if named <= self.kinds[i]}

    def one(self, words):
        (i,) = self.group(words)
        return i

    def answer(self, question):
        """The one-word answer to a descriptive question."""
        text = question.lower().rstrip("?")
        text, span = self._split_period(text)
        text, moment = self._split_moment(text)
        if match := re.fullmatch(r"(?:how many|are there any) collisions (?:that )?happen", text):
            number = sum(span(frame) for frame, _ in self.shown)
        elif match := re.fullmatch(
            r"(?:how many|are there any) (.+?) (?:that )?(enter|exit) the scene", text
        ):
            number = sum(span(frame) and i in self.group(match[1]) for frame, i in self.passages[match[2]])
        elif match := re.fullmatch(r"how many (.+) are (moving|stationary)", text):
            number = len(self._in_state(match[1], match[2], moment))
        elif match := re.fullmatch(
            r"(?:how many|are there any) (moving|stationary) (.+?)(?: are there)?", text
        ):
            number = len(self._in_state(match[2], match[1], moment))
        else:
            return self._attribute(text, moment)
        if text.startswith("how many"):
            return str(number)
        return "yes" if number else "no"

    def _attribute(self, text, moment):
        match = re.fullmatch(
            r"what (?:is the )?(color|shape|material) (?:of|is) the (?:(first|second|last) )?(.+)", text
        )
        attribute, order, rest = match.groups()
        place = {"first": 0, "second": 1, "last": -1, None: 0}[order]
        if found := re.fullmatch(r"object to collide with the (.+)", rest):
            i = self.one(found[1])
            partners = [sum(pair) - i for _, pair in self.shown if i in pair]
            assert order or len(partners) == 1
            i = partners[place]
        elif found := re.fullmatch(r"object (?:to enter|that enters|to exit|that exits) the scene", rest):
            i = self.passages["enter" if "enter" in rest else "exit"][place][1]
        else:
            found = re.fullmatch(r"(?:(moving|stationary) )?(.+?)(?: that is (moving|stationary))?", rest)
            (i,) = self._in_state(found[2], found[1] or found[3], moment)
        (value,) = self.kinds[i] & {"color": COLORS, "shape": SHAPES, "material": MATERIALS}[attribute]
        return value

    def _split_period(self, text):
        match = re.fullmatch(r"(.*) (before|after) the (.+) (enter|exit)s the scene", text)
        if not match:
            return text, lambda frame: True
        moment = self._passage_of(match[3], match[4])
        return match[1], lambda frame: frame < moment if match[2] == "before" else frame > moment

    def _split_moment(self, text):
        if match := re.fullmatch(r"(.*) when the video (begins|ends)", text):
            return match[1], 0 if match[2] == "begins" else self.num_frames - 1
        if match := re.fullmatch(r"(.*) when the (.+) (enter|exit)s the scene", text):
            return match[1], self._passage_of(match[2], match[3])
        return text, None

    def _passage_of(self, words, verb):
        (frame,) = [frame for frame, i in self.passages[verb] if i == self.one(words)]
        return frame

    def _in_state(self, words, state, moment):
        found = set()
        for i in self.group(words):
            fast = self.view[: self.num_frames, i] & (self.speed[: self.num_frames, i] > MOVING_SPEED)
            if moment is None:
                is_moving = fast.any()
            elif self.view[moment, i]:
                is_moving = fast[moment]
            else:
                continue
            if is_moving == (state == "moving"):
                found.add(i)
        return found

    def is_correct(self, question, question_type, choice):
        """Whether a choice is a right answer to a multiple-choice question."""
        text, choice = question.lower().rstrip("?"), choice.lower()
        negated = " not " in text
        if question_type == "explanatory":
            target = self._event(re.search(r"responsible for (.*)", text)[1])
            causes = self._causes(target)
            if match := re.fullmatch("the presence of (.*)", choice):
                happens = any(self.one(match[1]) in objects for _, _, objects in causes)
            else:
                happens = self._event(choice) in causes
        else:
            first, second = re.fullmatch(
                "the (.+?)(?: and| collides with) the (.+?)(?: collide)?", choice
            ).groups()
            pair = tuple(sorted((self.one(first), self.one(second))))
            if question_type == "predictive":
                happens = pair in self.later
            else:
                removed = re.search(r"(?:if|without) the (.+?)(?: is removed|,|$)", text)[1]
                happens = pair in self.pairs_without(self.one(removed))
        return happens != negated

    def _events(self):
        events = [(frame, verb, (i,)) for verb in ("enter", "exit") for frame, i in self.passages[verb]]
        events += [(frame, "meet", pair) for frame, pair in self.shown]
        return sorted(events, key=lambda event: (event[0], event[1] == "meet", event[2]))

    def _event(self, words):
        if match := re.fullmatch("the collision between the (.+) and the (.+)", words):
            verb, objects = "meet", match.groups()
        elif match := re.fullmatch("the (.+)'s colliding with the (.+)", words):
            verb, objects = "meet", match.groups()
        else:
            match = re.fullmatch(
                "the (.+)'s (?:(entrance|entering the scene)|(?:exit|exiting the scene))", words
            )
            verb, objects = "enter" if match[2] else "exit", match.groups()[:1]
        numbers = tuple(sorted(map(self.one, objects)))
        (event,) = [event for event in self._events() if event[1:] == (verb, numbers)]
        return event

    def _causes(self, target):
        """All that leads to an event, by closing "the event before of one of its objects" under composition."""
        events = self._events()
        leads = np.zeros((len(events), len(events)), bool)
        for i in self.seen:
            history = [k for k, event in enumerate(events) if i in event[2]]
            for earlier, later in itertools.pairwise(history):
                leads[earlier, later] = True
        for _ in events:
            leads |= (leads.astype(int) @ leads.astype(int)) > 0
        return [events[k] for k in np.flatnonzero(leads[:, events.index(target)])]


def in_view(scene, trajectory):
    """bool[t n]: the centre is in the 480 x 320 picture or less than 0.35 half-sizes outside it."""
    pixels, depth = scene.camera.project(trajectory.location, 320, 480)
    margin = 0.35 * HALF_SIZE * scene.camera.focal_length * 320 / np.maximum(depth, 0.1)
    inside = (depth > 0.1) & (pixels > -margin[..., None]).all(-1)
    return inside & (pixels < np.array([480, 320]) + margin[..., None]).all(-1) & trajectory.launched


def touches_in_view(scene, trajectory):
    """Frame and objects of collisions in view, from the distances of the bodies along the trajectory.

    Between two frames of the trajectory the motion is integrated from the first of them.
    """
    objects = scene.objects
    model = build_model([thing.shape for thing in objects], scene.physics)
    data = mujoco.MjData(model)
    steps = round(1 / 25 / scene.physics.time_step)
    view = in_view(scene, trajectory)
    last_touch, collisions = {}, []
    for frame in range(1, len(view)):
        there = np.flatnonzero(trajectory.launched[frame - 1])
        for i in there:
            rotation = np.zeros(9)
            mujoco.mju_quat2Mat(rotation, trajectory.orientation[frame - 1, i])
            spin = rotation.reshape(3, 3).T @ trajectory.angular_velocity[frame - 1, i]
            pose = np.concatenate([trajectory.location[frame - 1, i], trajectory.orientation[frame - 1, i]])
            data.qpos[7 * i : 7 * i + 7] = pose
            data.qvel[6 * i : 6 * i + 6] = np.concatenate([trajectory.velocity[frame - 1, i], spin])
        touching = set()
        for _ in range(steps):
            mujoco.mj_step(model, data)
            for a, b in itertools.combinations(there.tolist(), 2):
                if np.linalg.norm(data.geom_xpos[a + 1] - data.geom_xpos[b + 1]) < 4 * HALF_SIZE:
                    if mujoco.mj_geomDistance(model, data, a + 1, b + 1, 1.0, None) < 0:
                        touching.add((a, b))
        reached = data.qpos.reshape(-1, 7)[there, :3]
        np.testing.assert_allclose(reached, trajectory.location[frame, there], atol=1e-5)
        for pair in sorted(touching):
            if frame - last_touch.get(pair, -99) > 10 and view[frame, list(pair)].all():
                collisions.append((frame, pair))
            last_touch[pair] = frame
    return collisions
