"""Takes the README's picture of a report: `python -m docs.screenshot runs/digits/report.html`."""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parent / "images" / "report.png"
WIDTH, HEIGHT = 1000, 1000
# A page of few colours needs no more.
COLOURS = 64


def main() -> None:
    """Opens the report in Chromium and keeps what its first screen shows."""
    parser = argparse.ArgumentParser(prog="python -m docs.screenshot", description=__doc__)
    parser.add_argument("report", type=Path, help="the report.html of a finished run")
    report = parser.parse_args().report.resolve()
    browser = shutil.which("chromium")
    if browser is None or not report.is_file():
        raise SystemExit("It needs chromium, and a report that is there.")
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "report.png"
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={taken}", report.as_uri()),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        with Image.open(taken) as picture:
            small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            small.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
