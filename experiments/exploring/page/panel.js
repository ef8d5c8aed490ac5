// The controls: slots, tools, sliders, the list of changes, what is taken away.
import { ask, part } from "./asking.js";
import { css } from "./drawing.js";
import { hold, setPlaying } from "./gestures.js";
import { changed, open, put, state, tell, upload } from "./page.js";
import { colorOf, look } from "./showing.js";

const LARGEST_DYNAMICS = 2; // as in the paper's Figure 10
const LARGEST_LATENT = 3;
const $ = (id) => document.getElementById(id);
const make = (tag, fields = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...children);
  return element;
};

// Lists of edits, never changed in place.
export const edited = {
  replace: (edits, old, edit) => (old ? edits.map((one) => (one === old ? edit : one)) : [...edits, edit]),
  // Of a slot that is gone only its copies stay.
  without: (edits, slot) => edits.filter((edit) => edit.kind === "double" || (edit.slot !== slot && edit.other !== slot)),
  // The edit that made a copy.
  copy: (edits, slot, numSlots) => edits.filter((edit) => edit.kind === "double")[slot - numSlots],
};

const numSlots = () => state.clip.arrays.masks.shape[1];
const shownSlots = () => state.imagined?.facts.slots ?? [...Array(numSlots()).keys()];

export function nameOf(slot) {
  const { facts } = state.clip;
  if (slot >= numSlots()) {
    const made = edited.copy(state.change.edits, slot, numSlots());
    return `slot ${slot + 1}, a copy of slot ${made ? made.slot + 1 : "?"}`;
  }
  if (facts.background && slot === 0) return "slot 1, the background";
  const thing = facts.names?.[Math.min(state.at, facts.names.length - 1)]?.[slot];
  return `slot ${slot + 1}${thing ? `, ${thing}` : ""}`;
}

const signed = (value, digits = 1) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;

// What a slot says of itself in a frame.
export function sentence(slot, shown) {
  const row = shown.slots.indexOf(slot);
  const place = `${nameOf(slot)}: ${(100 * shown.share[row]).toFixed(0)} % of the picture, centre at x ${shown.centre[2 * row].toFixed(1)}, y ${shown.centre[2 * row + 1].toFixed(1)} pixels`;
  const moves = shown.motion ? `, going on by x ${signed(shown.motion[2 * row])}, y ${signed(shown.motion[2 * row + 1])} pixels a frame` : "";
  return `${place}${moves}${dynamicsOf(row, shown)}`;
}

function dynamicsOf(row, shown) {
  const array = shown.step >= 0 ? state.imagined.arrays.rolled_dynamics : state.clip.arrays.dynamics;
  const entry = shown.step >= 0 ? shown.step : state.at - 1;
  if (!array || entry < 0 || entry >= array.shape[0]) return "";
  return `; dynamics ${[...part(array, entry, row)].map((value) => signed(value, 2)).join(" ")}`;
}

// ---- building

export function buildPanel() {
  const { facts, arrays } = state.clip;
  $("horizon").replaceChildren(...facts.horizons.map((steps) => make("option", { value: steps, textContent: `${steps} frames` })));
  $("uploading").hidden = !facts.most_uploaded;
  $("scene").max = facts.most_scenes - 1;
  const slots = arrays.masks ? [...Array(arrays.masks.shape[1] + facts.most_doubles).keys()] : [];
  $("slots").replaceChildren(...slots.map(slotButton));
  refreshPanel();
}

function slotButton(slot) {
  const button = make("button", { type: "button", hidden: true }, make("canvas", { className: "pixels" }), make("span"));
  button.dataset.slot = slot;
  button.querySelector("canvas").style.borderColor = css(colorOf(slot));
  button.addEventListener("click", () => hold(state.held === slot ? null : slot));
  return button;
}

function slider(label, value, largest, use) {
  const shown = make("output", { textContent: signed(value, 2) });
  const range = make("input", { type: "range", min: -largest, max: largest, step: 0.05, value });
  let before = null;
  range.addEventListener("input", () => {
    const since = performance.now();
    if (before === null) { before = structuredClone(state.change); state.past.push(before); }
    shown.textContent = signed(Number(range.value), 2);
    use(Number(range.value), since);
  });
  range.addEventListener("change", () => { before = null; changed(); });
  return make("label", {}, label, shown, range);
}

let built = null; // which slot's sliders are there

function refreshSliders() {
  const held = state.held, row = held === null ? -1 : shownSlots().indexOf(held), imagined = state.imagined;
  if (row < 0 || !imagined?.arrays.dynamics) { built = null; $("sliders").replaceChildren(); return; }
  const groups = { turn: [part(imagined.arrays.dynamics, row), LARGEST_DYNAMICS], slide: [part(imagined.arrays.latents, row), LARGEST_LATENT] };
  const wanted = `${state.clip.facts.session} ${held}`;
  if (built !== wanted) {
    built = wanted;
    const rows = (kind, name) => [...groups[kind][0]].map((value, dimension) => {
      const label = slider(`${name} ${dimension + 1}`, value, groups[kind][1], (set, since) => {
        const edits = state.change.edits;
        const old = edits.find((edit) => edit.kind === kind && edit.slot === state.held && edit.dimension === dimension);
        put({ edits: edited.replace(edits, old, { kind, slot: state.held, dimension, value: set }) }, { remember: false, since });
      });
      label.dataset.kind = kind;
      return label;
    });
    $("sliders").replaceChildren(make("h3", { textContent: "Its motion: the distilled dynamics" }), ...rows("turn", "dynamics"),
      make("h3", { textContent: "Its look and place: the latents" }), ...rows("slide", "latent"));
    return;
  }
  for (const kind of ["turn", "slide"]) {
    $("sliders").querySelectorAll(`[data-kind="${kind}"]`).forEach((label, dimension) => {
      const range = label.querySelector("input");
      if (document.activeElement === range && range.matches(":active")) return; // under a finger
      range.value = groups[kind][0][dimension];
      label.querySelector("output").textContent = signed(groups[kind][0][dimension], 2);
    });
  }
}

const SAID = {
  remove: (edit) => `slot ${edit.slot + 1} removed`,
  double: (edit) => `slot ${edit.slot + 1} doubled, the copy ${way(edit.offset)} away`,
  move: (edit) => `slot ${edit.slot + 1} moved by ${way(edit.offset)}`,
  push: (edit) => `slot ${edit.slot + 1} pushed by ${way(edit.velocity)} a frame`,
  slide: (edit) => `slot ${edit.slot + 1}: latent ${edit.dimension + 1} set to ${signed(edit.value, 2)}`,
  turn: (edit) => `slot ${edit.slot + 1}: dynamics ${edit.dimension + 1} set to ${signed(edit.value, 2)}`,
  follow: (edit) => `slot ${edit.slot + 1} has the motion of slot ${edit.other + 1}`,
  swap: (edit) => `slots ${edit.slot + 1} and ${edit.other + 1} in each other's place, with the motion that was there`,
};
const way = ([x, y]) => `x ${signed(x)}, y ${signed(y)} pixels`;

export function refreshPanel() {
  const { change, held } = state;
  $("held-name").textContent = held === null ? ": hold an object first" : `: ${nameOf(held)} is held`;
  const others = shownSlots().filter((slot) => slot !== held), chosen = $("other").value;
  $("other").replaceChildren(...others.map((slot) => make("option", { value: slot, textContent: `${slot + 1}` })));
  if (others.includes(Number(chosen)) && chosen !== "") $("other").value = chosen;
  const copies = change.edits.filter((edit) => edit.kind === "double").length;
  for (const id of ["remove", "double", "swap", "follow", "release", "other"]) $(id).disabled = held === null;
  $("double").disabled ||= copies >= state.clip.facts.most_doubles;
  for (const id of ["remove", "swap", "follow"]) $(id).disabled ||= !others.length;
  $("undo").disabled = !state.past.length;
  $("reset").disabled = !change.edits.length && change.relation;
  $("relation").checked = change.relation;
  $("horizon").value = change.num_steps;
  $("edits").replaceChildren(...change.edits.map((edit) => make("li", { textContent: SAID[edit.kind](edit) })),
    ...(change.relation ? [] : [make("li", { textContent: "objects do not act on each other" })]));
  refreshSliders();
}

// ---- tools

function act(make_) { return () => { const held = state.held; if (held === null) return; setPlaying(false); state.at = state.change.frame; make_(held, state.change.edits); }; }

$("remove").addEventListener("click", act((held, edits) => {
  const kept = edited.without(edits, held);
  state.held = null;
  put({ edits: [...kept, { kind: "remove", slot: held }] });
}));
$("double").addEventListener("click", act((held, edits) => {
  const shown = look(state.at), row = shown.slots.indexOf(held), width = state.clip.arrays.video.shape[2];
  const aside = (shown.centre[2 * row] < width / 2 ? 1 : -1) * Math.round(width / 4); // where there is more of the picture
  const copy = numSlots() + edits.filter((edit) => edit.kind === "double").length;
  put({ edits: [...edits, { kind: "double", slot: held, offset: [aside, 0] }] });
  state.held = copy;
}));
for (const kind of ["swap", "follow"]) {
  $(kind).addEventListener("click", act((held, edits) => put({ edits: [...edits, { kind, slot: held, other: Number($("other").value) }] })));
}
$("release").addEventListener("click", () => hold(null));
$("relation").addEventListener("change", () => put({ relation: $("relation").checked }));
$("horizon").addEventListener("change", () => put({ num_steps: Number($("horizon").value) }, { remember: false }));
$("undo").addEventListener("click", () => { if (state.past.length) { state.change = state.past.pop(); changed(); } });
$("reset").addEventListener("click", () => put({ relation: true, edits: [] }));
$("open").addEventListener("click", () => open(Number($("scene").value)));
$("upload").addEventListener("change", () => { if ($("upload").files.length) upload($("upload").files[0]); });

for (const button of document.querySelectorAll("[data-kind]")) {
  if (button.tagName !== "BUTTON") continue;
  button.addEventListener("click", async () => {
    const { kind } = button.dataset;
    tell("Making it.");
    try {
      const body = JSON.stringify({ session: state.clip.facts.session, change: state.change, kind, serial: performance.now() | 0 });
      const content = await ask("keepsake", body);
      tell("");
      if (content === null) return;
      if (kind === "py") { $("code").hidden = false; $("code").textContent = new TextDecoder().decode(content); }
      const link = make("a", { href: URL.createObjectURL(new Blob([content])), download: `explored.${kind}` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    } catch (wrong) { tell(wrong.message, true); }
  });
}
