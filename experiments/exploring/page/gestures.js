// What hands do: holding, pushing, moving, with a pointer or with keys; and the time, played or set.
import { changed, put, state, tell, PUSH_FRAMES } from "./page.js";
import { edited, refreshPanel, sentence } from "./panel.js";
import { last, look, seenSlots, show, showTime, size } from "./showing.js";
import { winner } from "./drawing.js";

const FRAME_SECONDS = 0.16; // every fourth frame of 25 a second
const $ = (id) => document.getElementById(id);

export function hold(slot) { state.held = slot; refreshPanel(); show(); }

const mode = () => document.querySelector('input[name="mode"]:checked').value;

function pixelOf(event) {
  const box = $("stage").getBoundingClientRect(), [height, width] = size();
  return [((event.clientX - box.left) / box.width) * width - 0.5, ((event.clientY - box.top) / box.height) * height - 0.5];
}

function slotAt([x, y]) {
  const [height, width] = size(), shown = look(state.at);
  if (!shown.masks) return null;
  const clamp = (value, top) => Math.min(top - 1, Math.max(0, Math.round(value)));
  return shown.slots[winner(shown.masks, shown.slots.length, height * width, clamp(y, height) * width + clamp(x, width))];
}

// Pushes or moves the held slot by so many pixels more than `edits` do.
function drive(edits, slot, [dx, dy]) {
  const kind = mode(), field = kind === "push" ? "velocity" : "offset";
  const factor = kind === "push" ? 1 / PUSH_FRAMES : 1;
  const made = kind === "move" && slot >= seenSlots().length ? edited.copy(edits, slot, seenSlots().length) : edits.find((edit) => edit.kind === kind && edit.slot === slot);
  const [x, y] = made?.[field] ?? [0, 0];
  return edited.replace(edits, made, { ...(made ?? { kind, slot }), [field]: [x + dx * factor, y + dy * factor] });
}

export function nudge(dx, dy) {
  if (state.held === null) { tell("Hold an object first: click it, or choose its slot."); return; }
  atTheChange();
  put({ edits: drive(state.change.edits, state.held, [dx, dy]) });
}

// Changes happen in the frame from which is predicted: the one that is shown, if it is a seen one.
function atTheChange() {
  if (state.at < state.change.frame) state.change.frame = Math.max(1, state.at);
  state.at = state.change.frame;
}

function press(event) {
  if (event.button || !state.clip || !state.clip.arrays.masks) return;
  const slot = slotAt(pixelOf(event));
  hold(slot);
  if (!state.clip.facts.has_dynamics) return;
  setPlaying(false);
  state.drag = { slot, from: pixelOf(event), to: pixelOf(event), edits: state.change.edits, begun: false };
  $("stage").setPointerCapture(event.pointerId);
}

function pull(event) {
  if (state.drag) {
    const to = pixelOf(event), { from, edits, slot } = state.drag;
    if (!state.drag.begun && Math.hypot(to[0] - from[0], to[1] - from[1]) < 0.7) return;
    if (!state.drag.begun) { state.past.push(structuredClone(state.change)); atTheChange(); }
    Object.assign(state.drag, { to, begun: true });
    put({ edits: drive(edits, slot, [to[0] - from[0], to[1] - from[1]]) }, { remember: false, since: performance.now() });
  } else if (state.clip?.arrays.masks) {
    const slot = slotAt(pixelOf(event));
    $("hover").textContent = sentence(slot, look(state.at));
  }
}

function drop() {
  const dragged = state.drag?.begun;
  state.drag = null;
  if (!dragged) { show(); return; }
  changed();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) setPlaying(true);
}

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !state.clip) return;
  const inStage = document.activeElement === $("stage"), tool = { Delete: "remove", Backspace: "remove", d: "double", D: "double", Escape: "release" }[event.key];
  if (event.key === " " && (inStage || document.activeElement === document.body)) setPlaying(!state.playing);
  else if (inStage && KEYS[event.key] && state.clip.facts.has_dynamics) nudge(...KEYS[event.key]);
  else if (inStage && tool) $(tool).click();
  else return;
  event.preventDefault();
}

// ---- time

let due = 0;
export function setPlaying(playing) {
  state.playing = playing;
  if (playing && state.at >= last()) state.at = 0;
  due = performance.now();
  showTime();
  if (playing) requestAnimationFrame(tick);
}

function tick(now) {
  if (!state.playing) return;
  const wait = (1000 * FRAME_SECONDS) / Number($("speed").value);
  if (now - due >= wait) {
    due = now;
    if (state.at >= last()) { setPlaying(false); return; }
    state.at += 1;
    show();
  }
  requestAnimationFrame(tick);
}


for (const id of ["show-arrows", "show-paths", "show-pairs", "show-matches"]) $(id).addEventListener("change", show);
$("smooth").addEventListener("change", () => document.body.classList.toggle("crisp", !$("smooth").checked));
$("play").addEventListener("click", () => setPlaying(!state.playing));
$("at").addEventListener("input", () => { state.at = Number($("at").value); setPlaying(false); show(); });
$("from").addEventListener("input", () => { state.at = Number($("from").value) - 1; setPlaying(false); put({ frame: state.at }, { remember: false }); });
$("stage").addEventListener("pointerdown", press);
$("stage").addEventListener("pointermove", pull);
$("stage").addEventListener("pointerup", drop);
$("stage").addEventListener("pointercancel", drop);
document.addEventListener("keydown", key);
