"""The page in a real Chromium: query, play, mark, lasso, export, keys, phone width, and nothing leaves the machine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import succeeds
from serving import make_corpus

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
WAIT_S = 60.0


class Page:
    """A browser on the page of a server that runs as its own process."""

    def __init__(self, driver: Any, address: str, downloads: Path) -> None:
        self.driver, self.address, self.downloads = driver, address, downloads

    def js(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def until(self, test: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + WAIT_S
        while not (found := test()):
            assert time.monotonic() < end, f"{what}: {self.one('#alert').text} {self.one('#said').text}"
            time.sleep(0.05)
        return found

    def fresh(self) -> None:
        """As if nobody had been here."""
        self.js("try { sessionStorage.clear() } catch {}")
        self.driver.get(self.address)
        self.until(lambda: self.js("return document.querySelector('#map').dataset.drawMs"), "the map is drawn")

    def cards(self) -> list[str]:
        return list(self.js("return [...document.querySelectorAll('#hits li')].map(li => li.ariaLabel)"))

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def lasso(self) -> None:
        """Around all points, by a pointer that is dragged."""
        from selenium.webdriver import ActionChains

        canvas = self.one("#map")
        self.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
        w, h = canvas.size["width"] / 2 - 3, canvas.size["height"] / 2 - 3
        drag = ActionChains(self.driver, duration=10).move_to_element_with_offset(canvas, -w, -h).click_and_hold()
        for x, y in ((w, -h), (w, h), (-w, h), (-w, -h + 9)):
            drag = drag.move_to_element_with_offset(canvas, x, y)
        drag.release().perform()


@pytest.fixture(scope="module")
def page(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    corpus = make_corpus(small_run, folder)
    command = [sys.executable, "-m", "unreel", "serve", str(corpus.index), "--port", "0"]
    environment = {**os.environ, "UNREEL_CACHE": str(folder / "cache")}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    driver = None
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found
        driver = browser(folder / "downloads")
        yield Page(driver, found[0], folder / "downloads")
    finally:
        if driver is not None:
            driver.quit()
        server.terminate()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def browser(downloads: Path) -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    downloads.mkdir()
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # Every name but the server's address resolves to nothing, as on a machine without a network.
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", offline):
        options.add_argument(argument)
    options.add_argument("--window-size=1300,1000")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, Service(DRIVER))


# The first video whose path has this part.
LISTED = """
return import('/api_client.js').then(async ({ get, post }) => {
  const { id } = await get('/api/index');
  return post('/api/videos', { of: id, path: '.mp4', count: 1 });
});
"""


def query(page: Page) -> list[str]:
    """Ask with an upload and return the cards."""
    page.fresh()
    name = page.js(LISTED)["videos"][0]["name"]
    root = next(page.downloads.parent.glob(f"videos/**/{name}"))
    page.one("#file").send_keys(str(root))
    page.until(lambda: page.cards(), "hits")
    return page.cards()


# Where the preview has been; true once it went back.
WITHIN = """
const v = document.querySelector('#hits li video'), { start_s, end_s } = v.playback.moment;
window.seen ??= Object.assign([], { from: start_s, to: end_s });
seen.push(v.currentTime);
return seen.length > 3 && seen.some((s, n) => n && s < seen[n - 1] - 0.1);
"""


def test_query_then_play_from_start_to_end(page: Page) -> None:
    cards = query(page)
    assert len(cards) >= 3 and page.one("#said").text == f"{len(cards)} moments like it"
    assert page.until(lambda: page.js("return document.querySelector('#query-video').currentTime > 0"), "query plays")
    page.js("document.querySelector('#hits li').focus()")
    shown = "const v = document.querySelector('#hits li video'); return v && v.currentTime"
    page.until(lambda: (page.js(shown) or 0) > 0.2, "the preview plays")
    page.until(lambda: page.js(WITHIN), "the preview begins again at its end")
    assert page.js("return seen.every(s => s >= seen.from - 0.05 && s <= seen.to + 0.15)")
    page.press("\ue007")  # Enter
    player = "const v = document.querySelector('#player-video'); return [v.currentTime, v.paused, v.videoWidth]"
    page.until(lambda: page.js(player)[0] > 0.3, "the player plays")
    assert page.js("return document.querySelector('#player').open") and page.js(player)[2] == 64
    page.press("\ue00c")  # Escape
    page.until(lambda: not page.js("return document.querySelector('#player').open"), "closed")
    assert page.js("return document.activeElement.matches('#hits li')")


def test_a_strip_of_pictures_is_a_query(page: Page) -> None:
    page.fresh()
    strip = page.downloads / "strip.png"
    cv2.imwrite(str(strip), np.tile(np.linspace(0, 255, 256, dtype=np.uint8), (64, 1)))
    page.one("#file").send_keys(str(strip))
    page.until(lambda: page.cards(), "hits")
    assert page.one("#query-picture").is_displayed() and not page.one("#query-video").is_displayed()
    assert not page.one("#moment").is_displayed() and not page.one("#alert").is_displayed()


def test_who_wants_no_motion_gets_none(page: Page) -> None:
    reduced = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", reduced)
    try:
        query(page)
        page.js("document.querySelector('#hits li').focus()")
        time.sleep(0.5)
        assert page.js("const v = document.querySelector('#query-video'); return v.paused && v.controls")
        assert not page.all("#hits video")
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_near_duplicates_fold_and_open(page: Page) -> None:
    page.js("try { sessionStorage.clear() } catch {}")
    cards = query(page)
    page.one("#fold").click()
    page.until(lambda: page.all("#hits .alike"), "something is folded")
    folded = page.cards()
    assert len(folded) < len(cards)
    count = int(page.one("#hits .alike").text.split()[0])
    page.one("#hits .alike").click()
    assert len(page.cards()) == 1 + count and "near-duplicate" in page.one("#said").text
    page.one("#back").click()
    assert page.cards() == folded and page.js("return document.activeElement.matches('#hits li')")
    page.one("#fold").click()
    page.one("#after").send_keys("99")
    page.until(lambda: "leave no moment" in page.one("#said").text, "nothing is that late")


def test_handles_ask_for_other_seconds(page: Page) -> None:
    query(page)
    counted = "(...a) => (String(a[0]).includes('search') && asked++, f(...a))"
    page.js(f"window.asked = 0; const f = fetch; window.fetch = {counted}")
    page.one("#to").send_keys("\ue012" * 10)  # arrow left
    page.until(lambda: page.js("return asked > 0 && !document.body.classList.contains('asking')"), "asked again")
    assert page.one("#moment-said").text == "0:00.0 – 0:01.2"
    assert not page.one("#alert").is_displayed() and page.cards()


def test_a_codec_that_browsers_do_not_play(page: Page) -> None:
    page.fresh()
    page.one("#path").send_keys("old")
    page.js("[...document.querySelectorAll('#legend button')][0].click()")
    page.until(lambda: page.cards(), "hits of a cluster")
    (listed,) = page.js(LISTED.replace(".mp4", "old.avi"))["videos"]
    number = listed["video"]
    page.js(
        "return import('/video_playback.js').then(p => {"
        "const v = document.querySelector('#query-video'); v.hidden = false;"
        "return fetch('/api/index').then(r => r.json()).then(a => {"
        "p.showMoment(v, p.indexedMoment(a.id, {video: arguments[0], start_s: 0.4, end_s: 1.2}), {loop: true});"
        "p.play(v); }); })",
        number,
    )
    played = "const v = document.querySelector('#query-video'); return v.videoWidth === 96 && v.currentTime > 0.1"
    page.until(lambda: page.js(played), "the preview of an XviD plays")
    assert "/preview?" in page.js("return document.querySelector('#query-video').currentSrc")


def test_keys_move_and_mark_and_marks_rank(page: Page) -> None:
    query(page)
    page.js("document.querySelector('#hits li').focus()")
    page.press("y", "\ue014", "n")  # yes, to the right, no
    assert page.one("#marks-said").text == "1 yes, 1 no"
    marks = page.js("return [...document.querySelectorAll('#hits li')].slice(0, 3).map(li => li.dataset.mark)")
    assert marks == ["yes", "no", ""] and "marked yes" in page.cards()[0]
    page.one("#like").click()
    page.until(lambda: "like 1 example, unlike 1" in page.one("#said").text, "asked with both")
    page.driver.refresh()
    page.until(lambda: page.one("#marks-said").text == "1 yes, 1 no", "marks are there still")
    page.one("#rank").click()
    page.until(lambda: "ranked by your marks" in page.one("#said").text, "ranked")
    page.one("#concept").send_keys("turning")
    page.one("#save button").click()
    page.until(lambda: page.one("#concepts").text == "turning", "saved")
    page.one("#unmark").click()
    assert not page.one("#marks").is_displayed()
    page.one("#concepts button").click()
    page.until(lambda: page.one("#marks-said").text == "1 yes, 1 no", "the concept brings its marks")
    page.until(lambda: "the concept turning" in page.one("#said").text, "and its ranking")
    page.js("document.querySelector('#hits li[data-mark=yes]').focus()")
    page.press("n")  # another opinion, saved under the name that was opened
    assert page.one("#marks-said").text == "0 yes, 2 no"
    page.press("y")
    page.one("#save button").click()
    page.until(lambda: page.one("#said").text == "Saved as turning", "saved as it is now")
    page.js("document.querySelector('#hits li').focus()")
    page.press("u")
    page.until(lambda: "like it" in page.one("#said").text, "used as the query")
    assert page.js("return document.activeElement === document.querySelector('#hits li')")
    page.js("document.activeElement.blur()")
    page.press("/")
    assert page.js("return document.activeElement.id") == "choose"


def test_lasso_selects_and_exports(page: Page) -> None:
    page.fresh()
    count = page.js("return fetch('/api/index').then(r => r.json()).then(a => a.rows)")
    page.lasso()
    page.until(lambda: "selected" in page.one("#said").text, "selected")
    assert page.one("#map-said").text == f"{count} clips selected"
    assert len(page.cards()) == 7  # each video is one moment
    page.one("#export-csv").click()
    listed = page.until(lambda: list(page.downloads.glob("*.csv")), "the CSV")[0]
    assert listed.name == "index-map-selection.csv"
    assert len(listed.read_text().splitlines()) == 8
    page.one("#export-zip").click()
    zipped = page.until(lambda: list(page.downloads.glob("*.zip")), "the clips")[0]
    page.until(lambda: not list(page.downloads.glob("*.crdownload")), "whole")
    assert len(zipfile.ZipFile(zipped).namelist()) == 8
    for by, groups in (("label", 3), ("time", 5)):
        page.js("const c = document.querySelector('#colour'); c.value = arguments[0]; c.onchange()", by)
        assert len(page.all("#legend button")) == groups


def test_a_lasso_stays_over_zoom_search_and_layout(page: Page) -> None:
    page.fresh()
    page.lasso()
    page.until(lambda: "selected" in page.one("#said").text, "selected")
    selected = page.one("#map-said").text
    page.one("#zoom-in").click()
    page.js("document.querySelector('#start-sample').click()")
    page.until(lambda: "all over the index" in page.one("#said").text, "another search")
    for layout in ("tsne", "pca"):
        drawn = page.js("return document.querySelector('#map').dataset.layout")
        page.js("const l = document.querySelector('#layout'); l.value = arguments[0]; l.onchange()", layout)
        page.until(lambda was=drawn: page.js("return document.querySelector('#map').dataset.layout") != was, layout)
        assert page.one("#map-said").text == selected and page.one("#unselect").is_displayed()
    outline = "return Number(document.querySelector('#map').dataset.outline)"
    page.until(lambda: page.js(outline) > 3, "the outline, in the layout in which it was drawn")
    page.js("const e = document.querySelector('#export-what'); e.value = 'map'")
    before = len(list(page.downloads.glob("*.csv")))
    page.one("#export-csv").click()
    page.until(lambda: len(list(page.downloads.glob("*.csv"))) > before, "the selection as CSV")
    page.one("#unselect").click()
    page.until(lambda: page.js(outline) == 0, "no outline")
    assert not page.one("#unselect").is_displayed()


def test_names_come_where_they_are_shown(page: Page) -> None:
    """Of a point under the pointer, and of videos while somebody types a part of a path."""
    from selenium.webdriver import ActionChains

    page.fresh()
    canvas = page.one("#map")
    page.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
    where = """
    return import('/map_canvas.js').then(({ MapCanvas }) => new Promise((found) => {
      const move = MapCanvas.prototype.move;
      MapCanvas.prototype.move = function (event) {
        MapCanvas.prototype.move = move;
        const [x, y] = this.toPixel(0), { width, height } = this.canvas;
        found([(x - width / 2) / this.ratio, (y - height / 2) / this.ratio]);
      };
      document.querySelector('#map').dispatchEvent(new PointerEvent('pointermove'));
    }));
    """
    x, y = (round(at) for at in page.js(where))
    ActionChains(page.driver, duration=0).move_to_element_with_offset(canvas, x, y).perform()
    tip = page.until(lambda: page.one("#tip").is_displayed() and page.one("#tip").text, "the name")
    assert re.fullmatch(r"\S+\.(mp4|avi) at \d:\d\d\.\d", tip)
    page.one("#path").send_keys("old.avi")
    offered = "return [...document.querySelectorAll('#path-names option')].map(o => o.value)"
    page.until(lambda: page.js(offered) == ["old/old.avi"], "the video whose path has this")
    page.one("#path").clear()


TOO_MANY_LABELS = """
const fetchAll = window.fetch;
window.fetch = async (...asked) => {
  const answer = await fetchAll(...asked);
  if (!String(asked[0]).startsWith('/api/index')) return answer;
  return new Response(JSON.stringify({ ...(await answer.json()), labels: [] }));
};
"""


def test_labels_that_are_too_many_to_send_are_asked_for(page: Page) -> None:
    page.fresh()
    names = page.js("return fetch('/api/index').then(r => r.json()).then(a => a.labels)")
    script = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": TOO_MANY_LABELS})
    try:
        page.fresh()
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert page.one("#label").tag_name == "input"
    page.js("const c = document.querySelector('#colour'); c.value = 'label'; c.onchange()")
    legend = "return [...document.querySelectorAll('#legend button')].map(b => b.childNodes[1].data)"
    page.until(lambda: page.js(legend) == [name or "no label" for name in names], "names in the legend")
    page.one("#start-sample").click()
    page.until(lambda: len(page.cards()) > 3, "moments")
    label = next(filter(None, names))
    page.one("#label").send_keys(label[:-1])
    offered = "return [...document.querySelectorAll('#label-names option')].map(o => o.value)"
    page.until(lambda: label in page.js(offered), "the label is offered")
    mark(page, "yes", "no")
    page.one("#label").send_keys(label[-1])
    page.one("#rank").click()
    page.until(lambda: "ranked by your marks" in page.one("#said").text, "ranked")
    assert all(f", {label}," in card for card in page.cards()) and page.cards()


def mark(page: Page, *kinds: str) -> None:
    """The first moments, a mark each."""
    script = "document.querySelectorAll('#hits li')[arguments[0]].querySelector(`[data-mark=${arguments[1]}]`).click()"
    for number, kind in enumerate(kinds):
        page.js(script, number, kind)


def test_the_empty_page_leads_over_three_marks_to_new_footage(page: Page) -> None:
    page.fresh()
    assert page.one("#welcome").is_displayed() and not page.one("#guide").is_displayed()
    page.one("#start-sample").click()
    page.until(lambda: len(page.cards()) > 3, "moments without a query")
    assert "Three marks" in page.one("#guide-said").text and not page.one("#welcome").is_displayed()
    mark(page, "yes", "yes")
    assert "1 more mark" in page.one("#guide-said").text
    page.js("document.querySelectorAll('#hits li')[2].querySelector('[data-mark=no]').click()")
    page.until(lambda: page.all("#next-clips li"), "what is worth marking next")
    assert page.one("#guide-said").text.startswith("Your 2 yes and 1 no: first is ")  # a sample has no order
    page.js("document.querySelector('#next-clips [data-mark=no]').click()")
    page.until(lambda: page.one("#guide-said").text.startswith("Your 2 yes and 2 no: "), "each mark is told")
    page.one("#guide-rank").click()
    page.until(lambda: "ranked by your marks" in page.one("#said").text, "the ranking")
    assert not page.one("#guide-rank").is_displayed()
    page.one("#guide-use").click()
    page.one("#use-name").send_keys("Größe ändern")
    page.one("#use-save").click()
    page.until(lambda: page.one("#use-said").text == "Saved as Größe ändern.", "saved")
    index = page.downloads.parent / "index"
    page.one("#use-folder").send_keys(str(index))
    words = shlex.split(page.one("#use-apply").text)
    assert words == [
        "unreel",
        "apply",
        f"{index}/concepts/Größe ändern.json",
        str(index),
        "--csv",
        ">",
        "Größe ändern.csv",
    ]
    assert "video,start_s,end_s,probability" in succeeds(*words[1:-2]).out
    marks = shlex.split(page.one("#use-marks").text)
    succeeds(*marks[1:3], "again", *marks[4:])
    saved = [(index / "concepts" / f"{name}.csv").read_text() for name in ("Größe ändern", "again")]
    assert saved[0] == saved[1]
    page.one("#use-close").click()
    assert "Größe ändern" in page.one("#concepts").text


RANKINGS = """
const [before, after] = [arguments[0], arguments[1]].map(all => all.map(n => ({rows: [n], name: `v${n}`, start_s: n})));
const marks = {kind: hit => hit.rows[0] === 0};
return import('/walkthrough.js').then(w => w.describeChange(arguments[2] ? before : null, after, marks));
"""


def test_what_marks_do_is_said_in_words(page: Page) -> None:
    page.fresh()
    before, after = list(range(30)), [20, 40, *range(2, 20), *range(50, 60), 1, 0]
    said = page.js(RANKINGS, before, after, True)
    told = (
        "2 of the first 10 moments are new. Up: v40 at 0:40.0, from beyond 30 to 2. Down: v1 at 0:01.0, from 2 to 31."
    )
    assert said == told  # 0 is marked, and that it falls is no news
    assert page.js(RANKINGS, before, before, True) == "the same 10 moments come first."
    assert page.js(RANKINGS, before, after, False) == "first is v20 at 0:20.0."
    for word in ("plain/file-1.mp4", "it's", "ä b", "$(x)", "", "a;b"):
        quoted = page.js("return import('/walkthrough.js').then(w => w.quote(arguments[0]))", word)
        assert shlex.split(quoted) == [word]


def test_an_error_goes_away_when_it_is_mended(page: Page) -> None:
    page.fresh()
    page.one("#start-sample").click()
    page.until(lambda: page.cards(), "moments")
    mark(page, "yes")
    for name, text in (("", "give the concept a name"), ("a/b", "not a name for a concept")):
        page.js("document.querySelector('#concept').value = arguments[0]", name)
        page.one("#save button").click()
        page.until(lambda wanted=text: wanted in page.one("#alert").text, text)
        page.js("document.querySelector('#concept').value = 'mended'")
        page.one("#save button").click()
        page.until(lambda: not page.one("#alert").is_displayed(), "the message is gone")


def test_a_wrong_query_is_said(page: Page) -> None:
    page.fresh()
    wrong = page.downloads / "notes.mp4"
    wrong.write_text("no video")
    page.one("#file").send_keys(str(wrong))
    page.until(lambda: page.one("#alert").is_displayed(), "an alert")
    assert "notes.mp4: no video to search with" in page.one("#alert").text


def test_phone_width_dark_and_light(page: Page) -> None:
    query(page)
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        page.js("document.querySelector('#hits [data-mark=yes]').click()")
        long_name = "a_name_without_spaces_" * 5 + ".csv"
        for line in ("said", "map-said"):
            page.js("document.getElementById(arguments[0]).textContent = arguments[1]", line, f"{long_name} is saved")
        assert page.js("return document.documentElement.scrollWidth") == 360
        wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 361)"
        assert page.js(f"return {wide}.length") == 0
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    papers = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        papers.append(page.js("return getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(252, 252, 251)", "rgb(18, 20, 23)"]


LEGEND = """
return import('/map_panel.js').then(({MapPanel}) => {
  const groups = arguments[0].map((count, k) => ({name: `${k}`, count, colour: "red"}));
  const panel = Object.create(MapPanel.prototype), chosen = [];
  panel.map = {selectGroup: k => chosen.push(k)};
  panel.showLegend(groups, 12);
  const names = () => [...document.querySelectorAll("#legend button")].map(b => b.textContent);
  const few = names();
  document.querySelectorAll("#legend button")[11].click();
  document.querySelector("#legend-more")?.click();
  return [few, names(), chosen, document.activeElement.textContent];
});
"""


def test_of_many_groups_the_largest_dozen_is_shown_first(page: Page) -> None:
    page.fresh()
    counts = [*range(1, 18), 99, *range(18, 29)]
    few, everything, chosen, focused = page.js(LEGEND, counts)
    assert few == [*(f"{k}{counts[k]}" for k in range(17, 29)), "17 more"]
    assert chosen == [28]  # the number of the group, not of the button
    assert everything == [f"{k}{count}" for k, count in enumerate(counts)]
    assert focused == f"12{counts[12]}"  # the keys go on where they were
    assert page.js(LEGEND, [3] * 12)[0] == [f"{k}3" for k in range(12)]


DELAYS = """
const situations = arguments[0];
return import("/api_client.js").then(({ choosePollDelay }) => situations.map(choosePollDelay));
"""


def test_a_page_that_nobody_uses_hardly_asks(page: Page) -> None:
    page.fresh()
    used, unused = {"isHidden": False, "unused_ms": 10_000}, {"isHidden": False, "unused_ms": 100_000}
    hidden = {"isHidden": True, "unused_ms": 0}
    situations = [one | {"isIndexing": busy} for busy in (False, True) for one in (used, unused, hidden)]
    assert page.js(DELAYS, situations) == [4000, 60_000, 0, 4000, 4000, 0]
    page.js("document.querySelector('#missing').textContent = 'old'; performance.now = () => 1e9")
    page.press("x")  # somebody is back, long after the last question
    page.until(lambda: page.one("#missing").get_attribute("textContent") != "old", "the page asks at once")


def test_everything_has_a_name_for_a_screen_reader(page: Page) -> None:
    query(page)
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "slider", "combobox", "searchbox", "textbox", "listitem", "canvas", "image", "img"}
    shown = [n for n in nodes if not n.get("ignored") and n["role"]["value"] in roles]
    assert len(shown) > 20
    assert [n["role"]["value"] for n in shown if not n.get("name", {}).get("value", "").strip()] == []


def test_not_one_request_left_the_machine(page: Page) -> None:
    """Over everything that the tests above did; and nothing failed or was refused by the page's own policy."""
    sent = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 50
    home = (page.address, "blob:" + page.address, "data:", "chrome://", "about:")
    assert [url for url in urls if not url.startswith(home)] == []
    said = [entry["message"] for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert [text for text in said if "400 (Bad Request)" not in text and "net::ERR" not in text] == []
