// One card for each direction: its slider, what it was measured to do, its path in seven pictures, and how it is used.

import { $, el, later, post, safely } from "./dom.js";
import { change, changed, commit, key, on, store } from "./session.js";

const strips = new Map(); // slider id → { wanted, pictures }
const opened = new Set();
const left = new Map();

export const known = (slider) => store.bundles.get(slider.bundle)?.paths[slider.index];

export function unique(name, mine) {
  const taken = new Set(store.session.sliders.filter((s) => s.id !== mine).map((s) => s.name));
  let found = name.trim().slice(0, 72) || "direction";
  for (let i = 2; taken.has(found); i += 1) found = `${name.trim().slice(0, 72)}-${i}`;
  return found;
}

export function slider(bundle, path, t = 0) {
  return {
    id: key(), bundle, index: path.index, name: unique(path.name), about: path.about || "", t, layers: path.layers,
    low: path.low, high: path.high, flip: false, hidden: false, keep: [],
  };
}

export function add(bundle, paths) {
  changed((s) => { for (const p of paths) s.sliders.push(slider(bundle, p)); });
}

const at = (id) => store.session.sliders.find((s) => s.id === id);
const edit = (id, work) => changed(() => work(at(id)));

function move(id, by) {
  changed((s) => {
    const i = s.sliders.findIndex((x) => x.id === id), j = i + by;
    if (j >= 0 && j < s.sliders.length) [s.sliders[i], s.sliders[j]] = [s.sliders[j], s.sliders[i]];
  });
}

function remove(id) {
  changed((s) => {
    s.sliders = s.sliders.filter((x) => x.id !== id);
    for (const x of s.sliders) x.keep = x.keep.filter((k) => k !== id);
  });
}

function flip(id) {
  edit(id, (s) => { s.flip = !s.flip; [s.low, s.high] = [-s.high, -s.low]; s.t = s.t ? -s.t : 0; });
}

export function set(id, t, done = false) {
  const s = at(id);
  if (!s) return;
  change(() => { s.t = Math.max(-100, Math.min(100, Math.round(t * 1e4) / 1e4)); });
  const card = $(`card-${id}`);
  card.querySelector("input[type=range]").value = s.t;
  card.querySelector("input[type=number]").value = s.t;
  if (done) commit();
}

function effects(s) {
  const path = known(s);
  if (!path) return null;
  const sign = s.flip ? -1 : 1, cleaned = s.keep.length > 0;
  const chips = path.effects.filter((e) => e.clear).slice(0, 4).map((e) => el("li", {
    textContent: `${e.score} ${e.sd * sign >= 0 ? "+" : "−"}${Math.abs(e.sd).toFixed(1)}`,
    title: `${e.score}: ${(e.per_sd * sign).toPrecision(3)} ${e.unit} a step, measured on ${e.n} people`,
  }));
  if (path.identity !== null && path.identity !== undefined) chips.push(el("li", { textContent: `identity kept ${path.identity.toFixed(2)}` }));
  if (path.effects.length && !chips.length) chips.push(el("li", { textContent: "no clear effect" }));
  return chips.length ? el("ul", { className: "chips", "aria-label": "Measured effects of one step", title: cleaned ? "measured before it was cleaned" : "" }, ...chips) : null;
}

function more(s) {
  const number = (value, name, work) => el("label", {}, `${name} `, el("input", {
    type: "number", step: 0.5, value, "data-k": name, onchange: (e) => edit(s.id, (x) => work(x, Number(e.target.value) || 0)),
  }));
  const others = store.session.sliders.filter((x) => x.id !== s.id);
  const keeps = others.map((x) => el("label", {}, el("input", {
    type: "checkbox", checked: s.keep.includes(x.id), "data-k": `keep-${x.id}`,
    onchange: (e) => edit(s.id, (y) => { y.keep = e.target.checked ? [...y.keep, x.id] : y.keep.filter((k) => k !== x.id); }),
  }), ` ${x.name}`));
  const cost = left.get(s.id);
  const button = (text, work, label) => el("button", { textContent: text, onclick: work, "aria-label": `${label || text} ${s.name}`, "data-k": text });
  return el("details", { open: opened.has(s.id), ontoggle: (e) => { if (e.target.open) opened.add(s.id); else opened.delete(s.id); } },
    el("summary", { textContent: "More" }),
    el("label", {}, "Name ", el("input", { value: s.name, maxLength: 72, "data-k": "name", onchange: (e) => edit(s.id, (x) => { x.name = unique(e.target.value, s.id); }) })),
    el("label", {}, "Description ", el("input", { value: s.about, maxLength: 400, "data-k": "about", onchange: (e) => edit(s.id, (x) => { x.about = e.target.value; }) })),
    el("div", { className: "row" },
      store.about?.open?.rows ? el("label", {}, "Layers ", el("input", { value: s.layers || "", placeholder: "all", size: 9, list: "groups", "data-k": "layers",
        onchange: (e) => edit(s.id, (x) => { x.layers = e.target.value.trim() || null; }) })) : null,
      number(s.low, "From", (x, v) => { x.low = Math.max(-100, Math.min(v, x.high)); }), number(s.high, "To", (x, v) => { x.high = Math.min(100, Math.max(v, x.low)); })),
    keeps.length ? el("fieldset", { className: "row" }, el("legend", { textContent: "Keep these unchanged" }), ...keeps) : null,
    s.keep.length && cost !== undefined ? el("p", { className: "faint cost", textContent: `${Math.round(cost * 100)} % of this direction is left without them.` }) : null,
    el("div", { className: "row" }, button("Up", () => move(s.id, -1), "Move up"), button("Down", () => move(s.id, 1), "Move down"), button("Flip", () => flip(s.id)),
      button("Hide", () => edit(s.id, (x) => { x.hidden = true; })), button("Delete", () => remove(s.id))));
}

function card(s) {
  const strip = strips.get(s.id);
  return el("article", { className: "card", id: `card-${s.id}`, "data-name": s.name, "aria-label": s.name },
    el("div", { className: "row" }, el("b", { className: "grow", textContent: s.name }),
      el("input", { type: "number", step: s.high - s.low < 2 ? "any" : 0.1, value: s.t, "aria-label": `Strength of ${s.name}, in standard deviations`, "data-k": "t",
        onchange: (e) => set(s.id, Number(e.target.value) || 0, true) })),
    s.about ? el("p", { className: "faint", textContent: s.about }) : null,
    el("input", { type: "range", min: s.low, max: s.high, step: s.high - s.low < 2 ? "any" : 0.05, value: s.t, "aria-label": s.name, "data-k": "range",
      oninput: (e) => set(s.id, Number(e.target.value)), onchange: () => commit(), ondblclick: () => set(s.id, 0, true) }),
    el("div", { className: "strip", role: "group", "aria-label": `Path of ${s.name}` }, ...(strip?.pictures || []).map(([t, src]) => el("button", {
      "aria-label": `${s.name} at ${t}`, title: String(t), onclick: () => set(s.id, t, true) }, el("img", { src, alt: "" })))),
    effects(s), more(s));
}

function show() {
  const s = store.session, focus = document.activeElement;
  const within = focus?.closest?.(".card")?.id, which = focus?.dataset?.k;
  $("sliders").replaceChildren(...s.sliders.filter((x) => !x.hidden).map(card));
  const hidden = s.sliders.filter((x) => x.hidden);
  $("hiddenbox").hidden = !hidden.length;
  $("hiddenbox").firstElementChild.textContent = `Hidden (${hidden.length}), without effect`;
  $("hidden").replaceChildren(...hidden.map((x) => el("div", { className: "row" }, el("span", { className: "grow", textContent: x.name }),
    el("button", { textContent: "Show", "aria-label": `Show ${x.name}`, onclick: () => edit(x.id, (y) => { y.hidden = false; }) }))));
  $("none").hidden = s.sliders.length > 0;
  if (within && which) $(within)?.querySelector(`[data-k="${CSS.escape(which)}"]`)?.focus();
}

// The paths in seven pictures, one slider after another, while nothing moves.
let turn = 0;
const draw = later(120, safely(async () => {
  const mine = ++turn;
  for (const s of store.session.sliders.filter((x) => !x.hidden)) {
    const others = { ...store.session, sliders: store.session.sliders.map((x) => (x.id === s.id ? { ...x, t: 0, name: "", about: "" } : { ...x, name: "", about: "" })) };
    const wanted = JSON.stringify(others);
    if (strips.get(s.id)?.wanted === wanted) continue;
    const found = await post("/strip", { session: store.session, id: s.id, steps: 7, size: 64 });
    if (mine !== turn) return;
    strips.set(s.id, { wanted, pictures: found });
    const box = $(`card-${s.id}`)?.querySelector(".strip");
    if (box) box.replaceChildren(...card(s).querySelector(".strip").children);
  }
}));

const price = later(150, safely(async () => {
  if (!store.about?.open) return;
  const told = await post("/details", { session: store.session });
  left.clear();
  for (const [id, value] of Object.entries(told.left)) left.set(id, value);
  $("command").textContent = told.command;
  $("python").textContent = told.python;
  for (const s of store.session.sliders.filter((x) => x.keep.length && left.has(x.id))) {
    const details = $(`card-${s.id}`)?.querySelector("details");
    const line = details?.querySelector(".cost") || el("p", { className: "faint cost" });
    line.textContent = `${Math.round(left.get(s.id) * 100)} % of this direction is left without them.`;
    details?.querySelector("fieldset")?.after(line);
  }
}));

export function begin() {
  on("structure", show);
  on("change", () => { turn += 1; });
  on("commit", price);
  on("drawn", (head) => { if (head.what === "full") draw(); });
}
