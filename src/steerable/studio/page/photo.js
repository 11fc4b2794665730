// One's own photograph: cut out, found again by an inverter (in a process of its own), steered, pasted back.

import { $, download, el, options, post, safely } from "./dom.js";
import { fields, settings } from "./finder.js";
import { run } from "./jobs.js";
import { changed, on, store } from "./session.js";

let uploaded = null;

async function choose(file) {
  if (!file) return;
  uploaded = null;
  $("find-photo").disabled = true;
  uploaded = (await post("/photo", file)).id;
  if ($("chosen").src) URL.revokeObjectURL($("chosen").src);
  $("chosen").src = URL.createObjectURL(file);
  $("chosen").hidden = false;
  $("find-photo").disabled = false;
}

// What was cut out beside what the search has found so far; below, up to seven pictures of the way there.
function converging() {
  const all = [], figures = ["cut out", "so far"].map((text) => el("figure", {}, el("img", { alt: text }), el("figcaption", { textContent: text })));
  $("found").replaceChildren();
  $("way").hidden = true;
  const look = (picture, target) => {
    $("found").replaceChildren(...figures);
    [target, picture].forEach((src, i) => { figures[i].firstChild.src = src; });
    all.push(picture);
    const some = all.length <= 7 ? all : Array.from({ length: 7 }, (_, i) => all[Math.round(i * (all.length - 1) / 6)]);
    $("way").replaceChildren(...some.map((src) => el("img", { src, alt: "" })));
    $("way").hidden = all.length < 2;
  };
  return { look, end: () => { figures[1].firstChild.alt = figures[1].lastChild.textContent = "found"; } };
}

async function invert() {
  $("find-photo").disabled = true;
  try {
    const face = $("face").value === "" ? null : Number($("face").value);
    const ask = { kind: "invert", generator: store.session.generator, photo: uploaded, method: $("inverter").value, settings: settings($("inversion")), crop: $("crop").value, face };
    const pictures = converging();
    const { result } = await run(ask, $("photojob"), true, pictures.look);
    pictures.end();
    if (result.interrupted) $("photojob").append(el("p", { className: "faint", textContent: "Stopped early; this is the best so far." }));
    changed((s) => { s.photo = result.photo; s.original = ask.photo; s.blend = []; s.mix = null; });
  } finally {
    $("find-photo").disabled = false;
  }
}

function describe() {
  const method = store.about.open.inverters.find((m) => m.name === $("inverter").value);
  $("inverterabout").textContent = `${method.about} (${method.paper})`;
  fields($("inversion"), method);
}

export function begin() {
  $("photofile").addEventListener("change", safely((e) => choose(e.target.files[0])));
  $("find-photo").addEventListener("click", safely(invert));
  $("inverter").addEventListener("change", describe);
  $("inversion").addEventListener("submit", (e) => e.preventDefault());
  $("paste").addEventListener("click", safely(() => download("/export/pasted", { session: store.session }, "photo.png")));
  $("leave").addEventListener("click", () => changed((s) => { s.photo = s.original = null; }));
  on("opened", () => {
    options($("inverter"), store.about.open.inverters.map((m) => m.name), "optimize");
    describe();
  });
  on("structure", () => {
    $("leave").hidden = !store.session.photo;
    $("paste").hidden = !store.session.photo || !store.session.original;
  });
}
