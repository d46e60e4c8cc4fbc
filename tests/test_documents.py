"""Every code block of README.md and docs/*.md runs, in the order of the page, as a reader would.

A ``text`` block that follows a block is what it prints. ``WRITE_OUTPUTS=1`` writes what it prints
now into the page.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import command_page
import conventions_page
import development_page
import feat
import numpy as np
import old_scripts_page
import pandas as pd
import pytest
import results_page
from command import feat_pose
from documents import DATA, PAGES, ROOT, RUN, blocks, says, with_outputs
from feat.face_detectors.Retinaface.Retinaface_test import Retinaface
from feat_models import WARNINGS_OF_FEAT

from feat_pose_plugin import Detectorv1, estimate_pose, uninstall
from feat_pose_plugin.pose import registry

INPUTS = {
    "clip.csv": "001.csv",
    "clip.mp4": "single_face.mp4",
    "openface.csv": "OpenFace_Test.csv",
    "photo.jpg": "single_face.jpg",
    "single_face.jpg": "single_face.jpg",
    "study/001.csv": "001.csv",
    "study/002.csv": "002.csv",
}
"""What a page may take for its reader's own, and which file of py-feat's stands for it here."""

MOST_NOT_RUN = 18

ANGLES = ["Pitch", "Roll", "Yaw"]


def _check(page: str, names: dict[str, object], output: str) -> None:
    """What must have come out, besides that nothing failed and outputs are those of the page."""
    if page == "cluster.md":
        clip = pd.read_csv("clip.csv")
        yaw = estimate_pose(clip, convention="300w-lp")["Yaw"].mean()
        assert float(output.split()[0]) == pytest.approx(yaw, abs=1e-4)
        assert len(pd.read_parquet("poses")) == len(clip)
    elif page == "conventions.md":
        assert "pose_Tz" in names["metric"]
        assert Path("openface_feat.csv").is_file()
    elif page == "onnx.md":
        pose = estimate_pose(pd.read_csv("clip.csv"), landmark_model="2d")
        np.testing.assert_allclose(np.deg2rad(names["degrees"]), pose[ANGLES], atol=1e-5)
    elif page == "py-feat.md":
        assert names["degrees"].notna().all(axis=None)
        np.testing.assert_allclose(names["again"][ANGLES], names["fex"][ANGLES], atol=1e-5)
        assert feat.Detectorv1 is not Detectorv1  # uninstalled
        assert len(pd.read_csv("detected.csv")) == 3
    elif page == "write-a-backend.md":
        assert output.split()[:6] == [*ANGLES, "X", "Y", "Z"]


@pytest.fixture
def known_faces(hub, monkeypatch):
    """py-feat's detectors with random weights, and a face in each frame."""
    monkeypatch.setattr(
        Retinaface, "forward", lambda self, frames: [[[200.0, 90, 330, 260, 0.9]]] * len(frames)
    )


def run(page: str, printed: Callable[[], str]) -> tuple[dict[str, object], str]:
    """Run the blocks of a page; returns what its Python has defined, and all that they printed."""
    names: dict[str, object] = {"__name__": "__main__"}
    output = last = ""
    outputs = {}
    for block in blocks(page):
        where = f"{page}, line {block.line}"
        if block.language == "text" and block.shows_output:
            outputs[block.line] = last
            if not os.environ.get("WRITE_OUTPUTS"):
                assert says(block.code, last), f"{where}: it printed\n{last}\nnot\n{block.code}"
        if block.not_run is not None or block.language not in RUN:
            continue
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, PAGES[page], "exec"), names)
        else:
            for line in block.code.replace("\\\n", "").splitlines():
                run_line(line, where)
        last = printed()
        output += last
    if os.environ.get("WRITE_OUTPUTS"):
        PAGES[page].write_text(with_outputs(page, outputs), encoding="utf-8")
    return names, output


def run_line(line: str, where: str) -> None:
    """A line for the shell; our own command runs in this process, where torch is imported."""
    if not line.startswith("feat-pose "):
        command = ["bash", "-euo", "pipefail", "-c", line]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(done.stdout, end="")
        return
    words = shlex.split(line, comments=True)[1:]
    arguments = []
    for word in words:
        arguments += sorted(map(str, Path().glob(word))) if "*" in word else [word]
    result = feat_pose(*arguments)
    assert result.exit_code == 0, f"{where}: {line}: {result.output}"
    print(result.stdout, end="")


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=WARNINGS_OF_FEAT, id=page) for page in PAGES]
)
@pytest.mark.filterwarnings(
    "ignore:(au_model|facepose_model)=.* became:FutureWarning",  # what old-scripts.md is about
    "ignore:face_model='retinaface' does not",
    "ignore:most of the landmarks",  # of networks with random weights
)
def test_page_runs(page, request, feat_folder, tmp_path, monkeypatch, capsys):
    text = PAGES[page].read_text(encoding="utf-8")
    if re.search(r"Detector(v1|v2)?\(", "".join(block.code for block in blocks(page))):
        request.getfixturevalue("known_faces")
    for name, file in INPUTS.items():
        if re.search(rf"\b{name.partition('/')[0]}\b", text):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(feat_folder / "tests" / "data" / file, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_targets", dict(registry._targets))
    try:
        names, output = run(page, lambda: capsys.readouterr().out)
    finally:
        uninstall()
    _check(page, names, output)


def test_every_block_is_run_or_says_why_not_and_few_are_not():
    left_out = 0
    for page, path in PAGES.items():
        text, found = path.read_text(encoding="utf-8"), blocks(page)
        assert len(re.findall(r"^ *(```|~~~)", text, re.MULTILINE)) == 2 * len(found), page
        marks = re.findall(r"^<!-- not run", text, re.MULTILINE)
        assert len(marks) == sum(block.not_run is not None for block in found), page
        left_out += len(marks)
        for block in found:
            where = f"{page}, line {block.line}"
            known = block.language in (*RUN, *DATA)
            assert known or block.not_run, f"{where}: {block.language!r} cannot be run"
            if block.language == "python":
                compile(block.code, where, "exec")
    assert left_out <= MOST_NOT_RUN


def test_no_two_pages_write_one_file():
    """A reader goes from page to page in one folder, and a command replaces no file."""
    written = Counter(
        name
        for page in PAGES
        for name in {
            name.rstrip("/")
            for block in blocks(page)
            if block.language == "bash" and block.not_run is None
            for name in re.findall(r"(?:-o|--picture|--summary) (\S+)", block.code)
        }
    )
    assert len(written) > 20
    assert [name for name, pages in written.items() if pages > 1] == []


def test_links_of_the_readme_lead_to_files():
    text = PAGES["README.md"].read_text(encoding="utf-8")  # those of docs are checked by mkdocs
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    "script",
    [command_page, conventions_page, development_page, old_scripts_page, results_page],
    ids=lambda script: script.__name__,
)
def test_what_a_script_writes_into_a_page_is_fresh(script) -> None:
    assert script.PART.read() == script.text(), f"run python tests/pages/{script.__name__}.py"
