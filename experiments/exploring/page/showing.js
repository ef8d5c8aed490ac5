// What is shown of a frame: pictures, marks, slots, the time, the curve.
import { part } from "./asking.js";
import { css, curve, cutOut, difference, frameOf, mark, paint, segments, squaredError } from "./drawing.js";
import { PUSH_FRAMES, state } from "./page.js";
import { nameOf } from "./panel.js";

const $ = (id) => document.getElementById(id);

export const frames = () => state.clip.arrays.video.shape[0];
export const size = () => state.clip.arrays.video.shape.slice(1, 3);
export const last = () => (state.imagined ? state.imaginedOf.frame + state.imaginedOf.num_steps : frames() - 1);
const stepOf = (at) => (state.imagined ? at - state.imaginedOf.frame : -1);
export const slotsAt = (at) => (stepOf(at) >= 0 ? state.imagined.facts.slots : seenSlots());
export const seenSlots = () => [...Array(state.clip.arrays.masks?.shape[1] ?? 0).keys()];
export const colorOf = (slot) => state.clip.facts.colors[slot];

// Pictures and slots of a frame, seen or imagined.
export function look(at) {
  const step = stepOf(at);
  const arrays = step >= 0 ? state.imagined.arrays : state.clip.arrays;
  const shown = frameOf(arrays, step >= 0 ? step : at);
  return { ...shown, step, slots: slotsAt(at), motion: motionAt(arrays, step, at, shown) };
}

function motionAt(arrays, step, at, shown) {
  if (!shown.centre) return null;
  if (step < 0) return at > 0 && arrays.expected ? part(arrays.expected, at - 1) : null;
  if (step + 1 >= arrays.centre.shape[0]) return null;
  return part(arrays.centre, step + 1).map((value, i) => value - shown.centre[i]);
}

function realAt(at) {
  const step = stepOf(at), video = state.real?.arrays.video;
  if (step >= 0 && video) return part(video, step);
  const edited = state.change.edits.length || !state.change.relation;
  return at < frames() && (step < 0 || !edited) ? part(state.clip.arrays.video, at) : null;
}

export function show() {
  if (!state.clip) return;
  const [height, width] = size(), { at } = state, shown = look(at), real = realAt(at);
  const paintInto = (id, pixels) => paint($(id).querySelector(".pixels"), pixels, height, width);
  paintInto("clip", at < frames() ? part(state.clip.arrays.video, at) : null);
  paintInto("model-view", shown.picture);
  if (shown.masks) paintInto("segments", segments(shown.picture, shown.masks, shown.slots.map(colorOf), height * width));
  paintInto("real", real);
  paintInto("difference", real && difference(shown.picture, real));
  const predicted = shown.step > 0, anew = shown.step === 0 && state.change.edits.length > 0;
  for (const id of ["model-view", "segments"]) $(id).classList.toggle("predicted", predicted);
  $("kind").textContent = predicted ? `predicted, +${shown.step}` : anew ? "as you changed it" : "seen";
  $("reason").textContent = state.real?.facts.reason ? `: ${state.real.facts.reason}` : state.real || shown.step < 0 ? "" : ": being simulated";
  $("compared").textContent = state.real?.arrays.video || shown.step < 0 ? "what happens" : "clip";
  if (shown.masks) { mark($("stage").querySelector(".marks"), height, width, scene(shown)); showSlots(shown); }
  showTime();
  showCurve();
}

const places = (flat) => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);

// What is marked in the model's picture.
function scene(shown) {
  const centres = places(shown.centre), moves = shown.motion && places(shown.motion);
  const color = (row) => css(colorOf(shown.slots[row]));
  const rows = shown.slots.map((_, row) => row).filter((row) => !(state.clip.facts.background && shown.slots[row] === 0));
  const marks = rows.map((row) => ({ place: centres[row], color: color(row), name: `${shown.slots[row] + 1}`, held: shown.slots[row] === state.held }));
  const arrows = $("show-arrows").checked && moves ? rows.map((row) => ({ from: centres[row], by: moves[row].map((x) => x * PUSH_FRAMES), color: color(row) })) : [];
  const paths = [], lines = [];
  if ($("show-paths").checked && state.imagined && shown.step >= 0 && state.imagined.arrays.centre) {
    const all = Array.from({ length: state.imagined.arrays.centre.shape[0] }, (_, i) => places(part(state.imagined.arrays.centre, i)));
    for (const row of rows) paths.push({ points: all.slice(shown.step).map((c) => c[row]), color: color(row) });
  }
  const source = shown.step >= 0 ? state.imagined.arrays : state.clip.arrays, entry = shown.step >= 0 ? shown.step : state.at - 1;
  const count = shown.slots.length;
  const attention = (name) => (source[name] && entry >= 0 && entry < source[name].shape[0] ? part(source[name], entry) : null);
  const pairs = $("show-pairs").checked && attention("pair_attention");
  for (const to of pairs ? rows : []) {
    for (const from of rows) if (from !== to) lines.push({ from: centres[from], to: centres[to], strength: pairs[to * count + from], color: color(from) });
  }
  const matches = $("show-matches").checked && attention("match_attention");
  if (matches && state.at > 0) {
    const before = look(state.at - 1), old = places(before.centre);
    for (const to of rows) {
      shown.slots.forEach((slot, from) => {
        const row = before.slots.indexOf(slot);
        if (row >= 0) lines.push({ from: old[row], to: centres[to], strength: matches[to * 2 * count + from], color: css(colorOf(slot)) });
      });
    }
  }
  if (state.drag) arrows.push({ from: state.drag.from, by: [state.drag.to[0] - state.drag.from[0], state.drag.to[1] - state.drag.from[1]], color: "#fff" });
  return { marks, arrows, paths, lines };
}

function showSlots(shown) {
  const [height, width] = size(), buttons = $("slots").children;
  for (const button of buttons) {
    const slot = Number(button.dataset.slot), row = shown.slots.indexOf(slot);
    button.hidden = row < 0;
    if (row < 0) continue;
    const pixels = height * width;
    const rgb = shown.rgb && shown.rgb.subarray(3 * row * pixels, 3 * (row + 1) * pixels);
    paint(button.querySelector("canvas"), cutOut(rgb, shown.masks.subarray(row * pixels, (row + 1) * pixels)), height, width);
    button.setAttribute("aria-pressed", String(slot === state.held));
    button.querySelector("span").textContent = `${nameOf(slot)}, ${(100 * shown.share[row]).toFixed(0)} % of the picture`;
  }
}

export function showTime() {
  const step = stepOf(state.at), change = state.change;
  Object.assign($("at"), { max: last(), value: state.at });
  const text = step > 0 ? `${state.at + 1}, predicted${state.at < frames() ? "" : ", after the clip's end"}` : `${state.at + 1} of ${frames()}, seen`;
  $("when").textContent = text;
  $("at").setAttribute("aria-valuetext", text);
  Object.assign($("from"), { max: frames(), value: change.frame + 1 });
  $("from-name").textContent = `${change.frame + 1}`;
  $("play").textContent = state.playing ? "Pause" : "Play";
}

function showCurve() {
  if (!state.imagined) return;
  const pictures = state.imagined.arrays.reconstruction, values = [];
  for (let step = 0; step < pictures.shape[0]; step++) {
    const real = realAt(state.imaginedOf.frame + step);
    if (!real) break;
    values.push(squaredError(part(pictures, step), real));
  }
  state.errors = values;
  $("curve").hidden = values.length < 2;
  $("curve-text").textContent = values.length < 2 ? "Nobody knows the truth of these frames."
    : `Mean squared error (pixels from 0 to 1) between the model and ${state.real?.arrays.video ? "what really happens" : "the clip"}: ${values[1].toPrecision(2)} in the first predicted frame, ${values.at(-1).toPrecision(2)} in the last of ${values.length - 1}.`;
  if (values.length > 1) curve($("curve"), values, stepOf(state.at), getComputedStyle(document.documentElement));
}

