"""Pictures of the page of `unreel serve` for the documentation: after a query and three marks.

    unreel index base WEIZMANN --out index
    python website/page_pictures.py index WEIZMANN/bend/daria_bend.mp4 docs --yes bend --no wave1

writes docs/search.png (1280 pixels wide) and docs/search-phone.png (390).
"""

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
from browser import open_browser, search_for, serve, wait_for

SETTLE_S = 2.0
SIZES = {"search.png": (1280, 1180), "search-phone.png": (390, 844)}
# The first two moments whose path holds the one word are marked yes, the first with the other word no.
MARK = """
const items = [...document.querySelectorAll('#hits li')], [yes, no] = arguments;
const mark = (item, kind) => item.querySelector(`[data-mark=${kind}]`).click();
items.filter(item => item.hit.name.includes(yes)).slice(0, 2).forEach(item => mark(item, "yes"));
mark(items.find(item => item.hit.name.includes(no)), "no");
"""


def take_picture(driver: Any, address: str, query: Path, words: tuple[str, str], path: Path) -> None:
    """Query, three marks, and what they did."""
    search_for(driver, address, query)
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
