// What is known of the present picture: its scores as bars, and the way it was reached.

import { $, el, later, post, safely } from "./dom.js";
import { back, on, store } from "./session.js";

const seen = new Map(); // score → [lowest, highest] in this session, to which the bars are scaled

const fetchScores = later(250, safely(async () => {
  if (!$("scorebox").open || !store.about?.open) return;
  const rows = await post("/scores", { session: store.session, score: $("score").value });
  $("scores").replaceChildren(...rows.map((row) => {
    if (row.after === null) return el("div", { className: "score" }, el("span", { textContent: row.name }), el("span", { className: "faint", textContent: "no face found" }));
    const values = [row.before ?? row.after, row.after], [low, high] = seen.get(row.name) || [Infinity, -Infinity];
    const span = [Math.min(low, ...values), Math.max(high, ...values)];
    seen.set(row.name, span);
    const wide = span[1] - span[0] || 1, change = row.after - (row.before ?? row.after);
    return el("div", { className: "score", title: row.unit },
      el("span", { textContent: row.name }),
      el("meter", { min: 0, max: 1, value: (row.after - span[0]) / wide, "aria-label": `${row.name} ${row.after.toPrecision(3)} ${row.unit}` }),
      el("span", { className: "number", textContent: `${row.after.toPrecision(3)} (${change >= 0 ? "+" : "−"}${Math.abs(change).toPrecision(2)})` }));
  }));
}));

const keep = later(60, () => {
  const canvas = $("picture");
  if (canvas.dataset.what !== "full" || canvas.dataset.plain === "true") return;
  const now = JSON.stringify(store.session);
  if (store.past.at(-1) !== now) return;
  const small = Object.assign(document.createElement("canvas"), { width: 56, height: Math.round((56 * canvas.height) / canvas.width) });
  small.getContext("2d").drawImage(canvas, 0, 0, small.width, small.height);
  store.pictures.set(now, small.toDataURL("image/jpeg", 0.8));
  strip();
});

function strip() {
  const past = store.past.map((text, i) => [text, i]).slice(-24);
  $("history").replaceChildren(...past.map(([text, i]) => el("li", {}, el("button", {
    "aria-label": `Step ${i + 1}`, "aria-current": i === store.past.length - 1 ? "step" : null, onclick: () => back(i),
  }, store.pictures.has(text) ? el("img", { src: store.pictures.get(text), alt: "" }) : "·"))));
  $("undo").disabled = store.past.length < 2;
  $("redo").disabled = !store.future.length;
}

export function begin() {
  $("scorebox").addEventListener("toggle", fetchScores);
  $("score").addEventListener("change", () => { seen.clear(); fetchScores(); });
  on("commit", strip);
  on("drawn", (head) => { if (head.what === "full") { keep(); fetchScores(); } });
}
