// The page's state, and what it asks the server; it is drawn by `show` in showing.js.
import { Newest, Wrong, ask, unpack } from "./asking.js";
import "./gestures.js";
import { buildPanel, refreshPanel } from "./panel.js";
import { last, show } from "./showing.js";

export const PUSH_FRAMES = 4; // a drag's way is that of so many frames
const PING_SECONDS = 20;
const $ = (id) => document.getElementById(id);

export const state = {
  clip: null, // of the answer to open: {facts, arrays}
  imagined: null, real: null, // of the newest answers
  change: { frame: 1, num_steps: 15, relation: true, edits: [] },
  past: [], // changes before, for undo
  at: 0, // the frame shown: of the clip up to `change.frame`, from there on predicted
  held: null, drag: null, playing: false, milliseconds: [],
};
globalThis.explore = state; // for whoever looks with the browser's console

const imagining = new Newest("imagine", takeImagined, told);
const realising = new Newest("reality", takeReal, told);

export function tell(text, wrong = false) {
  $("line").textContent = text;
  $("line").classList.toggle("wrong", wrong);
}

async function told(wrong) {
  if (!(wrong instanceof Wrong)) console.error(wrong);
  if (wrong.status === 410 && state.clip.facts.scene !== null) { // the state was freed: the same scene again
    await open(state.clip.facts.scene, state.change);
    return;
  }
  tell(wrong.message, true);
}

// ---- asking

export async function open(scene, change = null) { await begin(() => ask("open", JSON.stringify({ scene })), change); }

export async function upload(file) {
  if (file.size > state.clip.facts.most_uploaded) {
    tell(`The video has ${file.size} bytes: at most ${state.clip.facts.most_uploaded} are read.`, true);
    return;
  }
  await begin(() => ask("upload", file, "application/octet-stream"), null);
}

async function begin(question, change) {
  const before = state.clip?.facts.session;
  document.body.setAttribute("aria-busy", "true");
  tell("The model looks at the clip.");
  try {
    const clip = unpack(await question());
    const frames = clip.arrays.video.shape[0];
    Object.assign(state, { clip, imagined: null, real: null, held: null, past: [], playing: false });
    state.change = change ?? { frame: Math.min(4, frames - 1), num_steps: clip.facts.horizons[0], relation: true, edits: [] };
    state.at = state.change.frame;
    if (before) leave(before);
    tell("");
    buildPage();
    changed();
    untilReady();
  } catch (wrong) { tell(wrong.message, true); }
  document.body.removeAttribute("aria-busy");
}

// Says so as long as the program still compiles what gestures need.
async function untilReady() {
  const { ready } = await fetch("/api/status").then((answer) => answer.json()).catch(() => ({ ready: true }));
  $("ready").hidden = ready;
  if (!ready) setTimeout(untilReady, 1000);
}

function leave(session) { navigator.sendBeacon("/api/close", new Blob([JSON.stringify({ session })], { type: "application/json" })); }

// Asks for what follows from the change as it now is.
export function changed(since = performance.now()) {
  refreshPanel();
  if (document.body.classList.contains("no-future")) { show(); return; }
  const record = { session: state.clip.facts.session, change: structuredClone(state.change) };
  imagining.ask(record, since);
  show();
}

// Keeps the change as it was, so that it can be undone, then puts another in its place.
export function put(change, { remember = true, since } = {}) {
  if (remember) state.past.push(structuredClone(state.change));
  Object.assign(state.change, change);
  changed(since);
}

function takeImagined(answer, asked, since, more) {
  if (asked.session !== state.clip.facts.session) return;
  state.imagined = answer;
  state.imaginedOf = asked.change;
  state.real = null;
  if (!more && !answer.facts.slots.includes(state.held)) state.held = null;
  state.at = Math.min(state.at, last());
  tell("");
  refreshPanel();
  show();
  const took = performance.now() - since;
  state.milliseconds.push(took);
  $("took").textContent = `The last change took ${took.toFixed(0)} ms from the gesture to the pictures, of which the model took ${(1000 * answer.facts.seconds).toFixed(0)}.`;
  if (!more && !state.drag) askReality();
}

function askReality() { realising.ask({ session: state.clip.facts.session, change: structuredClone(state.change) }); }

function takeReal(answer, asked) {
  if (JSON.stringify(asked.change) !== JSON.stringify(state.change)) return;
  state.real = answer;
  show();
}

// ---- the page

function buildPage() {
  const { facts, arrays } = state.clip, body = document.body.classList;
  body.toggle("no-dynamics", !facts.has_dynamics);
  body.toggle("no-relation", !facts.has_relation);
  body.toggle("no-slots", !arrays.masks);
  body.toggle("no-future", !facts.predicts);
  $("account").textContent = facts.account;
  $("data").hidden = !facts.simulated;
  $("data").textContent = "simulated";
  $("model").textContent = `Model: ${facts.model}`;
  $("scene").value = facts.scene ?? 0;
  document.querySelector("main").hidden = false;
  buildPanel();
}

setInterval(() => { if (state.clip) ask("ping", JSON.stringify({ session: state.clip.facts.session })).catch(told); }, 1000 * PING_SECONDS);
addEventListener("pagehide", () => { if (state.clip) leave(state.clip.facts.session); });
addEventListener("pageshow", (event) => { if (event.persisted && state.clip) changed(); });
open(null);
