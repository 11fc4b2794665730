// Small things the page needs everywhere. Text is always set as text: nothing that comes from a file is read as HTML.

export const $ = (id) => document.getElementById(id);

export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && key !== "list") made[key] = value;
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return made;
}

export function options(select, values, chosen) {
  select.replaceChildren(...values.map((v) => {
    const [value, text] = Array.isArray(v) ? v : [v, v];
    return el("option", { value, textContent: text, selected: String(value) === String(chosen) });
  }));
}

export class Superseded extends Error {}

async function answered(answer) {
  if (answer.status === 204) throw new Superseded("superseded");
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({ error: `the studio answered ${answer.status}` }));
    throw new Error(told.error || told.detail || `the studio answered ${answer.status}`);
  }
  return answer;
}

const unreachable = () => { throw new Error("the studio cannot be reached; is it still running?"); };

export const get = async (path) => (await answered(await fetch(path).catch(unreachable))).json();

export async function post(path, body, raw = false) {
  const blob = body instanceof Blob;
  const answer = await answered(await fetch(path, {
    method: "POST",
    body: blob ? body : JSON.stringify(body),
    headers: { "content-type": blob ? "application/octet-stream" : "application/json" },
  }).catch(unreachable));
  return raw ? answer : answer.json();
}

export async function download(path, body, name) {
  const blob = await (await post(path, body, true)).blob();
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function trouble(text) {
  $("trouble").textContent = text || "";
  $("trouble").hidden = !text;
}

// Run something that may fail, and say so where it does.
export const safely = (work) => async (...given) => {
  try {
    return await work(...given);
  } catch (error) {
    if (!(error instanceof Superseded)) trouble(error.message);
  }
};

export const later = (ms, work) => {
  let timer;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => work(...given), ms); };
};
