"""The picture of a run's report in the README, after `make demo`.

python website/report_picture.py demo/explored/run docs/report.jpg
"""

import sys
from pathlib import Path

from browser import open_browser
from tutorial_pictures import save_picture

SIZE = (880, 1298)


def main(run: Path, picture: Path) -> None:
    with open_browser(*SIZE) as driver:
        driver.get((run / "report.html").resolve().as_uri())
        save_picture(driver, picture)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
