"""The pictures of the tutorial: a run's report, and the page over its index, as a browser shows them.

    python website/tutorial_pictures.py NAME.unreel VIDEO OUT

NAME.unreel is what `unreel explore` made, VIDEO the example of the search.
"""

import base64
import sys
from pathlib import Path
from typing import Any

from browser import open_browser, search_for, serve

SIZE = (1280, 900)


def save_picture(driver: Any, path: Path) -> None:
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "jpeg", "quality": 85})
    path.write_bytes(base64.b64decode(shot["data"]))


def main(explored: Path, video: Path, out: Path) -> None:
    with serve(explored / "index") as address, open_browser(*SIZE) as driver:
        driver.get((explored / "run" / "report.html").resolve().as_uri())
        save_picture(driver, out / "tutorial-report.jpg")
        search_for(driver, address, video)
        save_picture(driver, out / "tutorial-page.jpg")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
