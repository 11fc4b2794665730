// A long job in its own process: how far it is, how long it will take, a way to stop it.

import { el, get, post, Superseded } from "./dom.js";

const words = (job) => {
  const count = job.total ? `${job.done} of ${job.total}` : "";
  const left = job.left === null ? "" : `, about ${job.left < 90 ? `${Math.ceil(job.left)} s` : `${Math.ceil(job.left / 60)} min`} left`;
  return `${job.title} ${count}${left}`;
};

// `early`: it can be ended with the best so far. `look(picture, target)` is handed what has been found, as it gets better.
export async function run(ask, box, early = false, look = null) {
  let job = await post("/jobs", ask), seen = 0;
  const bar = el("progress", { max: 1 });
  const text = el("span", { role: "status" });
  const stop = el("button", { textContent: "Cancel", onclick: () => fetch(`/jobs/${job.id}`, { method: "DELETE" }) });
  const enough = early && el("button", { textContent: "Stop here", title: "and keep the best so far", onclick: () => post(`/jobs/${job.id}/stop`, {}) });
  box.replaceChildren(el("div", { className: "job" }, bar, text, enough, stop));
  const watch = () => { if (look && job.picture) look(job.picture, job.target); seen = job.seen; };
  while (job.state === "running") {
    watch();
    if (job.total) bar.value = job.done / job.total; else bar.removeAttribute("value");
    text.textContent = words(job);
    await new Promise((done) => setTimeout(done, 200));
    job = await get(`/jobs/${job.id}?seen=${seen}`);
  }
  watch();
  box.replaceChildren(...job.notes.map((note) => el("p", { className: "faint", textContent: note })));
  if (job.state === "canceled") { box.append(el("p", { className: "faint", textContent: "Canceled; nothing was left behind." })); throw new Superseded("canceled"); }
  if (job.state === "failed") throw new Error(job.error);
  return job;
}
