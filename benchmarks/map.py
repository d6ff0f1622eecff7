"""Milliseconds that the page's map takes to draw all its points, in a real Chromium without a GPU.

    python benchmarks/map.py FAKE [--drawings 60]

FAKE is an index made by `benchmarks/serve.py`; the page shows at most 100,000 of its rows. The map is zoomed in and
out; each drawing is of all points and timed by the page itself.
"""

import dataclasses
import shutil
import time
from pathlib import Path

import numpy as np
import tyro
from selenium import webdriver
from serve import run_server

DRAWN = "return Number(document.querySelector('#map').dataset.drawMs)"


@dataclasses.dataclass
class Args:
    """What to open, and how often it is drawn."""

    fake: tyro.conf.Positional[Path]
    drawings: int = 60
    width: int = 1320
    height: int = 900


def main(args: Args) -> None:
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={args.width},{args.height}"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    service = webdriver.ChromeService(shutil.which("chromedriver"))  # without a path selenium searches the network
    with run_server(args.fake) as address, webdriver.Chrome(options, service) as driver:
        driver.get(f"http://{address}/")
        while not driver.execute_script("return document.querySelector('#map').dataset.drawMs"):
            time.sleep(0.2)
        canvas = driver.execute_script("const c = document.querySelector('#map'); return [c.width, c.height]")
        draw_ms = []
        for n in range(args.drawings):
            button = "zoom-in" if n % 10 < 5 else "zoom-out"
            driver.execute_script(f"document.getElementById('{button}').click()")
            time.sleep(0.1)  # wait for the drawing
            draw_ms.append(driver.execute_script(DRAWN))
        label = driver.execute_script("return document.querySelector('#map').ariaLabel")
    p50, p95 = np.percentile(draw_ms, (50, 95))
    print(f"{label.partition(', coloured')[0]} on {canvas[0]} x {canvas[1]} pixels, {args.drawings} drawings:")
    print(f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, slowest {max(draw_ms):.1f} ms")


if __name__ == "__main__":
    main(tyro.cli(Args))
