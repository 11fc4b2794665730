// Seeds, truncation, class; blending and style mixing.

import { $, el, later, options, post, safely } from "./dom.js";
import { changed, change, commit, on, store } from "./session.js";

const COUNT = 12;
let first = 0, drawn = "";

const mode = () => document.querySelector("input[name=pick]:checked").value;

function pick(seed) {
  changed((s) => {
    if (mode() === "blend" && seed !== s.seed) s.blend = [...s.blend.filter((b) => b.seed !== seed), { seed, share: 0.5 }].slice(-8);
    else if (mode() === "mix") s.mix = { seed, layers: s.mix?.layers || store.about.open.groups[0] || "all" };
    else { s.seed = seed; s.photo = s.original = null; }
  });
}

export const random = () => changed((s) => { s.seed = Math.floor(Math.random() * 2 ** 31); s.photo = s.original = null; });

const fill = later(60, safely(async () => {
  const { generator, psi, label } = store.session;
  const seeds = Array.from({ length: COUNT }, (_, i) => first + i);
  const wanted = JSON.stringify([generator, psi, label, first]);
  if (wanted === drawn || !store.about?.open) return;
  const found = await post("/gallery", { generator, seeds, psi, label, size: 96 });
  drawn = wanted;
  $("gallery").replaceChildren(...seeds.map((seed, i) => el("button", {
    "aria-label": `Seed ${seed}`, title: `Seed ${seed}`, "data-seed": seed, onclick: () => pick(seed),
  }, el("img", { src: found[i], alt: "" }), el("span", { textContent: seed }))));
  marked();
}));

function marked() {
  const s = store.session;
  for (const tile of $("gallery").children) {
    const seed = Number(tile.dataset.seed);
    tile.setAttribute("aria-pressed", String(seed === s.seed || s.blend.some((b) => b.seed === seed) || s.mix?.seed === seed));
  }
}

function shares() {
  const s = store.session, groups = store.about?.open?.groups || [];
  const blends = s.blend.map((b, i) => el("div", { className: "row" },
    el("label", { className: "grow" }, `Blend with seed ${b.seed} `, el("input", {
      type: "range", min: 0, max: 1, step: 0.05, value: b.share, "aria-label": `Share of seed ${b.seed}`,
      oninput: (e) => change((x) => { x.blend[i].share = Number(e.target.value); }), onchange: commit,
    })),
    el("button", { textContent: "Remove", onclick: () => changed((x) => { x.blend.splice(i, 1); }) })));
  const mixed = s.mix && el("div", { className: "row" },
    el("label", { className: "grow" }, `Style of seed ${s.mix.seed} in layers `, el("input", {
      value: s.mix.layers, list: "groups", size: 8, onchange: (e) => changed((x) => { x.mix.layers = e.target.value.trim() || "all"; }),
    })),
    el("button", { textContent: "Remove", onclick: () => changed((x) => { x.mix = null; }) }));
  const list = el("datalist", { id: "groups" }, ...groups.map((g) => el("option", { value: g })));
  $("blend").replaceChildren(...blends, ...(mixed ? [mixed] : []), list);
  $("blend").querySelector("input[list], input[size]")?.setAttribute("list", "groups");
}

function show() {
  const s = store.session, open = store.about?.open;
  $("seed").value = s.seed;
  $("psi").value = s.psi;
  $("psivalue").textContent = s.psi.toFixed(2);
  $("psibox").hidden = !open?.psi;
  $("mixpick").hidden = !open?.rows;
  $("labelbox").hidden = !open?.classes;
  if (open?.classes) {
    const names = Array.from({ length: open.classes }, (_, i) => [i, open.names[i] || String(i)]);
    options($("label"), [["", "as drawn"], ...names], s.label ?? "");
  }
  shares();
  marked();
  fill();
}

export function begin() {
  on("structure", show);
  on("change", () => { $("psivalue").textContent = store.session.psi.toFixed(2); });
  on("commit", fill);
  on("opened", () => { drawn = ""; fill(); });
  $("seed").addEventListener("change", (e) => changed((s) => { s.seed = Math.max(0, Math.floor(Number(e.target.value) || 0)) % 2 ** 32; s.photo = s.original = null; }));
  $("psi").addEventListener("input", (e) => change((s) => { s.psi = Number(e.target.value); }));
  $("psi").addEventListener("change", commit);
  $("label").addEventListener("change", (e) => changed((s) => { s.label = e.target.value === "" ? null : Number(e.target.value); }));
  $("more").addEventListener("click", () => { first += COUNT; fill(); });
  $("fewer").addEventListener("click", () => { first = Math.max(0, first - COUNT); fill(); });
}
