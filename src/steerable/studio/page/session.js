// The edit list of this person, with its past. Everything that makes the picture is in `store.session`, and the address holds it.
// `fresh`: nobody has touched it, so the files that the studio was started with become sliders.

export const store = { fresh: true, session: null, about: null, bundles: new Map(), past: [], future: [], pictures: new Map() };
const heard = new Map();

export const on = (what, work) => heard.set(what, [...(heard.get(what) || []), work]);
export const tell = (what, detail) => (heard.get(what) || []).forEach((work) => work(detail));

const LIMIT = 100;
const packed = (session) => btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(session))))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

export function unpacked(text) {
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const found = JSON.parse(new TextDecoder().decode(bytes));
    return found && typeof found.generator === "string" && Array.isArray(found.sliders) ? found : null;
  } catch { return null; }
}

export const fresh = (generator, psi) => ({
  generator, seed: 0, photo: null, original: null, blend: [], mix: null, psi: psi ? 0.7 : 1, label: null, sliders: [], local: null,
});

export const key = () => Math.random().toString(36).slice(2, 10).padEnd(8, "0");

// A change that shows at once. `structure` says that sliders came, went or changed their looks.
export function change(work, structure = false) {
  work(store.session);
  tell("change");
  if (structure) tell("structure");
}

// What was changed becomes a step that can be undone.
export function commit() {
  const now = JSON.stringify(store.session);
  if (store.past.at(-1) === now) return;
  store.past.push(now);
  if (store.past.length > LIMIT) store.past.shift();
  store.future = [];
  remember();
}

export function changed(work) { change(work, true); commit(); }

function remember() {
  history.replaceState(null, "", `#s=${packed(store.session)}`);
  tell("commit");
}

function restore(text) {
  store.session = JSON.parse(text);
  tell("change");
  tell("structure");
  remember();
}

export function undo() {
  if (store.past.length < 2) return;
  store.future.push(store.past.pop());
  restore(store.past.at(-1));
}

export function redo() {
  if (!store.future.length) return;
  store.past.push(store.future.pop());
  restore(store.past.at(-1));
}

export function back(step) {
  const ahead = store.past.splice(step + 1);
  store.future.push(...ahead.reverse());
  restore(store.past.at(-1));
}

export function begin(session) {
  store.session = session;
  store.past = [];
  store.future = [];
  tell("change");
  tell("structure");
  commit();
}
