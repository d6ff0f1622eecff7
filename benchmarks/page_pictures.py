"""Pictures of the page of `unreel serve` for the documentation: after a query and three marks.

    unreel index base shared/data/weizmann --out index
    python benchmarks/page_pictures.py index shared/data/weizmann/bend/daria_bend.mp4 docs --yes bend --no walk

writes docs/search.png (1280 pixels wide) and docs/search-phone.png (390). Needs Chromium, its driver, and selenium.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

WAIT_S, SETTLE_S = 300.0, 2.0
SIZES = {"search.png": (1280, 1180), "search-phone.png": (390, 844)}
# The first two moments whose path holds the one word are marked yes, the first with the other word no.
MARK = """
const items = [...document.querySelectorAll('#hits li')], [yes, no] = arguments;
const mark = (item, kind) => item.querySelector(`[data-mark=${kind}]`).click();
items.filter(item => item.hit.name.includes(yes)).slice(0, 2).forEach(item => mark(item, "yes"));
mark(items.find(item => item.hit.name.includes(no)), "no");
"""


@contextmanager
def serve(index: Path) -> Iterator[str]:
    """The address of a server of the index, which ends with the block."""
    command = [sys.executable, "-m", "unreel", "serve", str(index), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found, "the server did not start"
            yield found[0]
        finally:
            server.terminate()


@contextmanager
def open_browser(width: int, height: int) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))  # else selenium asks the network for one
    try:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield driver
    finally:
        driver.quit()


def wait_for(driver: Any, selector: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not driver.find_elements("css selector", selector):
        assert time.monotonic() < end_s, f"{selector}: {driver.find_element('css selector', '#alert').text}"
        time.sleep(0.2)


def take_picture(driver: Any, address: str, query: Path, words: tuple[str, str], path: Path) -> None:
    """Query, three marks, and what they did."""
    driver.get(address)
    wait_for(driver, "#map[data-draw-ms]")
    driver.find_element("css selector", "#file").send_keys(str(query.resolve()))
    wait_for(driver, "#hits li")
    driver.execute_script(MARK, *words)
    wait_for(driver, "#next-clips li")
    driver.execute_script("document.activeElement.blur(); document.querySelector('#rank').click()")
    time.sleep(SETTLE_S)
    driver.execute_script("scrollTo(0, innerWidth < 600 ? document.querySelector('#results').offsetTop - 12 : 0)")
    time.sleep(SETTLE_S)
    driver.save_screenshot(str(path))
    cv2.imwrite(str(path), cv2.imread(str(path)), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("query", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--yes", default="", help="mark two moments yes whose name holds this")
    parser.add_argument("--no", default="", help="mark one no whose name holds this")
    args = parser.parse_args()
    with serve(args.index) as address:
        for name, size in SIZES.items():
            with open_browser(*size) as driver:
                take_picture(driver, address, args.query, (args.yes, args.no), args.out / name)


if __name__ == "__main__":
    main()
