"""Rows in which a tool has lost the face, is unsure of it, or moved its landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command import feat_pose
from fakes import faces, table_of

from feat_pose_plugin import estimate_pose
from feat_pose_plugin.errors import LandmarkError

POSE = ["Pitch", "Roll", "Yaw"]
HEIGHT, WIDTH = 720, 1280


def by_the_command(table: pd.DataFrame, folder: Path, *options: object) -> pd.DataFrame:
    table.to_csv(folder / "in.csv", index=False)
    result = feat_pose(
        "estimate", folder / "in.csv", "-o", folder / "out.parquet", "--quality", *options
    )
    assert result.exit_code == 0, result.output
    return pd.read_parquet(folder / "out.parquet")


def test_rows_that_openface_lost_have_no_pose_and_unsure_ones_a_flag(tmp_path):
    openface = table_of(faces(5)).rename(columns=lambda name: f" {name}")
    plain = estimate_pose(openface)
    openface.insert(0, " success", [1, 0, 1, 1, 1])
    openface.insert(0, " confidence", [0.98, 0.98, 0.79, 0.8, np.nan])
    for pose in (estimate_pose(openface, quality=True), by_the_command(openface, tmp_path)):
        np.testing.assert_allclose(pose[POSE].drop(1), plain[POSE].drop(1), atol=1e-5)
        assert pose.loc[1, POSE].isna().all()
        assert pose["PoseFlags"].fillna("lost").tolist() == ["", "lost", "confidence", "", ""]
    with pytest.raises(LandmarkError, match="row 0 of column 'success' holds 'yes'"):
        estimate_pose(openface.assign(**{" success": "yes"}))


@pytest.mark.parametrize("landmark", [0, 30, 36])
def test_a_landmark_at_the_corner_of_the_picture_was_not_found(landmark, tmp_path):
    points = faces(3)
    points[1, landmark] = 0
    flat, table = points.mT.flatten(1), table_of(points)
    for source in (points, points.numpy().astype(int), flat, table):
        assert estimate_pose(source)["Yaw"].isna().tolist() == [False, True, False]
    assert by_the_command(table, tmp_path)["Yaw"].isna().tolist() == [False, True, False]


def test_a_mesh_with_a_vertex_at_the_corner_has_no_pose(canonical_face):
    mesh = np.concatenate([canonical_face, np.zeros((10, 3))])[None] * [20, 20, 20] + [640, 360, 0]
    mesh = mesh.repeat(2, axis=0)
    mesh[1, 33] = 0  # an eye corner
    assert estimate_pose(mesh)["Yaw"].isna().tolist() == [False, True]


def test_landmarks_around_an_origin_of_their_own_are_kept():
    points = faces(3)
    centred = points - points[:, 30:31]
    np.testing.assert_allclose(estimate_pose(centred)[POSE], estimate_pose(points)[POSE], atol=1e-5)


@pytest.mark.parametrize("border", ["left", "right", "top", "bottom"])
@pytest.mark.parametrize("last", [0, 1])
def test_landmarks_on_the_border_of_the_frame_are_flagged(border, last, tmp_path):
    points = faces(1)
    axis, size = (0, WIDTH) if border in ("left", "right") else (1, HEIGHT)
    order = points[0, :, axis].sort().values
    low = border in ("left", "top")
    edge = 0.0 if low else float(size - last)
    for clipped, flagged in ((2, False), (3, True), (20, True)):
        # The last of those that are clipped comes to lie a little beyond the border.
        shift = edge - (order[clipped - 1] + 1e-2 if low else order[-clipped] - 1e-2)
        moved = points.clone()
        moved[..., axis] = (moved[..., axis] + shift).clamp(
            edge if low else None, None if low else edge
        )
        for pose in (
            estimate_pose(moved, frame_size=(HEIGHT, WIDTH), quality=True),
            by_the_command(
                table_of(moved), tmp_path, "--height", HEIGHT, "--width", WIDTH, "--force"
            ),
        ):
            assert ("clipped" in pose["PoseFlags"][0]) == flagged
    inside = estimate_pose(points, frame_size=(HEIGHT, WIDTH), quality=True)
    assert inside["PoseFlags"].tolist() == [""]


def test_without_a_frame_size_many_landmarks_in_line_are_flagged():
    points = faces(2)
    points[1, :, 0].clamp_(max=float(points[1, :, 0].sort().values[-6]))
    assert estimate_pose(points, quality=True)["PoseFlags"].tolist() == ["", "clipped"]


def test_whole_pixels_are_not_taken_for_clipped(shared_data):
    for name in ("aflw", "rend", "p04", "video"):
        points = np.load(shared_data / "real" / f"{name}.npz")["landmarks_dlib"].astype(float)
        points[points == -32768] = np.nan
        flags = estimate_pose(points, landmark_model="dlib", quality=True)["PoseFlags"]
        assert not flags.str.contains("clipped").any()


def test_the_command_reads_normalised_landmarks_where_it_is_told_to(tmp_path):
    points = faces(4)
    shares = table_of(points / torch.tensor([WIDTH, HEIGHT]))
    size = ("--height", HEIGHT, "--width", WIDTH)
    pose = by_the_command(shares, tmp_path, "--normalized", *size)
    right = estimate_pose(points, frame_size=(HEIGHT, WIDTH))
    np.testing.assert_allclose(pose[right.columns], right, atol=1e-4)
    refusals = {
        "--height, --width and --normalized": size,
        "size is not known. Pass frame_size=(height, width), to the command --height": (
            "--normalized",
        ),
    }
    for said, options in refusals.items():
        result = feat_pose("estimate", tmp_path / "in.csv", "-o", tmp_path / "no.csv", *options)
        assert result.exit_code == 2
        assert said in result.stderr
