"""The page at / in Chromium: drawing, editing, finding, comparing; by hand, by keyboard, in two languages and themes."""
import base64
import json
import os
import re
import shutil
import subprocess

import pytest
from playwright.sync_api import expect, sync_playwright

from browser import Line, drop, free_size, visit
from conftest import PROGRAM, png

SMALL = {"size": "64x64", "num_inference_steps": 2}
LONG = {"prompt": "a slow one", "size": "512x512", "num_inference_steps": 200, "n": 10}
DONE = '.card[data-state="done"]'


def encoded(*colour):
    return base64.b64encode(png(48, 32, colour)).decode()


def draw(server, prompt, **fields):
    job = server.ask("POST", "/v1/jobs", {"prompt": prompt, "size": "64x64", **fields}).json
    return server.wait_for_job(job["id"])


def newest(server):
    return server.ask("GET", "/v1/jobs?limit=1").json["data"][0]


def said(page, pattern):
    return page.evaluate("(pattern) => [...window.said].some((each) => new RegExp(pattern).test(each))", pattern)


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def at(chromium, server):
    """A visit with an English browser in the light."""
    with visit(chromium, server.port, color_scheme="light") as one:
        yield one


def test_files(server):
    page = server.ask("GET", "/")
    assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    text = page.body.decode()
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?://", text)
    for path, mime in (("/js/app.js", "text/javascript; charset=utf-8"), ("/css/base.css", "text/css; charset=utf-8"),
                       ("/icon.svg", "image/svg+xml")):
        reply = server.ask("GET", path)
        assert reply.status == 200 and reply.headers["Content-Type"] == mime
        assert reply.headers["Cache-Control"] == "no-cache"
        again = server.ask("GET", path, headers={"If-None-Match": reply.headers["ETag"]})
        assert again.status == 304 and again.body == b""
    assert server.ask("GET", "/js/../../etc/passwd").status == 404


def test_draws_a_picture(at, server):
    page = at.open()
    page.get_by_label("What should it show?").fill('a fox that says "hi"')
    free_size(page, 256)
    page.get_by_text("Fixed").click()
    page.get_by_label("Number of the seed").fill("9223372036854775000")  # more than a JavaScript number holds
    page.get_by_text("Fine settings").click()
    page.get_by_label("Steps", exact=True).fill("100")  # long enough to be told how long
    page.get_by_label("Temperature", exact=True).fill("0.5")
    page.get_by_label("File").select_option("webp")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(DONE)).to_be_visible()
    job = newest(server)
    asked = job["request"]
    assert asked["prompt"] == 'a fox that says "hi"' and (asked["width"], asked["height"]) == (256, 256)
    assert asked["num_inference_steps"] == 100 and asked["temperature"] == 0.5 and asked["top_p"] is None
    assert asked["output_format"] == "webp" and job["pictures"][0]["seed"] == 9223372036854775000
    assert said(page, r"Writing visual tokens|Painting") and said(page, r"\d+ of \d+") and said(page, r"about \d+ s left")
    assert page.evaluate("window.previewed && window.most > 0 && window.most <= 1")
    drawn = page.locator(DONE).locator("img").first
    assert drawn.evaluate("(e) => e.decode().then(() => e.naturalWidth)") == 256
    expect(page.locator("#latest-list li").first.get_by_role("link")).to_have_attribute("href", re.compile(job["id"]))
    page.locator(DONE).get_by_role("link", name="Picture").click()
    expect(page.locator("#view-picture dl")).to_contain_text("9223372036854775000")


def test_says_what_is_wrong(at):
    page = at.open()
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("Say what to draw first.")
    expect(page.get_by_label("What should it show?")).to_be_focused()
    page.keyboard.type("a fox")
    free_size(page, 9000)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("4.19 megapixels")
    free_size(page, 64)
    page.get_by_text("Fixed").click()
    page.get_by_label("Number of the seed").fill("-4")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_have_text("A seed is a whole number from 0 on.")
    drop(page, [["notes.txt", "text/plain", "YQ=="]])
    expect(page.locator("#toast")).to_have_text("notes.txt is not a PNG, JPEG or WebP picture.")


def test_queue_and_cancel(at, server):
    page = at.open()
    first = server.ask("POST", "/v1/jobs", LONG).json
    page.get_by_label("What should it show?").fill("the one behind it")
    free_size(page, 64)
    page.get_by_role("button", name="Draw", exact=True).click()
    waiting = page.locator('.card[data-state="queued"]')
    expect(waiting).to_contain_text("Next in the queue")
    waiting.get_by_role("button", name="Cancel").click()
    expect(page.locator('.card[data-state="cancelled"]')).to_contain_text("Cancelled")
    page.reload()  # jobs on their way are shown again
    running = page.locator(f'.card[data-job="{first["id"]}"]')
    expect(running).to_contain_text("Picture 1 of 10")
    running.get_by_role("button", name="Cancel").click()
    expect(running).to_have_attribute("data-state", "cancelled")
    assert server.wait_for_job(first["id"])["state"] == "cancelled"


def test_edits_dropped_pictures(at, server):
    page = at.open()
    drop(page, [["red.png", "image/png", encoded(200, 30, 30)], ["green.png", "image/png", encoded(30, 200, 30)]])
    drop(page, [["blue.png", "image/png", encoded(30, 30, 200)]], "body")
    names = page.locator("#reference-list img")
    expect(names).to_have_count(3)
    page.get_by_role("button", name="Move picture 3 forward").click()
    expect(page.get_by_role("button", name="Move picture 2 forward")).to_be_focused()
    page.get_by_role("button", name="Remove picture 1").click()
    expect(names).to_have_count(2)
    assert [each.get_attribute("alt") for each in names.all()] == ["Picture 1: blue.png", "Picture 2: green.png"]
    page.get_by_label("What should it show?").fill("both on one table")
    free_size(page, 64)
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(DONE)).to_be_visible()
    job = newest(server)
    assert job["kind"] == "edit" and job["request"]["references"] == 2
    for index, colour in enumerate([(30, 30, 200), (30, 200, 30)]):
        reply = server.ask("GET", f"/v1/jobs/{job['id']}/references/{index}")
        assert reply.headers["Content-Type"] == "image/png" and reply.body == png(48, 32, colour)
    assert server.ask("GET", f"/v1/jobs/{job['id']}/references/2").status == 404
    # Its settings with its pictures go back into the form.
    page.locator("#reference-list").get_by_role("button", name="Remove picture 1").click()
    page.locator(DONE).get_by_role("link", name="Picture").click()
    page.get_by_role("button", name="Change and draw").click()
    expect(names).to_have_count(2)
    # Sixteen and no more.
    drop(page, [[f"{i}.png", "image/png", encoded(i, i, i)] for i in range(15)])
    expect(names).to_have_count(16)
    expect(page.locator("#toast")).to_have_text("At most 16 pictures can be edited at once.")


def test_pastes_and_chooses_pictures(at):
    page = at.open()
    page.get_by_label("Choose pictures").set_input_files([{"name": "a.png", "mimeType": "image/png", "buffer": png()}])
    page.evaluate("""(text) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "b.png", { type: "image/png" }));
        document.querySelector("#prompt").dispatchEvent(
            new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
    }""", encoded(1, 2, 3))
    expect(page.locator("#reference-list img")).to_have_count(2)


def test_gallery(at, server):
    draw(server, "one <b>bold</b> heron")
    for i in range(32):
        server.ask("POST", "/v1/jobs", {"prompt": f"owl number {i}", **SMALL})
    last = newest(server)
    server.wait_for_job(last["id"])
    page = at.open("gallery")
    tiles = page.locator("#gallery-list li")
    expect(tiles).to_have_count(30)
    page.get_by_role("button", name="Show more").click()
    expect(tiles.nth(31)).to_be_visible()
    expect(tiles.nth(30).get_by_role("link")).to_be_focused()
    page.get_by_label("Search prompts").fill("<B>bold")
    expect(tiles).to_have_count(1)
    expect(tiles).to_contain_text("one <b>bold</b> heron")  # as text
    expect(page.locator("#gallery-count")).to_have_text("1 picture")
    page.get_by_label("Search prompts").fill("no such thing")
    expect(page.locator("#gallery-count")).to_have_text("No prompt has “no such thing” in it.")
    page.goto(f"{at.origin}/#/gallery?search=number%2031")
    expect(tiles).to_have_count(1)


def test_one_picture(at, server):
    at.context.grant_permissions(["clipboard-read", "clipboard-write"])
    job = draw(server, "two boats", n=2, seed=77, guidance_scale=2.5, num_inference_steps=3)
    page = at.open(f"picture/{job['id']}/1")
    expect(page.get_by_role("heading", name="two boats")).to_be_visible()
    expect(page.locator("dl")).to_contain_text("78")
    page.get_by_role("button", name="Copy as JSON").click()
    expect(page.locator("#toast")).to_have_text("Copied.")
    settings = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert settings == {"prompt": "two boats", "size": "64x64", "seed": 78, "num_inference_steps": 3, "guidance_scale": 2.5,
                        "output_format": "png"}
    answer = server.ask("POST", "/v1/images/generations", settings).json  # they are the API's own fields
    drawn = server.ask("GET", f"/pictures/{job['id']}/1.png").body
    assert base64.b64decode(answer["data"][0]["b64_json"]) == drawn
    page.get_by_role("button", name="Copy as text").click()
    expect(page.locator("#toast")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "two boats\nSteps: 3, Sampler: Euler, CFG scale: 2.5, Seed: 78, Size: 64x64, Model: glm-image"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert re.fullmatch(r"glm-image-[0-9a-f-]{13}-2\.png", download.value.suggested_filename)
    # Drawn again, it is the same to the bit.
    page.get_by_role("button", name="Draw again").click()
    expect(page.locator(DONE)).to_be_visible()
    same = newest(server)
    assert same["id"] != job["id"] and server.ask("GET", f"/pictures/{same['id']}/0.png").body == drawn
    page.goto(f"{at.origin}/#/picture/{job['id']}/0")
    page.get_by_role("button", name="Change and draw").click()
    expect(page.get_by_label("Number of the seed")).to_have_value("77")
    expect(page.locator("#guidance-value")).to_have_text("2.5")
    page.goto(f"{at.origin}/#/picture/{job['id']}/0")
    page.get_by_role("button", name="Delete").click()
    page.keyboard.press("Escape")
    assert server.ask("GET", f"/v1/jobs/{job['id']}").status == 200
    page.get_by_role("button", name="Delete").click()
    page.locator("#ask-yes").click()
    expect(page.get_by_role("heading", name="Gallery")).to_be_visible()
    assert server.ask("GET", f"/v1/jobs/{job['id']}").status == 404


def test_compares_two(at, server):
    for seed in (1, 2):
        draw(server, "a lighthouse to compare", seed=seed)
    page = at.open("gallery?search=to%20compare")
    boxes = page.get_by_role("checkbox")
    expect(boxes).to_have_count(2)
    boxes.nth(0).check()
    expect(page.get_by_text("choose another")).to_be_visible()
    boxes.nth(1).check()
    page.get_by_role("link", name="Compare both").click()
    box = page.locator(".compare")
    slider = page.get_by_role("slider", name="How much of the first picture is seen")
    slider.fill("20")
    assert "80%" in box.locator("figure").first.evaluate("(e) => getComputedStyle(e).clipPath")
    slider.press("ArrowRight")
    assert "79%" in box.locator("figure").first.evaluate("(e) => getComputedStyle(e).clipPath")
    expect(page.locator("table")).to_contain_text("Seed")
    assert page.locator("tbody tr").count() == 1
    page.get_by_text("Side by side").click()
    first, second = (each.bounding_box() for each in box.locator("img").all())
    assert first["x"] + first["width"] <= second["x"] + 1
    page.get_by_text("Flicker").click()
    expect(box).to_have_attribute("data-shown", "2")
    expect(box).to_have_attribute("data-shown", "1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Gallery")).to_be_visible()


def test_calm_for_who_wants_it(chromium, server):
    pair = [draw(server, "a calm pair", seed=seed)["id"] for seed in (1, 2)]
    with visit(chromium, server.port, reduced_motion="reduce") as one:
        page = one.open(f"compare/{pair[0]}/0/{pair[1]}/0")
        page.get_by_text("Flicker").click()
        page.wait_for_timeout(1200)
        expect(page.locator(".compare")).to_have_attribute("data-shown", "1")
        page.get_by_role("button", name="Show the other").click()
        expect(page.locator(".compare")).to_have_attribute("data-shown", "2")


def test_themes(chromium, server):
    def paper(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")
    with visit(chromium, server.port, color_scheme="dark") as one:
        page = one.open()
        assert paper(page) == "rgb(23, 21, 19)"
        page.get_by_role("button", name="Theme: system").click()
        page.get_by_role("button", name="Theme: light").wait_for()
        assert paper(page) == "rgb(246, 243, 236)"
        page.reload()
        assert paper(page) == "rgb(246, 243, 236)"
        page.get_by_role("button", name="Theme: light").click()
        page.get_by_role("button", name="Theme: dark").click()
        page.emulate_media(color_scheme="light")
        assert paper(page) == "rgb(246, 243, 236)"


def test_chinese(chromium, server):
    with visit(chromium, server.port, locale="zh-CN") as one:
        page = one.open()
        expect(page.get_by_label("想画什么？")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
        page.get_by_label("想画什么？").fill("红灯笼，写着“欢迎”")
        page.get_by_text("自定", exact=True).click()
        page.locator("#width").fill("64")
        page.locator("#height").fill("64")
        page.get_by_role("button", name="开始绘图").click()
        expect(page.locator(DONE)).to_contain_text("用时")
        page.get_by_role("button", name="English").click()
        expect(page.locator(DONE)).to_contain_text("Drawn in")
        page.reload()
        expect(page.get_by_label("What should it show?")).to_be_visible()
        page.get_by_role("link", name="Gallery", exact=True).click()
        page.get_by_label("Search prompts").fill("红灯笼")
        expect(page.locator("#gallery-list li")).to_have_count(1)


def test_both_languages_have_the_same_words(at):
    words = at.open().evaluate("""async () => {
        const [en, zh] = await Promise.all(["en", "zh"].map((each) => import(`/js/words/${each}.js`)));
        const holes = (text) => [...text.matchAll(/\\{\\w+\\}/g)].map((each) => each[0]).sort().join();
        const list = (words) => Object.entries(words.default).map(([key, text]) => `${key} ${holes(text)}`).sort();
        return [list(en), list(zh)];
    }""")
    assert words[0] == words[1] and len(words[0]) > 100
    used = set(re.findall(r'data-t(?:-label|-placeholder)?="(\w+)"|\bt\("(\w+)"',
                          "".join(at.page.evaluate("""() => Promise.all(["/", ...performance.getEntriesByType("resource")
                              .map((each) => each.name).filter((each) => each.includes("/js/"))]
                              .map((each) => fetch(each).then((reply) => reply.text())))"""))))
    assert {a or b for a, b in used} <= {each.split()[0] for each in words[0]}


def test_by_keyboard_alone(at, server):
    page = at.open()
    press = page.keyboard.press
    page.wait_for_selector("#shapes input")
    press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press("Enter")
    press("Tab")
    expect(page.get_by_label("What should it show?")).to_be_focused()
    page.keyboard.type("drawn without a mouse")
    seen = []
    for _ in range(30):  # to the sizes, and on to the button; every stop is seen
        press("Tab")
        seen.append(page.evaluate("""() => {
            const e = document.activeElement, label = e.labels?.[0];
            const outline = (each) => each && getComputedStyle(each).outlineStyle !== "none";
            return [e.id, outline(e) || outline(label) || outline(e.previousElementSibling)];
        }"""))
        if seen[-1][0].startswith("size-"):
            press("ArrowLeft")  # the last one: free
            page.locator("#width").fill("64"), page.locator("#height").fill("64")
        if seen[-1][0] == "draw-button":
            break
    assert seen[-1][0] == "draw-button" and all(visible for _, visible in seen), seen
    press("Enter")
    expect(page.locator(DONE)).to_be_visible()
    for _ in range(10):
        press("Tab")
        if "/picture/" in (page.evaluate("document.activeElement.href ?? ''")):
            break
    press("Enter")
    expect(page.get_by_role("heading", name="drawn without a mouse")).to_be_focused()
    press("Escape")
    expect(page.get_by_role("heading", name="Gallery")).to_be_focused()
    press("Escape")
    expect(page.get_by_label("What should it show?")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_and_narrow(chromium, server, scheme):
    pair = [draw(server, "an accessible picture " * 12, seed=seed, n=2)["id"] for seed in (1, 2)]
    with visit(chromium, server.port, color_scheme=scheme, viewport={"width": 320, "height": 640}) as one:
        def check(what):
            one.check_width(what)
            one.check_accessible(f"{what}, {scheme}")
        page = one.open()
        page.wait_for_selector("#latest-list li")
        page.get_by_text("Fine settings").click()
        page.get_by_text("Free", exact=True).click()
        page.get_by_text("Fixed").click()
        drop(page, [["a" * 60 + ".png", "image/png", encoded(9, 9, 9)]] * 3)
        page.get_by_role("button", name="Draw", exact=True).click()
        check("the form")
        job = server.ask("POST", "/v1/jobs", {**LONG, "prompt": "W" * 300}).json
        page.reload()
        page.wait_for_selector('.card[data-state="running"]')
        check("a job on its way")
        server.ask("POST", f"/v1/jobs/{job['id']}/cancel")
        expect(page.locator('.card[data-state="cancelled"]')).to_be_visible()
        page.goto(f"{one.origin}/#/gallery")
        page.get_by_role("checkbox").first.check()
        check("the gallery")
        page.goto(f"{one.origin}/#/picture/{pair[0]}/1")
        page.wait_for_selector("#view-picture dl")
        check("a picture")
        page.get_by_role("button", name="Delete").click()
        one.check_accessible("a question")
        page.keyboard.press("Escape")
        page.goto(f"{one.origin}/#/compare/{pair[0]}/0/{pair[1]}/1")
        for mode in ("Side by side", "Flicker", "Slider"):
            page.get_by_text(mode).click()
            check(f"two pictures, {mode}")
    with visit(chromium, server.port, color_scheme=scheme, locale="zh-CN") as one:
        for view in ("", "gallery", f"picture/{pair[0]}/1", f"compare/{pair[0]}/0/{pair[1]}/1"):
            one.open(view)
            one.page.wait_for_selector(f"#view-{view.split('/')[0] or 'draw'} img")
            one.check_accessible(f"/{view}, {scheme}, wide, Chinese")


def test_key(chromium, start, tmp_path):
    made = subprocess.run([PROGRAM, "keys", "add", "page"], capture_output=True, text=True, check=True,
                          env=dict(os.environ, GLM_IMAGE_DATA=str(tmp_path / "data")))
    key = re.search(r"gi_\w+", made.stdout)[0]
    server = start()
    with visit(chromium, server.port, allowed="401") as one:
        page = one.open()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("This server asks for a key")
        one.check_accessible("the key's dialog")
        page.keyboard.type("gi_wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("does not know this key")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        page.get_by_label("What should it show?").fill("with a key")
        free_size(page, 64)
        page.get_by_role("button", name="Draw", exact=True).click()
        expect(page.locator(DONE)).to_be_visible()
        kept = "Object.values({0}).some((each) => each.startsWith('gi_'))"
        assert page.evaluate(kept.format("sessionStorage")) and not page.evaluate(kept.format("localStorage"))
        page.get_by_role("button", name="API key").click()
        page.get_by_label("API key", exact=True).last.fill(key)
        page.get_by_label("Remember it on this device").check()
        page.get_by_role("button", name="Use", exact=True).click()
        expect(dialog).to_be_hidden()
        assert page.evaluate(kept.format("localStorage")) and not page.evaluate(kept.format("sessionStorage"))
        page.get_by_role("button", name="API key").click()
        page.get_by_role("button", name="Forget").click()
        expect(dialog).to_be_visible()  # asked for again
        assert not page.evaluate(kept.format("localStorage"))
        page.keyboard.press("Escape")
        expect(page.get_by_role("alert").filter(has_text="The server asks for an API key.")).to_be_visible()


def test_refusals_in_words(chromium, start):
    server = start("--max-queue", "1", "--max-body", "10KB")
    running = server.ask("POST", "/v1/jobs", LONG).json
    with visit(chromium, server.port, allowed="429|413") as one:
        page = one.open()
        page.wait_for_selector('.card[data-state="running"]')
        server.ask("POST", "/v1/jobs", {"prompt": "the one place", **SMALL})
        page.get_by_label("What should it show?").fill("a fox")
        free_size(page, 64)
        page.get_by_role("button", name="Draw", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Too much at once: .* Try again in \d+ s\."))
        noise = base64.b64encode(png(2, 2) + os.urandom(9_800)).decode()
        drop(page, [["noise.png", "image/png", noise]])
        page.get_by_role("button", name="Draw", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("That is more than the server takes: the body has")
        drop(page, [["more.png", "image/png", noise]])
        page.get_by_role("button", name="Draw", exact=True).click()
        expect(page.get_by_role("alert")).to_have_text("The pictures have 20 kB together; the server takes 10 kB.")
    server.ask("POST", f"/v1/jobs/{running['id']}/cancel")


def test_comes_back_after_a_lost_connection(chromium, server):
    line = Line(server.port)
    job = server.ask("POST", "/v1/jobs", {"prompt": "one of many", "size": "256x256", "num_inference_steps": 100, "n": 10,
                                          "partial_images": 3}).json
    try:
        with visit(chromium, line.port, allowed="Failed to load|ERR_") as one:
            page = one.open()
            card = page.locator(f'.card[data-job="{job["id"]}"]')
            expect(card.locator("li")).not_to_have_count(0)
            line.break_off()
            expect(card).to_contain_text("The connection was lost; trying again")
            line.asked.clear()
            line.mend()
            expect(card).not_to_contain_text("trying again")
            asked = b"".join(line.asked).lower()
            assert re.search(rb"last-event-id: [1-9]\d*\.\d+\.\d+", asked), asked
            expect(card.locator("li")).not_to_have_count(1)
            server.ask("POST", f"/v1/jobs/{job['id']}/cancel")
            expect(card).to_have_attribute("data-state", "cancelled")
    finally:
        line.close()


def test_under_a_folder_of_a_proxy(at, server):
    asked = []

    def forward(route):
        asked.append(route.request.url)
        route.fulfill(response=route.fetch(url=route.request.url.replace("/tools/draw/", "/")))
    at.context.route("**/*", forward)
    page = at.page
    page.goto(f"{at.origin}/tools/draw/")
    page.wait_for_selector("#shapes input")
    page.get_by_label("What should it show?").fill("far away")
    free_size(page, 64)
    page.get_by_role("button", name="Draw", exact=True).click()
    image = page.locator(DONE).locator("img").first
    expect(image).to_be_visible()
    assert image.evaluate("(e) => e.decode().then(() => e.naturalWidth)") == 64
    page.locator(DONE).get_by_role("link", name="Picture").click()
    expect(page.get_by_role("heading", name="far away")).to_be_visible()
    assert len(asked) > 20 and all("/tools/draw/" in url for url in asked), asked
