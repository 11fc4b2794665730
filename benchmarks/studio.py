"""The studio's slider, from the `input` event in the page to the drawn picture, in a headless Chromium on the same machine.

`python -m benchmarks.studio` starts a studio of its own and prints the table; it needs chromium, playwright and ffhq-1024.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.timing import table

MOVE = """
async ([card, low, high, count]) => {
  const slider = document.querySelectorAll(".card input[type=range]")[card], canvas = document.getElementById("picture");
  const drawn = () => new Promise(done =>
    canvas.addEventListener("drawn", e => e.detail.what === "preview" && done(e.detail)));
  const times = [], server = [];
  for (let i = 0; i < count; i += 1) {
    const shown = drawn(), begun = performance.now();
    slider.value = low + (high - low) * ((i * 7919) % 97) / 97;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    const told = await shown;
    times.push(told.at - begun); server.push([told.ms, told.cpu]);
  }
  slider.dispatchEvent(new Event("change", {bubbles: true}));
  return [times, server];
}
"""
DRAG = """
async ([card, seconds]) => {
  const slider = document.querySelectorAll(".card input[type=range]")[card], canvas = document.getElementById("picture");
  let count = 0;
  const seen = e => { count += e.detail.what === "preview"; };
  canvas.addEventListener("drawn", seen);
  const begun = performance.now();
  for (let i = 0; performance.now() - begun < seconds * 1000; i += 1) {
    slider.value = 2 * Math.sin(i / 12);
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    await new Promise(done => setTimeout(done, 16));
  }
  canvas.removeEventListener("drawn", seen);
  const rested = performance.now();
  const full = await new Promise(done => canvas.addEventListener("drawn", e => e.detail.what === "full" && done(e.detail)));
  slider.dispatchEvent(new Event("change", {bubbles: true}));
  return [count / seconds, full.at - rested];
}
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("generator", nargs="?", default="ffhq-1024")
    options.add_argument("--moves", type=int, default=40)
    given = options.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("not measured: there is no chromium on this machine")
        return
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "steerable.cli", "studio", given.generator, "--port", "0"]
    studio = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert studio.stderr is not None
        address = next(word for line in studio.stderr for word in line.split() if word.startswith("http://"))
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            )
            print(f"load before: {os.getloadavg()[0]:.1f}")
            measured(browser, address, given.moves)
            print(f"load after: {os.getloadavg()[0]:.1f}")
            browser.close()
    finally:
        studio.terminate()
        studio.wait(20)


def measured(browser: Any, address: str, moves: int) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("html[data-ready=true]")
    page.wait_for_selector("#picture[data-what=full]")
    print(
        f"from GET / to usable, with a full picture: {time.perf_counter() - begun:.2f} s (the first includes opening)"
    )
    begun = time.perf_counter()
    page.reload()
    page.wait_for_selector("html[data-ready=true]")
    page.wait_for_selector("#picture[data-what=full]")
    print(f"again: {time.perf_counter() - begun:.2f} s")
    page.click("#quick")
    page.wait_for_selector(".card")
    late = page.locator(".card").nth(1)
    late.locator("summary").click()
    late.locator("[data-k=layers]").fill("9-15")
    late.locator("[data-k=layers]").press("Tab")
    page.wait_for_selector(".card:nth-of-type(6) .strip img")
    heads = (
        "rows",
        "preview",
        "event to drawn ms",
        "p95",
        "of that rendering",
        "its CPU",
        "pictures/s",
        "full after rest ms",
    )
    lines = []
    for size in ("64", "128", "256"):
        page.select_option("#size", size)
        for card, rows in ((1, "9-15"), (0, "all")):
            page.evaluate(MOVE, [card, -2, 2, 5])
            times, server = page.evaluate(MOVE, [card, -2, 2, moves])
            rate, full = page.evaluate(DRAG, [card, 2])
            p95 = statistics.quantiles(times, n=20)[-1]
            ms, cpu = (statistics.median(column) for column in zip(*server, strict=True))
            numbers = (statistics.median(times), p95, ms, cpu, rate, full)
            lines.append((rows, f"{size} px", *(f"{v:.0f}" for v in numbers)))
    print(table(heads, lines))


if __name__ == "__main__":
    main()
