// The page: it opens a generator, wires the panels, and hears the keyboard.

import { $, el, get, options, safely, trouble } from "./dom.js";
import * as finder from "./finder.js";
import { run } from "./jobs.js";
import * as keep from "./keep.js";
import { connect, moved, view } from "./live.js";
import * as local from "./local.js";
import * as looks from "./looks.js";
import * as photo from "./photo.js";
import * as sample from "./sample.js";
import { begin as restart, changed, fresh, on, redo, store, tell, undo, unpacked } from "./session.js";
import * as sliders from "./sliders.js";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// -- generators ---------------------------------------------------------------------------------------------------------------------

async function open(name) {
  $("absent").hidden = true;
  for (;;) {
    store.about = await get(`/state?name=${encodeURIComponent(name)}`);
    options($("generator"), store.about.generators.map((g) => [g.name, `${g.name}${g.missing ? ` (${g.mb} MB to download)` : ""}`]), name);
    if (store.about.trouble) throw new Error(`${name} could not be opened: ${store.about.trouble}`);
    if (store.about.missing) { absent(name); return false; }
    if (store.about.open) return true;
    $("status").textContent = `opening ${name} …`;
    await pause(120);
  }
}

function absent(name) {
  const g = store.about.generators.find((x) => x.name === name), job = el("div");
  $("absent").replaceChildren(
    el("h2", { textContent: `${name} is not on this machine yet` }),
    el("p", { textContent: `${g.about} ${g.px ?? ""} px, ${g.mb} MB from ${g.source}.` }),
    el("p", { textContent: `Weights: ${g.licence}. Code: ${g.code}. ${g.notice}` }),
    el("button", { className: "main", textContent: `Download ${g.mb} MB`, onclick: safely(async () => { await run({ kind: "fetch", generator: name }, job); await switchTo(name); }) }), job);
  $("absent").hidden = false;
  $("status").textContent = "not downloaded";
}

async function switchTo(name, session = null) {
  trouble("");
  if (store.session?.generator !== name) store.bundles.clear();
  const there = await open(name);
  if (!store.session || store.session.generator !== name || session) store.session = session || fresh(name, store.about.open?.psi ?? true);
  tell("opened-before");
  if (there) { tell("opened"); restart(store.session); }
}

// -- panels -------------------------------------------------------------------------------------------------------------------------

function tabs() {
  const panels = [...document.querySelectorAll("[data-tab]")];
  const show = (id) => {
    for (const p of panels) p.hidden = p.id !== id;
    for (const b of $("tabs").children) {
      b.setAttribute("aria-selected", String(b.dataset.for === id));
      b.tabIndex = b.dataset.for === id ? 0 : -1;
    }
    tell("tab", id);
  };
  $("tabs").replaceChildren(...panels.map((p) => {
    p.setAttribute("role", "tabpanel");
    return el("button", { role: "tab", "data-for": p.id, "aria-controls": p.id, textContent: p.dataset.tab, onclick: () => show(p.id) });
  }));
  $("tabs").addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    const all = [...$("tabs").children], next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    next.click();
  });
  show("steer");
}

// -- the picture's own buttons --------------------------------------------------------------------------------------------------------

function before(plain) {
  view.plain = plain;
  $("before").setAttribute("aria-pressed", String(plain));
  $("badge").hidden = !plain;
  moved();
}

const reset = () => changed((s) => { for (const x of s.sliders) x.t = 0; s.blend = []; s.mix = null; s.local = null; });

function keys(e) {
  const typing = e.target.matches?.("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select");
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "z" && !typing) { e.preventDefault(); if (e.shiftKey) redo(); else undo(); return; }
  if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key.toLowerCase() === "r") sample.random();
  if (e.key === " " && !e.target.matches?.("button, summary, input[type=checkbox], input[type=radio], a")) { e.preventDefault(); before(!view.plain); }
}

function theme(kind) {
  document.documentElement.dataset.theme = kind;
  try { localStorage.setItem("theme", kind); } catch { /* a private window */ }
}

async function main() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* a private window */ }
  document.documentElement.dataset.theme = kept || (dark ? "dark" : "light");
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  tabs();
  for (const part of [sliders, sample, finder, local, photo, keep, looks]) part.begin();
  on("change", () => { if (view.plain) before(false); else moved(); });
  on("generator", (name) => switchTo(name));
  $("before").addEventListener("click", () => before(!view.plain));
  $("random").addEventListener("click", sample.random);
  $("undo").addEventListener("click", undo);
  $("redo").addEventListener("click", redo);
  $("reset").addEventListener("click", reset);
  $("size").addEventListener("change", moved);
  $("generator").addEventListener("change", safely((e) => switchTo(e.target.value)));
  addEventListener("click", () => trouble(""), true);
  addEventListener("keydown", keys);
  addEventListener("hashchange", safely(async () => {
    const found = unpacked(location.hash.slice(3));
    if (found && JSON.stringify(found) !== JSON.stringify(store.session)) await switchTo(found.generator, found);
  }));
  connect();
  const found = unpacked(location.hash.slice(3));
  store.fresh = !found;
  if (location.hash.length > 3 && !found) trouble("The address holds no session that can be read; here is a new one.");
  await switchTo(found?.generator || document.documentElement.dataset.first || (await first()), found);
  document.documentElement.dataset.ready = "true";
}

const first = async () => (await get("/first")).name;

safely(main)();
