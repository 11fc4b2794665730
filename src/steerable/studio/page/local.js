// A painted mask: where sliders may act, and what leaks outside all the same.

import { $, later, options, post, safely } from "./dom.js";
import { changed, on, store } from "./session.js";

const SIDE = 256;
const mask = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
const pen = mask.getContext("2d", { willReadFrequently: true });
let tool = "", last = null, shown = null;

function empty() { pen.fillStyle = "#000"; pen.fillRect(0, 0, SIDE, SIDE); }

// The mask over the picture, as a veil on what is kept.
function veil() {
  const canvas = $("paint"), brush = canvas.getContext("2d");
  const from = pen.getImageData(0, 0, SIDE, SIDE), to = brush.createImageData(SIDE, SIDE);
  for (let i = 0; i < from.data.length; i += 4) { to.data[i] = 90; to.data[i + 1] = 80; to.data[i + 2] = 220; to.data[i + 3] = (255 - from.data[i]) * 0.42; }
  brush.putImageData(to, 0, 0);
}

function place(event) {
  const box = $("paint").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
}

function stroke(event) {
  const here = place(event);
  pen.strokeStyle = tool === "erase" ? "#000" : "#fff";
  pen.lineWidth = Number($("width").value);
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...(last || here));
  pen.lineTo(...here);
  pen.stroke();
  last = here;
  veil();
}

const use = safely(async () => {
  const blob = await new Promise((done) => mask.toBlob(done, "image/png"));
  const { id } = await post("/mask", blob);
  shown = id;
  changed((s) => { s.local = { mask: id, layers: $("blendin").value || null }; });
});

function choose(which) {
  tool = tool === which ? "" : which;
  $("brush").setAttribute("aria-pressed", String(tool === "brush"));
  $("erase").setAttribute("aria-pressed", String(tool === "erase"));
  $("paint").classList.toggle("active", tool !== "");
  look();
}

function look() {
  $("paint").hidden = !tool && !(store.session?.local && !$("local").hidden);
  if (!$("paint").hidden) veil();
}

async function show() {
  const { local } = store.session;
  $("blendin").value = local?.layers || "";
  if (local && local.mask !== shown) {
    shown = local.mask;
    const picture = await createImageBitmap(await (await fetch(`/mask/${local.mask}`)).blob()).catch(() => null);
    if (picture) pen.drawImage(picture, 0, 0, SIDE, SIDE);
  } else if (!local) { shown = null; empty(); $("leak").textContent = ""; $("leaked").hidden = true; }
  look();
}

const leaks = later(200, safely(async () => {
  const s = store.session, asked = JSON.stringify(s);
  if (!s.local || $("local").hidden || !s.sliders.some((x) => x.t && !x.hidden)) { $("leaked").hidden = true; $("leak").textContent = ""; return; }
  const told = await post("/leak", { session: s });
  if (JSON.stringify(store.session) !== asked) return;
  $("leak").textContent = `${(100 * told.share).toFixed(1)} % of the change lies outside the mask (${told.levels.toFixed(2)} of 255 levels there, root mean square).`;
  $("leaked").src = told.picture;
  $("leaked").hidden = !$("showleak").checked;
}));

export function begin() {
  empty();
  const paint = $("paint");
  paint.addEventListener("pointerdown", (e) => { if (!tool) return; paint.setPointerCapture(e.pointerId); last = null; stroke(e); });
  paint.addEventListener("pointermove", (e) => { if (tool && e.buttons) stroke(e); });
  paint.addEventListener("pointerup", () => { if (tool) { last = null; use(); } });
  $("brush").addEventListener("click", () => choose("brush"));
  $("erase").addEventListener("click", () => choose("erase"));
  for (const button of document.querySelectorAll("[data-region]")) {
    button.addEventListener("click", () => {
      const [x0, y0, x1, y1] = button.dataset.region.split(",").map((v) => Number(v) * SIDE);
      empty();
      pen.fillStyle = "#fff";
      pen.fillRect(x0, y0, x1 - x0, y1 - y0);
      use();
    });
  }
  $("invert").addEventListener("click", () => {
    const data = pen.getImageData(0, 0, SIDE, SIDE);
    for (let i = 0; i < data.data.length; i += 4) for (let c = 0; c < 3; c += 1) data.data[i + c] = 255 - data.data[i + c];
    pen.putImageData(data, 0, 0);
    use();
  });
  $("clear").addEventListener("click", () => { empty(); if (tool) choose(tool); changed((s) => { s.local = null; }); });
  $("blendin").addEventListener("change", () => { if (store.session.local) changed((s) => { s.local.layers = $("blendin").value || null; }); });
  $("showleak").addEventListener("change", leaks);
  on("opened", () => {
    const groups = store.about.open.groups.map((g) => [g, `features, ${g} layers`]);
    options($("blendin"), [["", "pixels"], ["all", "features, all layers"], ...groups], store.session.local?.layers || "");
  });
  on("structure", safely(show));
  on("tab", () => { if ($("local").hidden && tool) choose(tool); look(); leaks(); });
  on("drawn", (head) => { if (head.what === "full" && !head.plain) leaks(); });
}
