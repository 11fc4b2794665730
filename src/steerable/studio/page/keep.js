// What leaves the studio: pictures, films, files, addresses, lines to copy; and sessions that come back.

import { $, download, options, post, safely } from "./dom.js";
import { run } from "./jobs.js";
import { need } from "./finder.js";
import { begin as restart, on, store, tell } from "./session.js";

const of = () => ({ session: store.session });

async function made(ask) {
  const job = await run(ask, $("keepjob"));
  const link = Object.assign(document.createElement("a"), { href: `/jobs/${job.id}/file`, download: job.result.file });
  document.body.append(link);
  link.click();
  link.remove();
}

async function back(file) {
  if (!file) return;
  const { session } = await post("/bundle", file);
  if (session.generator !== store.session.generator) { await tell("generator", session.generator); }
  for (const s of session.sliders) await need(s.bundle);
  restart(session);
  tell("bundles");
}

export function begin() {
  $("png").addEventListener("click", safely(() => download("/export/png", of(), "picture.png")));
  $("export").addEventListener("click", safely(() => download("/export/session", of(), "session.json")));
  for (const id of ["directions", "save"]) $(id).addEventListener("click", safely(() => download("/export/directions", of(), "directions.safetensors")));
  $("import").addEventListener("change", safely(async (e) => { await back(e.target.files[0]); e.target.value = ""; }));
  $("address").addEventListener("click", safely(() => navigator.clipboard.writeText(location.href)));
  $("sheet").addEventListener("click", safely(() => made({ kind: "sheet", session: store.session })));
  $("walk").addEventListener("click", safely(() => made({
    kind: "walk", session: store.session, format: $("format").value, frames: Number($("frames").value) || 49, size: Math.min(512, store.about.open.height),
  })));
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", safely(() => navigator.clipboard.writeText($(button.dataset.copy).textContent)));
  }
  on("commit", () => {
    const { local } = store.session;
    $("maskfile").hidden = !local;
    if (local) $("maskfile").href = `/mask/${local.mask}`;
  });
  on("opened", () => options($("format"), store.about.films, store.about.films[0]));
}
