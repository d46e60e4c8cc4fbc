"""The pictures of docs/gallery.md and README.md, drawn by the lines of these pages.

Run it from the root of the repository, beside which the measured data lie, with Chromium for the
report: ``python tests/pages/gallery_pictures.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import feat
import pandas as pd
from documents import PAGES, ROOT, blocks
from PIL import Image

from feat_pose_plugin import estimate_pose
from feat_pose_plugin.show.overlay import overlay_picture

DOCS = ROOT / "docs"
PHOTOGRAPH = Path(feat.__file__).parent / "tests" / "data" / "multi_face.jpg"
LANDMARKS = ROOT.parent / "shared" / "data" / "image_faces.csv"
WIDTH = 900
HEADS = (180, 10, 860, 470)  # the part of the photograph with the faces


def run_gallery() -> None:
    """Run the page in the folder that is open."""
    for block in blocks("gallery.md"):
        if block.not_run is None and block.language in ("bash", "python"):
            shell = [sys.executable, "-c"] if block.language == "python" else ["bash", "-ec"]
            subprocess.run([*shell, block.code], check=True)


def photograph_report() -> None:
    """The top of report.html as a browser shows it."""
    options = ["--headless", "--no-sandbox", "--screenshot=report.jpg", "--window-size=1000,900"]
    subprocess.run(["chromium", *options, "report.html"], check=True)


def draw_photograph(picture: Path) -> None:
    """Heads on the photograph of five people, from landmarks measured on it."""
    faces = pd.read_csv(LANDMARKS)
    faces = faces[faces["input"] == PHOTOGRAPH.name].drop(columns=["rx", "ry", "rz"])
    posed = pd.concat([faces, estimate_pose(faces, landmark_model="3d")], axis=1)
    overlay_picture(PHOTOGRAPH, posed.reset_index(drop=True), picture, convention="feat")


def shrink(picture: Path, target: Path) -> None:
    """The picture at the width of a page, in few bytes."""
    with Image.open(picture) as image:
        image = image.convert("RGB")
        image.thumbnail((WIDTH, 2 * WIDTH))
        if target.suffix == ".png":
            image = image.quantize(64, dither=Image.Dither.NONE)
        image.save(target, optimize=True, quality=80)


if __name__ == "__main__":
    names = re.findall(r"\(gallery-([\w.]+)\)", PAGES["gallery.md"].read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run_gallery()
        photograph_report()
        for name in names:
            shrink(Path(name), DOCS / f"gallery-{name}")
        draw_photograph(Path("heads-photograph.png"))
        with Image.open("heads-photograph.png") as image:
            image.crop(HEADS).save("heads-photograph.png")
        shrink(Path("heads-photograph.png"), DOCS / "heads-photograph.jpg")
