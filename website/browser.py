"""A server of an index and a browser without a window, for pictures. Needs Chromium, its driver, and selenium."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAIT_S = 300.0
ALL_POSTERS = """
const posters = [...document.querySelectorAll('#hits img')].slice(0, 12);
return posters.length > 0 && posters.every((poster) => poster.complete && poster.naturalWidth > 0);
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
    """A browser whose page has this size in pixels."""
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
    """Until the page has such an element. Raises AssertionError with the page's message."""
    end_s = time.monotonic() + WAIT_S
    while not driver.find_elements("css selector", selector):
        assert time.monotonic() < end_s, f"{selector}: {driver.find_element('css selector', '#alert').text}"
        time.sleep(0.2)


def search_for(driver: Any, address: str, query: Path) -> None:
    """Give the page a video as example, and wait for its hits and their pictures."""
    driver.get(address)
    wait_for(driver, "#map[data-draw-ms]")
    driver.find_element("css selector", "#file").send_keys(str(query.resolve()))
    wait_for(driver, "#hits li")
    end_s = time.monotonic() + WAIT_S
    while not driver.execute_script(ALL_POSTERS):
        assert time.monotonic() < end_s, "the pictures of the hits did not come"
        time.sleep(0.5)
