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
from feat_pose_plugin.pose.quality import QUALITY_COLUMNS
from feat_pose_plugin.pose.tag import read_tag
from feat_pose_plugin.show.poses import in_feat, read_posed
from feat_pose_plugin.show.report import write_report
from feat_pose_plugin.tables.journal import JOURNAL

FLAGS = {
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
}
HOSTILE = "<img src=x onerror=alert(1)> & $\\frac{\"'.parquet"

PAGE = Path(__file__).parents[2] / "docs" / "report.md"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    path = next(filter(None, found), None)
    if path is None and "CI" not in os.environ:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=sorted(FLAGS))
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
    pose = estimate_pose(table, frame_size=(1080, 1920), quality=True)
    posed = pd.concat([table, pose], axis=1)
    posed.attrs = pose.attrs
    return posed


def counts(page: Page) -> dict[str, str]:
    return {
        counter.get_attribute("data-count") or "": counter.inner_text()
        for counter in page.locator("[data-count]").all()
    }


def check_pictures(page: Page, least: int) -> None:
    widths = page.evaluate("[...document.images].map(i => i.complete ? i.naturalWidth : 0)")
    assert len(widths) >= least
    assert min(widths) > 100


@pytest.mark.parametrize("width", [1200, 400])
def test_a_page_shows_what_the_table_says(faces, tmp_path, open_page, width):
    table = tmp_path / "clip.parquet"
    faces.to_parquet(table)
    write_report(table, tmp_path / "report.html")
    page = open_page(tmp_path / "report.html", width)
    check_pictures(page, 3)
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
    assert len(others) == 11
    pitch = np.rad2deg(faces["Pitch"])
    cells = page.locator("tr", has_text="Pitch").locator("td").all_inner_texts()
    assert cells[:3] == ["40", "36", str(flagged)]
    shown = [float(cell.replace("\N{MINUS SIGN}", "-")) for cell in cells[4:]]
    quantiles = pitch.quantile([0, 0.05, 0.5, 0.95, 1])
    assert shown == pytest.approx([pitch.mean(), pitch.std(), *quantiles], abs=0.051)
    text = page.inner_text("body")
    assert "line of sight" in text
    assert "not known: no feat-pose.jsonl beside the table" in text
    # Nothing is cut off at the side.
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_run_says_which_weights_and_options(tmp_path, open_page):
    options = ["--convention", "300w-lp", "--height", "480", "--width", "640"]
    options += ["--principal-point", "300", "250", "--landmark-model", "3d"]
    assert feat_pose("estimate", find_demo_tables()[0], "-o", tmp_path, *options).exit_code == 0
    result = feat_pose("report", tmp_path / "001.csv", "-o", tmp_path / "report.html")
    assert result.stdout == f"wrote {tmp_path / 'report.html'}\n"
    text = open_page(tmp_path / "report.html").inner_text("body")
    weights = load_checkpoint(BUNDLED / "pose_mlp_synth_3d.safetensors").sha256
    for said in (
        weights,
        "pose_mlp_synth",
        "300w-lp in the table",
        "principal point: 300.0, 250.0",
    ):
        assert said in text


def test_each_person_has_a_line_of_figures(faces, tmp_path, open_page):
    rows = faces.assign(Identity=["a", "b"] * 20)
    rows.to_parquet(tmp_path / "two.parquet")
    write_report(tmp_path / "two.parquet", tmp_path / "report.html", fps=25)
    page = open_page(tmp_path / "report.html")
    lines = [row.inner_text().split("\t") for row in page.locator("tr", has_text="Pitch").all()]
    assert [line[:3] for line in lines] == [
        ["all", "40", "36"],
        ["a", "20", "18"],
        ["b", "20", "18"],
    ]
    mean = np.rad2deg(rows.loc[rows["Identity"] == "b", "Pitch"].mean())
    assert float(lines[2][5].replace("\N{MINUS SIGN}", "-")) == pytest.approx(mean, abs=0.051)


def test_a_table_that_was_changed_is_not_what_the_manifest_lists(tmp_path):
    assert feat_pose("estimate", find_demo_tables()[0], "-o", tmp_path).exit_code == 0
    table, page = tmp_path / "001.csv", tmp_path / "report.html"
    assert (tmp_path / JOURNAL).exists()
    table.write_text(table.read_text(encoding="utf-8").replace("0.1", "0.2"), encoding="utf-8")
    write_report(table, page)
    text = page.read_text(encoding="utf-8")
    assert "assumed" in text
    assert "pose_mlp_synth" not in text
    write_report(table, page, convention="feat")
    assert "assumed" not in page.read_text(encoding="utf-8")


def test_millimetres_are_said_only_of_what_is_in_them(tmp_path):
    for convention, unit in (("feat-mp", "px"), ("feat", "mm")):
        options = ("--convention", convention, "--inter-ocular-mm", "90")
        size = ("--height", "720", "--width", "1280", "--force")
        assert feat_pose("estimate", find_demo_tables()[0], "-o", tmp_path, *options, *size)
        rows, _ = read_posed(tmp_path / "001.csv")
        tag = read_tag(in_feat(rows))
        assert tag.translation_unit == unit


def test_the_docs_run(tmp_path, monkeypatch, open_page):
    monkeypatch.chdir(tmp_path)
    shutil.copy(find_demo_tables()[0], "clip.csv")
    Path("reported").mkdir()
    for command in re.findall(r"^feat-pose (.*)$", PAGE.read_text("utf-8"), re.MULTILINE):
        assert feat_pose(*command.split()).exit_code == 0
    headings = open_page(tmp_path / "clip_report.html").locator("h2").all_inner_texts()
    described = re.findall(r"^\| ([A-Z][^|]*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert headings == described


def test_names_and_cells_are_text_and_nothing_else(faces, tmp_path, open_page):
    table = tmp_path / HOSTILE
    evil = "<script>alert(2)</script> $\\foo{$"
    rows = faces.assign(Identity=evil, input=evil, PoseFlags=evil)
    rows.loc[:15, "Identity"] = "b"
    rows.loc[:10, "input"] = "b"
    rows.to_parquet(table)
    write_report(table, tmp_path / "report.html")
    page = open_page(tmp_path / "report.html")
    check_pictures(page, 4)
    assert page.title() == f"Head pose: {HOSTILE}"
    assert page.inner_text("h1") == f"Head pose: {HOSTILE}"
    assert page.locator("script").count() == 0
    assert evil in page.locator("h3").all_inner_texts()
    assert evil in page.locator(".doubts").inner_text()


def test_a_table_without_quality_says_so(faces, tmp_path, open_page):
    table = tmp_path / "clip.csv"
    faces.drop(columns=QUALITY_COLUMNS).to_csv(table, index=False)
    write_report(table, tmp_path / "report.html", convention="feat")
    page = open_page(tmp_path / "report.html")
    assert counts(page)["flagged"] == "not known"
    assert page.locator(".doubts").count() == 0
    assert page.inner_text("body").count("--quality") == 2


def test_a_table_without_a_pose_has_a_page_too(faces, tmp_path, open_page):
    rows = faces.iloc[5:9]
    for name, table in (("some", rows), ("none", rows.iloc[:0])):
        path, page = tmp_path / f"{name}.parquet", tmp_path / f"{name}.html"
        table.to_parquet(path)
        write_report(path, page)
        shown = open_page(page)
        check_pictures(shown, 3)
        assert counts(shown)["with a pose"] == "0"
        assert counts(shown)["rows"] == str(len(table))


def test_flags_alone_are_listed(faces, tmp_path, open_page):
    table = tmp_path / "clip.parquet"
    rows = faces.drop(columns="PoseResidual").assign(PoseFlags="")
    rows.loc[[3, 30], "PoseFlags"] = ["yaw;eyes", "yaw"]
    rows.to_parquet(table)
    write_report(table, tmp_path / "report.html")
    page = open_page(tmp_path / "report.html")
    first, second = page.locator(".doubts li").all_inner_texts()
    assert first.startswith("frame 3 row 3\n")
    assert "flags: yaw, eyes" in first
    assert second.startswith("frame 30")
    assert [row.split("\t")[:2] for row in page.locator("tr").all_inner_texts()[1:3]] == [
        ["yaw", "2"],
        ["eyes", "1"],
    ]


def test_frames_of_the_video_are_shown(tmp_path, shared_data, feat_folder, open_page):
    source = pd.read_csv(shared_data / "video_face_noface.csv")
    pose = estimate_pose(source, quality=True)
    posed = pd.concat([source, pose], axis=1)
    posed.attrs = pose.attrs
    table = tmp_path / "video_face_noface.parquet"
    posed.to_parquet(table)
    video = feat_folder / "tests" / "data" / "face_noface.mov"
    write_report(table, tmp_path / "report.html", video=video)
    page = open_page(tmp_path / "report.html")
    assert page.locator(".doubts img").count() == 12
    check_pictures(page, 15)
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
    posed.assign(frame=posed["frame"] + 1000).to_parquet(table)
    with pytest.raises(PictureError, match="another video"):
        write_report(table, tmp_path / "report.html", video=video)


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
    page.write_text("mine")
    refused(feat_pose("report", table, "-o", page), 2, str(page), "--force")
    refused(feat_pose("report", table, "-o", table), 2, "is the input itself")
    assert page.read_text() == "mine"
    assert feat_pose("report", table, "-o", page, "--force").exit_code == 0
    assert page.stat().st_size > 10_000
