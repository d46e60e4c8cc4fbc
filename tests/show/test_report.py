"""The page about a table, in a real browser without a network."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import feat_pose, refused
from playwright.sync_api import Browser, Page, sync_playwright

from feat_pose_plugin import estimate_pose
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import ConventionError, PictureError, TableError
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import load_checkpoint
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.pose.quality import QUALITY_COLUMNS, is_flagged
from feat_pose_plugin.pose.tag import read_tag
from feat_pose_plugin.show.poses import in_feat, read_posed
from feat_pose_plugin.show.report import write_report

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
)
HOSTILE = "<img src=x onerror=alert(1)> & $\\frac{\"'.parquet"

DOCS = Path(__file__).parents[2] / "docs" / "report.md"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    path = next(filter(None, found), None)
    if path is None and "CI" not in os.environ:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page and closes it; whatever it complains of or asks for is an error."""
    pages, said, asked = [], [], []

    def open_page(path: Path, width: int = 1200) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900})
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri(), wait_until="load")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in asked) == len(pages)


@pytest.fixture(scope="module")
def faces() -> pd.DataFrame:
    """Frames of a real video with quality; some have no face, one is spoilt."""
    table = pd.read_csv(find_demo_tables()[0])
    table = table[landmark_columns()].copy().assign(frame=np.arange(len(table)))
    table.loc[5:8, "x_3"] = np.nan
    table.loc[20, "y_8"] += 400
    return posed(table, frame_size=(1080, 1920))


def posed(table: pd.DataFrame, **options: object) -> pd.DataFrame:
    """A table with its pose and quality, tagged."""
    pose = estimate_pose(table, quality=True, **options)
    both = pd.concat([table, pose], axis=1)
    both.attrs = pose.attrs
    return both


@pytest.fixture
def report(tmp_path: Path, open_page: Open) -> Open:
    """Writes the report of a table, and opens it."""

    def report(rows: pd.DataFrame, width: int = 1200, name="clip.parquet", **options) -> Page:
        rows.to_parquet(tmp_path / name)
        write_report(tmp_path / name, tmp_path / "report.html", **options)
        page = open_page(tmp_path / "report.html", width)
        widths = page.evaluate("[...document.images].map(i => i.complete ? i.naturalWidth : 0)")
        assert len(widths) >= 3
        assert min(widths) > 100
        return page

    return report


def counts(page: Page) -> dict[str, str]:
    return {
        counter.get_attribute("data-count") or "": counter.inner_text()
        for counter in page.locator("[data-count]").all()
    }


def pictures(page: Page) -> list[str]:
    return [image.get_attribute("src") for image in page.locator(".wide img").all()]


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.replace("\N{MINUS SIGN}", "-")) for cell in cells]


@pytest.mark.parametrize("width", [1200, 400])
def test_a_page_shows_what_the_table_says(faces, report, width):
    page = report(faces, width)
    flagged = int(faces["PoseFlags"].fillna("").ne("").sum())
    assert flagged > 0
    assert counts(page) == {
        "rows": "40",
        "with a pose": "36",
        "without a pose": "4",
        "flagged": str(flagged),
    }
    first, *others = page.locator(".doubts li").all()
    assert first.inner_text().startswith("frame 20")
    assert f"residual {faces['PoseResidual'].max():.3f}" in first.inner_text()
    assert f"yaw {np.rad2deg(faces['Yaw'][20]):.1f}" in first.inner_text().replace(
        "\N{MINUS SIGN}", "-"
    )
    assert len(others) == 11
    pitch = np.rad2deg(faces["Pitch"])
    cells = page.locator("tr", has_text="Pitch").locator("td").all_inner_texts()
    assert cells[:3] == ["40", "36", str(flagged)]
    quantiles = pitch.quantile([0, 0.05, 0.5, 0.95, 1])
    expected = [pitch.mean(), pitch.std(), *quantiles]
    assert numbers(cells[4:]) == pytest.approx(expected, abs=0.051)
    text = page.inner_text("body")
    assert "line of sight" in text
    assert "not known: no feat-pose.jsonl beside the table" in text
    # Nothing is cut off at the side.
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_run_says_which_weights_and_options_until_the_table_is_changed(out, open_page):
    options = ["--convention", "300w-lp", "--height", "480", "--width", "640"]
    options += ["--principal-point", "300", "250", "--landmark-model", "3d"]
    assert feat_pose("estimate", find_demo_tables()[0], "-o", out, *options).exit_code == 0
    table, page = out / "001.csv", out / "report.html"
    assert feat_pose("report", table, "-o", page).stdout == f"wrote {page}\n"
    text = open_page(page).inner_text("body")
    weights = load_checkpoint(BUNDLED / "pose_mlp_synth_3d.safetensors").sha256
    said = (weights, "pose_mlp_synth", "300w-lp in the table", "principal point: 300.0, 250.0")
    assert [part for part in said if part not in text] == []
    table.write_text(table.read_text(encoding="utf-8").replace("0.1", "0.2"), encoding="utf-8")
    write_report(table, page, convention="300w-lp")
    text = page.read_text(encoding="utf-8")
    assert "pose_mlp_synth" not in text
    assert "assumed" not in text


def test_each_person_has_a_line_of_figures(faces, report):
    rows = faces.assign(Identity=["a", "b"] * 20)
    page = report(rows)
    lines = [row.inner_text().split("\t") for row in page.locator("tr", has_text="Pitch").all()]
    flagged = is_flagged(rows["PoseFlags"])
    assert [line[:4] for line in lines] == [
        ["all", "40", "36", str(flagged.sum())],
        ["a", "20", "18", str(flagged[::2].sum())],
        ["b", "20", "18", str(flagged[1::2].sum())],
    ]
    assert flagged[::2].sum() != flagged[1::2].sum()
    mean = np.rad2deg(rows.loc[rows["Identity"] == "b", "Pitch"].mean())
    assert numbers(lines[2][5:6]) == pytest.approx([mean], abs=0.051)
    in_seconds = report(rows, fps=25)
    assert pictures(page)[:-1] == pictures(in_seconds)[:-1]
    assert pictures(page)[-1] != pictures(in_seconds)[-1]


@pytest.mark.parametrize(("convention", "unit"), [("feat-mp", "px"), ("feat", "mm")])
def test_millimetres_are_said_only_of_what_is_in_them(convention, unit, out):
    options = f"--convention {convention} --inter-ocular-mm 90 --height 720 --width 1280"
    result = feat_pose("estimate", find_demo_tables()[0], "-o", out, *options.split())
    assert result.exit_code == 0
    rows, _ = read_posed(out / "001.csv")
    assert read_tag(in_feat(rows)).translation_unit == unit


def test_the_page_has_the_headings_that_the_docs_describe(faces, report):
    described = re.findall(r"^\| ([A-Z][^|]*?) \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert report(faces).locator("h2").all_inner_texts() == described


def test_names_and_cells_are_text_and_nothing_else(faces, report):
    evil = "<script>alert(2)</script> $\\foo{$"
    rows = faces.assign(Identity=evil, input=evil, PoseFlags=evil)
    rows.loc[:15, "Identity"] = "b"
    rows.loc[:10, "input"] = "b"
    page = report(rows, name=HOSTILE)
    assert page.title() == page.inner_text("h1") == f"Head pose: {HOSTILE}"
    assert page.locator("script").count() == 0
    assert page.locator("h3").all_inner_texts() == ["b", evil]
    assert len({*pictures(page)}) == 4  # the time lines of each file
    assert evil in page.locator(".doubts").inner_text()


def test_a_table_without_quality_or_tag_says_so(faces, report):
    rows = faces.drop(columns=QUALITY_COLUMNS)
    rows.attrs = {}
    page = report(rows)
    assert counts(page)["flagged"] == "not known"
    assert page.locator(".doubts").count() == 0
    text = page.inner_text("body")
    assert text.count("--quality") == 2
    assert "assumed" in text


@pytest.mark.parametrize("rows", [4, 0])
def test_a_table_without_a_pose_has_a_page_too(faces, report, rows):
    said = counts(report(faces.iloc[5 : 5 + rows]))
    assert (said["with a pose"], said["rows"]) == ("0", str(rows))


def test_flags_alone_are_listed(faces, report):
    rows = faces.drop(columns="PoseResidual").assign(PoseFlags="")
    rows.loc[[3, 30], "PoseFlags"] = ["yaw;eyes", "yaw"]
    page = report(rows)
    first, second = page.locator(".doubts li").all_inner_texts()
    assert first.startswith("frame 3 row 3\n")
    assert "flags: yaw, eyes" in first
    assert second.startswith("frame 30")
    assert [row.split("\t")[:2] for row in page.locator("tr").all_inner_texts()[1:3]] == [
        ["yaw", "2"],
        ["eyes", "1"],
    ]


def test_frames_of_the_video_are_shown(shared_data, feat_folder, report):
    rows = posed(pd.read_csv(shared_data / "video_face_noface.csv")).copy()
    video = feat_folder / "tests" / "data" / "face_noface.mov"
    page = report(rows, name="video_face_noface.parquet", video=video)
    assert page.locator(".doubts img").count() == 12
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
    others = rows.assign(input="other.mov", frame=rows["frame"] + 5000)
    both = pd.concat([others, rows.assign(input=video.name)], ignore_index=True)
    both.attrs = rows.attrs
    with_others = report(both, name="both.parquet", video=video)
    frames, frames_of_both = (
        [doubt.inner_text().split()[:2] for doubt in each.locator(".doubts li").all()]
        for each in (page, with_others)
    )
    assert frames_of_both == frames
    with pytest.raises(PictureError, match="another video"):
        report(rows.assign(frame=rows["frame"] + 1000), video=video)


def test_what_cannot_be_is_refused(faces, tmp_path):
    table, page = tmp_path / "clip.parquet", tmp_path / "report.html"
    faces.to_parquet(table)
    with pytest.raises(ConventionError, match="'feat', as they say"):
        write_report(table, page, convention="openface")
    with pytest.raises(TableError, match="does not exist"):
        write_report(tmp_path / "nothing.csv", page)
    with pytest.raises(TableError, match="could not be written"):
        write_report(table, tmp_path / "nowhere" / "report.html")
    assert not page.exists()
    refused(feat_pose("report", table, "-o", table), 2, "is the input itself", "--force")
