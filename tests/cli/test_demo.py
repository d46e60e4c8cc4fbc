"""The demonstration: real tables become a table, a picture and a summary."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pandas as pd
from command import feat_pose, refused

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, estimate_pose
from feat_pose_plugin.cli.demo import find_demo_tables


def test_it_estimates_py_feats_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = feat_pose("demo")
    assert result.exit_code == 0, result.output
    table, picture = sorted((tmp_path / "feat-pose-demo").iterdir())
    for path in (table, picture):
        assert f"wrote {path.relative_to(tmp_path)}" in result.stdout
    written = pd.read_csv(table)
    assert written.columns.tolist() == ["table", "row", *FEAT_FACEPOSE_COLUMNS_6D]
    assert [path.name for path in find_demo_tables()] == ["001.csv", "002.csv", "OpenFace_Test.csv"]
    for path in find_demo_tables():
        pose = estimate_pose(pd.read_csv(path))
        block = written[written["table"] == path.name]
        assert block["row"].tolist() == [*range(len(pose))]
        np.testing.assert_allclose(block[FEAT_FACEPOSE_COLUMNS_6D], pose, atol=1e-5)
        (line,) = [line for line in result.stdout.splitlines() if line.startswith(path.name)]
        said = [float(word) for word in line.translate(str.maketrans("(,)", "   ")).split()[1:]]
        degrees = np.rad2deg(pose[["Pitch", "Yaw", "Roll"]].astype(float))
        expected = degrees.agg(["mean", "min", "max"]).to_numpy().T.ravel()
        assert said[:2] == [len(pose), len(pose)]
        np.testing.assert_allclose(said[2:], expected, atol=0.051)
    pixels = matplotlib.image.imread(picture)
    assert min(pixels.shape[:2]) > 400
    assert pixels[..., :3].std() > 0.02  # not an empty page
    refused(feat_pose("demo"), 2, "feat-pose-demo.csv exists", "--force")
    assert feat_pose("demo", "--force").exit_code == 0


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("precious")
    for name, status in (("no/folder", 2), ("file", 1)):
        refused(feat_pose("demo", "-o", tmp_path / name), status, "could not be made")
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]
