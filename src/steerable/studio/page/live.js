// The line to the worker: one preview in flight, the newest state next, the full picture when the hand rests.

import { $, trouble } from "./dom.js";
import { store, tell } from "./session.js";

const REST = 150; // ms after the last change
const SLOW = 70, FAST = 22; // ms of a round trip at which "auto" takes the smaller or the larger preview
let socket, n = 0, flying = 0, dirty = false, asked = 0, shown = -1, rest, wait = 250, mean = 40, auto = 256, failed = false;
export const view = { plain: false };

export function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { wait = 250; flying = 0; says("ready"); moved(); };
  socket.onclose = () => {
    flying = 0;
    says("reconnecting …");
    setTimeout(connect, wait);
    wait = Math.min(wait * 1.6, 4000);
  };
  socket.onmessage = ({ data }) => (typeof data === "string" ? words(JSON.parse(data)) : picture(data));
}

// Until the full picture of the newest state is there.
const busy = (yes) => $("picture").setAttribute("aria-busy", String(yes));

const says = (text) => { $("link").textContent = text; $("link").dataset.state = text; };

const size = () => Number($("size").value) || auto;

// Something changed: a preview now, the full picture soon.
export function moved() {
  if (!dirty) asked = performance.now();
  busy(true);
  dirty = true;
  pump();
  clearTimeout(rest);
  rest = setTimeout(full, REST);
}

const open = () => socket?.readyState === WebSocket.OPEN && store.session && store.about?.open;

function ask(what) {
  n += 1;
  socket.send(JSON.stringify({ n, what, size: size(), plain: view.plain, session: store.session }));
  return n;
}

function pump() {
  if (!dirty || flying || !open()) return;
  dirty = false;
  ask.at = asked;
  flying = ask("preview");
}

function full() {
  if (!open()) return;
  if (flying) { rest = setTimeout(full, 20); return; }
  ask("full");
}

function words(told) {
  if (told.n === flying) flying = 0;
  if (told.error) { failed = true; trouble(told.error); busy(false); }
  pump();
}

async function picture(data) {
  const length = new DataView(data).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const at = ask.at;
  if (head.n === flying) { flying = 0; pump(); }
  if (head.n < shown) return;
  shown = head.n;
  const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
  if (head.n < shown) return;
  const canvas = $("picture");
  if (canvas.width !== head.width || canvas.height !== head.height) { canvas.width = head.width; canvas.height = head.height; }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  const ms = performance.now() - at;
  if (head.what === "preview") adapt(ms);
  if (failed) { failed = false; trouble(""); }
  Object.assign(canvas.dataset, { what: head.what, key: head.key, n: head.n, plain: head.plain });
  $("status").textContent = head.what === "full" ? `${head.width} × ${head.height} px` : `preview ${head.width} px, ${Math.round(ms)} ms`;
  if (head.what === "full" && head.n === n && !dirty) busy(false);
  canvas.dispatchEvent(new CustomEvent("drawn", { detail: { ...head, asked: at, at: performance.now() } }));
  tell("drawn", head);
}

// "auto" looks for the largest preview that is quick enough here and now.
function adapt(ms) {
  mean = 0.8 * mean + 0.2 * ms;
  if (mean > SLOW && auto > 64) { auto /= 2; mean = 40; }
  else if (mean < FAST && auto < 256) { auto *= 2; mean = 40; }
}
