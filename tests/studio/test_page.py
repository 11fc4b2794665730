"""The page in a real browser: what a person does, and that it is the same picture afterwards."""

import json
import re

import pytest
import torch
from PIL import Image

import steerable as st
from steerable.studio.pictures import Easel

PATIENCE = 120_000


@pytest.fixture
def expect(browser):
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    return expect


@pytest.fixture
def at_home(person, running, expect):
    """Somebody whose page is ready and shows a full picture."""

    def come(url=None, **options):
        page = person(url or running.url, **options)
        rested(page, expect)
        return page

    return come


UNTIL = """([given, patience]) => new Promise((done, failed) => {
    const picture = document.getElementById("picture"), now = picture.dataset, test = TEST;
    const look = () => picture.ariaBusy === "false" && now.what === "full" && test() && done();
    new MutationObserver(look).observe(picture, { attributes: true });
    setTimeout(() => failed(new Error(`after ${patience} ms: ${picture.outerHTML}`)), patience);
    look();
})"""


def until(page, test, given=None):
    """Wait for the full picture of which `test` (JavaScript) holds. Told by the page when it changes, not asked for now and then."""
    page.evaluate(UNTIL.replace("TEST", f"() => {test}"), [given, PATIENCE])


def rested(page, expect):
    expect(page.locator("html")).to_have_attribute("data-ready", "true")
    until(page, "true")


def key(page):
    """The hash of the full picture on the page."""
    return page.locator("#picture").get_attribute("data-key")


def changes(page, what):
    """Do something, and wait until another full picture is there. Its hash."""
    before = key(page)
    what()
    until(page, "now.key !== given", before)
    return key(page)


def shows(page, wanted):
    until(page, "now.key === given", wanted)


def returns(page, to, what):
    what()
    shows(page, to)


def drag(slider, *values):
    """Pull a slider through some values, as a hand does: events of input, and one of change at the end."""
    slider.evaluate(
        """(e, values) => {
            for (const v of values) { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }
            e.dispatchEvent(new Event('change', {bubbles: true}));
        }""",
        list(values),
    )


def found(page, expect, count=6):
    page.click("#quick")
    expect(page.locator(".card")).to_have_count(count)


def slider(page, name):
    return page.locator(f'.card[data-name="{name}"] input[type=range]')


def bundle(page, expect, tmp_path, names=("one", "two")):
    """A directions file with these names, opened on the page."""
    g = st.load("heads-64", device="cpu")
    paths = st.discover("random", g, space="w", k=len(names), drawn="codes")
    paths = paths.renamed(dict(zip(paths.names, names, strict=True)))
    file = st.save(paths, tmp_path / "mine.safetensors", generator=g)
    page.set_input_files("#file", file)
    expect(page.locator(".card")).to_have_count(len(names))
    return paths


# -- the way of every picture -------------------------------------------------------------------------------------------------------


def test_sample_slide_undo_reload(at_home, expect):
    page = at_home()
    requests = []
    page.on("request", lambda r: requests.append(r.url))
    first = key(page)
    page.click("[role=tab][data-for=sample]")
    expect(page.locator("#gallery img")).to_have_count(12)
    picked = changes(page, lambda: page.click("#gallery [data-seed='7']"))
    page.click("[role=tab][data-for=steer]")
    found(page, expect)
    moved = changes(page, lambda: drag(slider(page, "sefa-0"), 0.5, 1.0, 1.5))
    expect(page.locator(".card .strip").first.locator("img")).to_have_count(7)
    expect(page.locator("#history li")).to_have_count(4)
    page.reload()
    rested(page, expect)
    shows(page, moved)
    expect(slider(page, "sefa-0")).to_have_value("1.5")
    drag(slider(page, "sefa-0"), 0)
    shows(page, picked)
    returns(page, moved, lambda: page.keyboard.press("Control+z"))
    returns(page, picked, lambda: page.keyboard.press("Control+Shift+Z"))
    page.keyboard.press("Control+z")
    returns(page, picked, lambda: page.click("#reset"))
    assert first != picked
    assert all(url.startswith(page.url.split("#")[0]) or url.startswith(("blob:", "data:")) for url in requests)


def test_keys_truncation_blends_and_mixes_change_the_picture_and_come_back(at_home, expect, tmp_path):
    page = at_home()
    plain = key(page)
    page.click("[role=tab][data-for=sample]")
    changes(page, lambda: drag(page.locator("#psi"), 0.3))
    returns(page, plain, lambda: page.click("#undo"))
    page.check("input[name=pick][value=blend]")
    half = changes(page, lambda: page.click("#gallery [data-seed='3']"))
    other = changes(page, lambda: drag(page.get_by_label("Share of seed 3"), 1))
    assert half != other
    returns(page, plain, lambda: page.click("#blend button"))
    page.check("input[name=pick][value=mix]")
    changes(page, lambda: page.click("#gallery [data-seed='5']"))
    returns(page, plain, lambda: page.click("#blend button"))
    page.click("[role=tab][data-for=steer]")
    bundle(page, expect, tmp_path)
    slider(page, "one").focus()
    moved = changes(page, lambda: [page.keyboard.press("ArrowRight") for _ in range(20)])
    expect(slider(page, "one")).to_have_value("1")
    returns(page, plain, lambda: page.keyboard.press("Space"))
    expect(page.locator("#badge")).to_be_visible()
    returns(page, moved, lambda: page.keyboard.press("Space"))
    changes(page, lambda: page.keyboard.press("r"))


# -- sliders ------------------------------------------------------------------------------------------------------------------------


def test_directions_are_named_turned_cleaned_saved_and_opened_again(at_home, expect, tmp_path):
    page = at_home()
    bundle(page, expect, tmp_path)
    moved = changes(page, lambda: drag(slider(page, "one"), 2))
    card = page.locator(".card").first
    card.locator("summary").click()
    card.locator("[data-k=name]").fill("smile")
    card.locator("[data-k=name]").press("Tab")
    expect(slider(page, "smile")).to_have_value("2")
    page.get_by_role("button", name="Flip smile").click()
    expect(slider(page, "smile")).to_have_value("-2")
    shows(page, moved)
    page.get_by_role("button", name="Move down smile").click()
    expect(page.locator(".card").last).to_have_attribute("data-name", "smile")
    kept = changes(page, lambda: page.locator(".card").last.get_by_label("two", exact=True).check())
    expect(page.locator(".cost")).to_have_text(re.compile(r"\d+ % of this direction is left"))
    with page.expect_download() as download:
        page.click("#save")
    file = tmp_path / "saved.safetensors"
    download.value.save_as(file)
    paths = st.read(file, generator=st.load("heads-64", device="cpu"))
    assert paths.names == ("two", "smile")
    assert abs(float((paths["two"].vector * paths["smile"].vector).sum())) < 1e-5
    page.get_by_role("button", name="Hide smile").click()
    expect(page.locator(".card")).to_have_count(1)
    again = at_home()
    again.set_input_files("#file", file)
    expect(again.locator(".card")).to_have_count(2)
    assert changes(again, lambda: drag(slider(again, "smile"), -2)) == kept


def test_names_from_files_are_shown_as_text_and_compared_side_by_side(at_home, expect, tmp_path):
    page = at_home()
    said = []
    page.on("dialog", lambda d: (said.append(d.message), d.dismiss()))
    name = "<img src=x onerror=alert(1)>"
    bundle(page, expect, tmp_path, names=(name, "'\"><script>alert(2)</script>"))
    expect(page.locator(".card b").first).to_have_text(name)
    changes(page, lambda: drag(page.locator(".card input[type=range]").first, 1))
    page.click("[role=tab][data-for=find]")
    page.fill("#cseeds", "1,2")
    page.fill("#ct", "-2,0,2")
    page.click("#compare")
    expect(page.locator("#compared img")).to_have_count(2 * 2 * 3)
    expect(page.locator("#compared figcaption").first).to_contain_text(name)
    page.click("[role=tab][data-for=keep]")
    expect(page.locator("#python")).to_contain_text(name)
    assert page.locator("img[src=x]").count() == 0
    assert not said


def test_a_method_runs_in_its_own_process_and_what_it_found_is_measured(at_home, running, expect):
    page = at_home()
    page.click("#finder summary")
    page.select_option("#method", "ganspace")
    expect(page.locator("#settings [name=n]")).to_have_value(re.compile(r"\d+"))
    page.fill("#settings [name=n]", "900000000")
    page.click("#run")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#findjob")).to_contain_text("nothing was left behind")
    page.select_option("#method", "random")
    page.fill("#settings [name=k]", "0")
    page.click("#run")
    expect(page.locator("#trouble")).to_contain_text("k must be at least 1")
    page.fill("#settings [name=k]", "2")
    page.click("#run")
    expect(page.locator(".card")).to_have_count(2)
    page.click("#measurer summary")
    page.select_option("#measurescore", "statistics")
    page.fill("#people", "4")
    page.click("#measure")
    expect(page.locator(".card .chips").first).to_be_visible()
    page.click("#scorebox summary")
    page.select_option("#score", "statistics")
    expect(page.locator(".score meter").first).to_have_attribute("aria-label", re.compile("brightness"))


def test_files_that_the_studio_was_started_with_are_sliders_at_once(offering, at_home, expect):
    page = at_home(offering.url)
    expect(page.locator(".card b")).to_have_text(["up", "down"])
    expect(page.locator("#trouble")).to_contain_text("broken.safetensors")
    moved = changes(page, lambda: drag(slider(page, "down"), 1.5))
    page.reload()
    rested(page, expect)
    shows(page, moved)
    expect(page.locator(".card")).to_have_count(2)


# -- mask, search, comparison --------------------------------------------------------------------------------------------------------


def pixels(page, tmp_path, name):
    with page.expect_download() as download:
        page.click("#png")
    file = tmp_path / f"{name}.png"
    download.value.save_as(file)
    return st.read_images(file)


def test_a_mask_holds_an_edit_to_a_region(at_home, expect, tmp_path):
    page = at_home()
    bundle(page, expect, tmp_path)
    page.click("[role=tab][data-for=keep]")
    plain = pixels(page, tmp_path, "plain")
    page.click("[role=tab][data-for=steer]")
    changes(page, lambda: drag(slider(page, "one"), 2.5))
    page.click("[role=tab][data-for=local]")
    changes(page, lambda: page.click("[data-region='0,0,1,0.5']"))
    expect(page.locator("#leak")).to_contain_text("0.0 %")
    page.click("[role=tab][data-for=keep]")
    upper = pixels(page, tmp_path, "upper")
    assert torch.equal(upper[..., 32:, :], plain[..., 32:, :])
    assert not torch.equal(upper[..., :32, :], plain[..., :32, :])
    page.click("[role=tab][data-for=local]")
    changes(page, lambda: page.select_option("#blendin", "all"))
    expect(page.locator("#leak")).not_to_contain_text(re.compile(r"^0\.0 %"))
    changes(page, lambda: page.click("#clear"))
    page.click("#brush")
    box = page.locator("#paint").bounding_box()

    def stroke():
        page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.4, steps=4)
        page.mouse.up()

    masked = changes(page, stroke)
    expect(page.locator("#leak")).to_contain_text("% of the change")
    page.reload()
    rested(page, expect)
    shows(page, masked)


def test_the_best_of_four_and_a_search_by_choosing_become_steps(at_home, expect):
    page = at_home()
    page.click("[role=tab][data-for=find]")
    page.click("#likes")
    expect(page.locator("#candidates img")).to_have_count(4)
    changes(page, lambda: page.get_by_role("button", name="Candidate 3").click())
    expect(page.locator(".card")).to_have_count(1)
    page.click("#search")
    ahead = page.locator("#hunt input[type=range]")
    expect(ahead).to_have_attribute("aria-label", "slider-0")
    high = float(ahead.get_attribute("max"))
    assert high > 0.2
    changes(page, lambda: drag(ahead, high / 2))
    page.get_by_role("button", name="Next slider").click()
    expect(ahead).to_have_attribute("aria-label", "slider-1")
    expect(page.locator(".card")).to_have_count(3)
    expect(slider(page, "slider-0")).not_to_have_value("0")


# -- keeping ------------------------------------------------------------------------------------------------------------------------


def test_lines_exported_sessions_sheets_and_walks_show_the_same_picture(at_home, expect, tmp_path, monkeypatch):
    page = at_home()
    bundle(page, expect, tmp_path)
    shown = changes(page, lambda: drag(slider(page, "two"), 1.75))
    page.click("[role=tab][data-for=keep]")
    expect(page.locator("#command")).to_contain_text("--paths directions.safetensors two:1.75")
    picture = pixels(page, tmp_path, "picture")
    for button, name in (("#directions", "directions.safetensors"), ("#export", "session.json")):
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    exec(page.locator("#python").text_content(), {})
    assert torch.equal(st.read_images("out.png"), picture)
    page.fill("#frames", "8")
    page.select_option("#format", "gif")
    for button, name in (("#sheet", "sheet.png"), ("#walk", "walk.gif")):
        with page.expect_download(timeout=PATIENCE) as download:
            page.click(button)
        download.value.save_as(tmp_path / name)
        with Image.open(tmp_path / name) as film:
            assert film.width >= 64
            assert (getattr(film, "n_frames", 1) > 4) == (name == "walk.gif")
    other = at_home()
    other.click("[role=tab][data-for=keep]")
    other.set_input_files("#import", tmp_path / "session.json")
    shows(other, shown)
    broken = json.loads((tmp_path / "session.json").read_text())
    broken["paths"] = {id: text[:200] for id, text in broken["paths"].items()}
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    other.set_input_files("#import", tmp_path / "broken.json")
    expect(other.locator("#trouble")).to_be_visible()
    shows(other, shown)


# -- when things go wrong -----------------------------------------------------------------------------------------------------------


def test_a_cut_line_is_restored(running, browser, person, expect):
    lines = []
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)

    def through(line):
        line.connect_to_server()
        lines.append(line)

    page.route_web_socket(re.compile("/live$"), through)
    page.goto(running.url)
    rested(page, expect)
    lines[-1].close()
    expect(page.locator("#link")).to_have_text("ready")
    changes(page, lambda: page.click("#random"))
    assert len(lines) > 1
    context.close()


def test_a_crash_is_told_and_passes_and_what_is_not_here_can_be_asked_for(at_home, expect, monkeypatch):
    page = at_home()
    first = key(page)
    with monkeypatch.context() as broken:

        def crash(*_):
            raise RuntimeError("a bolt from the blue")

        broken.setattr(Easel, "preview", crash)
        broken.setattr(Easel, "full", crash)
        page.click("#random")
        expect(page.locator("#trouble")).to_contain_text("Your session is kept")
    returns(page, first, lambda: page.click("#undo"))
    expect(page.locator("#trouble")).to_be_hidden()
    page.select_option("#generator", "ffhq-1024")
    expect(page.locator("#absent")).to_contain_text("is not on this machine yet")
    expect(page.locator("#absent")).to_contain_text("research use only")
    expect(page.get_by_role("button", name=re.compile(r"Download \d"))).to_be_visible()
    page.select_option("#generator", "tiny-class")
    expect(page.locator("#picture")).to_have_attribute("data-what", "full")
    expect(page.locator("#absent")).to_be_hidden()


def test_two_people_do_not_see_each_other(at_home, running, expect, tmp_path):
    one, two = at_home(), at_home()
    bundle(one, expect, tmp_path)
    changes(one, lambda: drag(slider(one, "one"), 2))
    changes(two, lambda: two.click("#random"))
    stolen = one.url.split("#")[1]
    assert two.locator(".card").count() == 0
    two.goto(f"{running.url}#{stolen}")
    expect(two.locator("#trouble")).to_contain_text("not here any more")
    folders = {p.shelf.folder for p in running.studio.people.values()}
    assert len(folders) == len(running.studio.people)


def test_it_fits_every_screen_and_everything_has_a_name(at_home, expect):
    page = at_home(color_scheme="dark")
    for width in (375, 768, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        for tab in ("sample", "steer", "local", "find", "photo", "keep"):
            page.click(f"[role=tab][data-for={tab}]")
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, (width, tab)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.click("#theme")
    assert page.locator("html").get_attribute("data-theme") == "light"
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select')].filter(e => !e.textContent.trim()
            && !e.getAttribute('aria-label') && !e.labels?.length).map(e => e.outerHTML)"""
    )
    assert nameless == []


# -- one's own photograph -------------------------------------------------------------------------------------------------------------


def test_a_photo_is_found_steered_and_pasted_back(at_home, expect, tmp_path):
    page = at_home()
    bundle(page, expect, tmp_path)
    g = st.load("heads-64", device="cpu")
    photo = torch.full((1, 3, 96, 128), -0.2)
    photo[..., 16:80, 32:96] = st.render(g, g.sample(seeds=[21]), [st.Truncate(0.7)])
    st.write(photo, tmp_path / "me.png")
    page.click("[role=tab][data-for=photo]")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n half of nothing")
    page.set_input_files("#photofile", tmp_path / "bad.png")
    expect(page.locator("#trouble")).to_contain_text("not a picture that can be read")
    page.set_input_files("#photofile", tmp_path / "me.png")
    expect(page.locator("#chosen")).to_be_visible()
    page.select_option("#crop", "center")
    page.click("#photo summary")
    page.fill("#inversion [name=lpips]", "0")
    page.fill("#inversion [name=pixels]", "1")
    page.fill("#inversion [name=steps]", "1000000")
    page.select_option("#inversion [name=schedule]", "constant")
    page.click("#find-photo")
    expect(page.locator("#photojob")).to_contain_text(re.compile(r"[1-9]\d* of 1000000"))
    expect(page.locator("#way img")).not_to_have_count(0)
    expect(page.locator("#found figcaption")).to_have_text(["cut out", "so far"])
    seen = page.locator("#found img").last.get_attribute("src")
    expect(page.locator("#found img").last).not_to_have_attribute("src", seen)
    changes(page, lambda: page.get_by_role("button", name="Stop here").click())
    expect(page.locator("#found figcaption")).to_have_text(["cut out", "found"])
    expect(page.locator("#photojob")).to_contain_text("best so far")
    with page.expect_download() as download:
        page.click("#paste")
    download.value.save_as(tmp_path / "same.png")
    assert torch.equal(st.read_images(tmp_path / "same.png"), st.read_images(tmp_path / "me.png"))
    page.click("[role=tab][data-for=steer]")
    changes(page, lambda: drag(slider(page, "one"), 2.5))
    page.click("[role=tab][data-for=photo]")
    with page.expect_download() as download:
        page.click("#paste")
    download.value.save_as(tmp_path / "edited.png")
    edited, before = st.read_images(tmp_path / "edited.png"), st.read_images(tmp_path / "me.png")
    assert edited.shape == before.shape
    assert not torch.equal(edited, before)
    assert torch.equal(edited[..., :16], before[..., :16])
