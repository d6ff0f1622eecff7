"""The pictures of the tutorial: a run's report, and the page over its index, as a browser shows them.

    python website/pictures.py NAME.unreel VIDEO OUT

NAME.unreel is what `unreel explore` made, VIDEO the example of the search. Needs chromium and selenium (the extra dev).
"""

import base64
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

SIZE = (1280, 900)
PORT = 8799
PAGE = f"http://127.0.0.1:{PORT}/"
ALL_POSTERS = """
const posters = [...document.querySelectorAll('#hits img')].slice(0, 12);
return posters.length > 0 && posters.every((poster) => poster.complete && poster.naturalWidth > 0);
"""


def open_browser(size: tuple[int, int] = SIZE) -> webdriver.Chrome:
    """A browser without a window, whose page has this size."""
    options = webdriver.ChromeOptions()
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return browser


def wait_for_page(server: "subprocess.Popen[bytes]", limit_s: float = 120) -> None:
    """Raises SystemExit where the server ends, or does not answer in time."""
    until = time.monotonic() + limit_s
    while server.poll() is None and time.monotonic() < until:
        try:
            urlopen(PAGE, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("unreel serve does not answer")


def search_for(browser: webdriver.Chrome, video: Path) -> None:
    """Give the page an example, and wait for its hits and their pictures."""
    browser.get(PAGE)
    browser.find_element("css selector", "#file").send_keys(str(video.resolve()))
    until = time.monotonic() + 120
    while not browser.execute_script(ALL_POSTERS) and time.monotonic() < until:
        time.sleep(0.5)


def save_picture(browser: webdriver.Chrome, path: Path) -> None:
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "jpeg", "quality": 85})
    path.write_bytes(base64.b64decode(shot["data"]))


def main(explored: Path, video: Path, out: Path) -> None:
    browser = open_browser()
    command = [sys.executable, "-m", "unreel", "serve", str(explored / "index"), "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        browser.get((explored / "run" / "report.html").resolve().as_uri())
        save_picture(browser, out / "tutorial-report.jpg")
        wait_for_page(server)
        search_for(browser, video)
        save_picture(browser, out / "tutorial-page.jpg")
    finally:
        browser.quit()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
