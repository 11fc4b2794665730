// Directions from a method (in a process of its own), from a file, or around the present picture; and two of them side by side.

import { $, el, get, options, post, safely, Superseded, trouble } from "./dom.js";
import { run } from "./jobs.js";
import { add, known, set, slider } from "./sliders.js";
import { changed, commit, on, store } from "./session.js";

const SHOWN = 12;
let round = 0;

export async function need(id) {
  if (id && !store.bundles.has(id)) store.bundles.set(id, await get(`/bundles/${id}?name=${encodeURIComponent(store.session.generator)}`));
}

function take(bundle, title) {
  store.bundles.set(bundle.id, { ...bundle, title });
  add(bundle.id, bundle.paths.slice(0, SHOWN));
  lists();
}

function lists() {
  const all = [...store.bundles.values()].filter((b) => b.id && b.paths.length && !b.around);
  const each = all.flatMap((b) => b.paths.map((p) => [`${b.id}/${p.index}`, `${b.title || b.name || "file"}: ${p.name}`]));
  options($("add"), each, $("add").value);
  $("addbox").hidden = !each.length;
  options($("left"), each, $("left").value);
  options($("right"), each, $("right").value || each[1]?.[0]);
}

const chosen = (select) => { const [bundle, index] = select.value.split("/"); return { bundle, index: Number(index) }; };

// -- methods ------------------------------------------------------------------------------------------------------------------------

function form() {
  const method = store.about.open.methods.find((m) => m.name === $("method").value);
  if (!method) return;
  $("methodabout").textContent = `${method.about} (${method.paper})`;
  $("supervisor").hidden = !method.supervised;
  fields($("settings"), method);
}

export function fields(box, method) {
  box.replaceChildren(...method.fields.map((f) => {
    const named = { name: f.name, "data-type": f.type, title: f.help || "" };
    const limits = { min: f.ge ?? "", max: f.le ?? "" };
    const input = f.choices ? el("select", named, ...f.choices.map((c) => el("option", { value: c, textContent: c, selected: c === f.default })))
      : f.type === "bool" ? el("input", { ...named, type: "checkbox", checked: Boolean(f.default) })
      : f.type === "int" || f.type === "float" ? el("input", { ...named, ...limits, type: "number", step: f.type === "int" ? 1 : "any", value: f.default ?? "", placeholder: f.optional ? "as needed" : "" })
      : el("input", { ...named, value: f.default ?? "" });
    return el("label", {}, `${f.name.replaceAll("_", " ")} `, input, el("small", { className: "faint", textContent: f.help || "" }));
  }));
}

export function settings(box) {
  const found = {};
  for (const input of box.elements) {
    if (!input.name) continue;
    if (input.type === "checkbox") found[input.name] = input.checked;
    else if (input.type === "number") found[input.name] = input.value === "" ? null : Number(input.value);
    else found[input.name] = input.value === "" && input.placeholder ? null : input.value;
    if (found[input.name] === null || (input.type !== "checkbox" && input.value === "" && !input.choices)) delete found[input.name];
  }
  return found;
}

async function discover(method, given, scores) {
  const { generator } = store.session;
  $("quick").disabled = $("run").disabled = true;
  try {
    const job = await run({ kind: "discover", generator, method, settings: given, scores }, $("findjob"));
    take(job.result.bundle, method);
  } finally {
    $("quick").disabled = $("run").disabled = false;
  }
}

function quick() {
  const { spaces } = store.about.open;
  return discover("sefa", { space: spaces.includes("w") ? "w" : spaces[0], k: 6 }, null);
}

async function measure() {
  const job = await run({ kind: "measure", session: store.session, scores: $("measurescore").value, people: Number($("people").value) || 8 }, $("measurejob"));
  const { bundle } = job.result;
  store.bundles.set(bundle.id, { ...bundle, title: "measured", around: true });
  changed((s) => s.sliders.forEach((x, i) => { x.bundle = bundle.id; x.index = i; x.flip = false; x.keep = []; }));
}

// -- files --------------------------------------------------------------------------------------------------------------------------

async function open(file) {
  if (!file) return;
  const where = (space) => `/paths?generator=${encodeURIComponent(store.session.generator)}${space ? `&space=${space}` : ""}`;
  try {
    take(await post(where(), file), file.name);
  } catch (error) {
    if (!/space/.test(error.message) || error instanceof Superseded) throw error;
    const spaces = store.about.open.spaces;
    const ask = el("div", { className: "job" }, el("span", { textContent: "This file does not say in which space its directions lie: " }),
      ...spaces.map((space) => el("button", { textContent: space, onclick: safely(async () => { take(await post(where(space), file), file.name); ask.remove(); }) })));
    $("findjob").replaceChildren(ask, el("p", { className: "faint", textContent: error.message }));
  }
}

// -- more like this -----------------------------------------------------------------------------------------------------------------

async function likes() {
  round += 1;
  const step = Number($("step").value);
  const found = await post("/likes", { session: store.session, round, step, size: 128 });
  store.bundles.set(found.id, { ...found, around: true });
  $("candidates").replaceChildren(...found.pictures.map((src, i) => el("button", {
    "aria-label": `Candidate ${i + 1}`,
    onclick: safely(async () => {
      changed((s) => s.sliders.push({ ...slider(found.id, found.paths[i], found.step), name: `step ${round}`, low: -4, high: 4 }));
      await likes();
    }),
  }, el("img", { src, alt: "" }))));
}

// -- a search by choices --------------------------------------------------------------------------------------------------------------

async function hunt(so_far = null) {
  $("hunt").replaceChildren();
  const mine = so_far && store.session.sliders.find((s) => s.id === so_far.id);
  const told = so_far ? { search: so_far.search, slider: so_far.bundle, t: mine ? mine.t : 0 } : {};
  const { result } = await run({ kind: "search", session: store.session, ...told }, $("huntjob"));
  const { bundle, search } = result, [path] = bundle.paths;
  store.bundles.set(bundle.id, { ...bundle, around: true });
  const made = { ...slider(bundle.id, path), low: path.reach[0], high: path.reach[1] };
  changed((s) => s.sliders.push(made));
  const next = { search, bundle: bundle.id, id: made.id };
  $("hunt").replaceChildren(
    el("input", { type: "range", min: made.low, max: made.high, step: (made.high - made.low) / 100 || 0.01, value: 0, "aria-label": made.name,
      oninput: (e) => set(made.id, Number(e.target.value)), onchange: () => commit() }),
    el("div", { className: "row" }, el("button", { textContent: "Next slider", className: "main", onclick: safely(() => hunt(next)) }),
      result.done ? el("span", { className: "faint", textContent: "The last choices were all to stay: this is found." }) : null));
}

const numbers = (text) => text.split(",").map(Number).filter((v) => Number.isFinite(v));

async function compare() {
  const sides = [chosen($("left")), chosen($("right"))], seeds = numbers($("cseeds").value).slice(0, 6), t = numbers($("ct").value).slice(0, 7);
  const found = await post("/compare", { session: store.session, sides, seeds, t, size: 96 });
  $("compared").replaceChildren(...found.map((people, side) => el("figure", {},
    el("figcaption", { textContent: $(side ? "right" : "left").selectedOptions[0].textContent }),
    ...people.map((row) => el("div", { className: `strip of${row.length}` }, ...row.map((src, i) => el("img", { src, alt: `t ${t[i]}`, title: `t ${t[i]}` })))))));
}

export function begin() {
  $("quick").addEventListener("click", safely(quick));
  $("run").addEventListener("click", safely(() => discover($("method").value, settings($("settings")), $("supervisor").hidden ? null : $("supervise").value)));
  $("method").addEventListener("change", form);
  $("settings").addEventListener("submit", (e) => e.preventDefault());
  $("file").addEventListener("change", safely(async (e) => { await open(e.target.files[0]); e.target.value = ""; }));
  $("measure").addEventListener("click", safely(measure));
  $("addone").addEventListener("click", () => { const { bundle, index } = chosen($("add")); add(bundle, [store.bundles.get(bundle).paths[index]]); });
  $("addall").addEventListener("click", () => { const { bundle } = chosen($("add")); add(bundle, store.bundles.get(bundle).paths); });
  $("search").addEventListener("click", safely(() => hunt()));
  $("likes").addEventListener("click", safely(likes));
  $("step").addEventListener("input", (e) => { $("stepvalue").textContent = e.target.value; });
  $("compare").addEventListener("click", safely(compare));
  on("bundles", lists);
  on("opened", safely(async () => {
    const { methods } = store.about.open, names = store.about.scores.map((s) => s.name);
    options($("method"), methods.map((m) => m.name), "ganspace");
    for (const id of ["supervise", "measurescore", "score"]) options($(id), [...new Set([store.about.judge, ...names])], store.about.judge);
    form();
    const offered = await get(`/bundles?name=${encodeURIComponent(store.session.generator)}`);
    for (const bundle of offered) {
      if (bundle.id) store.bundles.set(bundle.id, { ...bundle, title: bundle.name });
      else trouble(`${bundle.name}: ${bundle.error}`);
    }
    if (store.fresh && !store.session.sliders.length) for (const bundle of offered.filter((b) => b.id)) add(bundle.id, bundle.paths.slice(0, SHOWN));
    store.fresh = false;
    for (const s of store.session.sliders) await need(s.bundle).catch(() => null);
    lists();
    for (const s of store.session.sliders) known(s);
  }));
}
