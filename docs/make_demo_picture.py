"""Write the picture of the README: the viewer with the scene of `zipmap demo`.

    python docs/make_demo_picture.py

The script runs the demo in a temporary folder, opens its page in headless Chromium from a fixed
viewpoint and stores the screenshot as `docs/images/demo.png`. It needs Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parent / "images" / "demo.png"
WIDTH, HEIGHT = 1280, 720
MAX_BYTES = 400_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
    f"--window-size={WIDTH},{HEIGHT}",
    "--virtual-time-budget=10000",
)
VIEWPOINT = """
<style>header, #panel { display: none !important; }</style>
<script>{
  const viewer = window.zipmapViewer;
  viewer.setConfidence(30);
  viewer.orbit.turn(0.42, 0.24);
  viewer.orbit.zoom(1.2);
  viewer.orbit.pan(-0.03, 0.03, innerWidth / innerHeight);
  viewer.setSize(1.4);
}</script>
</body>
"""


def find_browser() -> str:
    """Return the first Chromium on the PATH."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    sys.exit(f"a screenshot needs one of {', '.join(BROWSERS)} on the PATH: install Chromium")


def run_demo(folder: Path) -> Path:
    """Run `zipmap demo` and return its page."""
    command = [sys.executable, "-m", "zipmap_jax.cli.main", "demo", "-o", str(folder)]
    subprocess.run(command, check=True)
    return folder / "scene.html"


def take_screenshot(browser: str, page: Path, picture: Path) -> None:
    """Open `page` from the fixed viewpoint and write the screenshot to `picture`."""
    posed = page.with_name("posed.html")
    posed.write_text(page.read_text("utf-8").replace("</body>", VIEWPOINT), "utf-8")
    command = [browser, *CHROMIUM_FLAGS, f"--screenshot={picture}", posed.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def write_palette_png(screenshot: Path, picture: Path) -> None:
    """Store the screenshot with 256 colours, which halves the size of the file."""
    image = Image.open(screenshot).convert("RGB")
    # Maximum coverage preserves the colours of the few pixels of the camera frusta.
    colours = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    colours.save(picture, optimize=True)
    if picture.stat().st_size > MAX_BYTES:
        sys.exit(f"{picture} has {picture.stat().st_size} bytes, more than {MAX_BYTES}")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=PICTURE, help="default: %(default)s")
    out: Path = parser.parse_args().out
    browser = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        page = run_demo(Path(folder) / "demo")
        screenshot = Path(folder) / "screenshot.png"
        take_screenshot(browser, page, screenshot)
        write_palette_png(screenshot, out)
    print(out)


if __name__ == "__main__":
    main()
