"""A table says which convention its pose is in, and two are never mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, convert_pose, estimate_pose
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.evaluation import read_reference
from feat_pose_plugin.pose.conventions import INTER_OCULAR_UNITS
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.registry import get_pose_backend
from feat_pose_plugin.pose.tag import PoseTag, read_tag, write_tag
from feat_pose_plugin.show.plots import plot_time_lines
from feat_pose_plugin.tables.pose_tables import estimate_table
from feat_pose_plugin.training.distill import train_distill

CLIP = find_demo_tables()[1]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Landmarks of real frames."""
    return pd.read_csv(CLIP)


@pytest.fixture(scope="module")
def pose(table: pd.DataFrame) -> pd.DataFrame:
    """Their pose in convention feat, tagged."""
    return estimate_pose(table)


def said(table: pd.DataFrame) -> str | None:
    tag = read_tag(table)
    return tag and tag.convention


@pytest.mark.parametrize("convention", ["feat", "300w-lp", "openface"])
def test_an_estimate_says_its_convention(table, convention):
    pose = estimate_pose(table, convention=convention)
    assert said(pose) == convention
    assert said(np.rad2deg(pose)) is None
    assert said(convert_pose(estimate_pose(table), "feat", convention)) == convention


def test_the_tag_goes_where_the_pose_goes(pose, tmp_path):
    pose.to_parquet(tmp_path / "pose.parquet")
    read = pd.read_parquet(tmp_path / "pose.parquet")
    for kept in (pose.copy(), pose[pose["Pitch"] > 0], pose.rename(columns=str.lower), read):
        assert said(kept) == "feat"
    assert said(convert_pose(read, None, "img2pose")) == "img2pose"


def many_poses(rows: int = 2000) -> pd.DataFrame:
    """Small angles, of which degrees could be radians too; tagged and sealed, with gaps."""
    angles = np.random.default_rng(0).normal(0, 0.02, (rows, 6))
    angles[::7] = np.nan
    table = pd.DataFrame(angles, columns=FEAT_FACEPOSE_COLUMNS_6D).assign(frame=range(rows))
    return convert_pose(table, "img2pose", "feat")


@pytest.mark.parametrize("rows", [1, 3, 31, 32, 2000])
@pytest.mark.parametrize(
    "change",
    [
        np.rad2deg,
        lambda pose: pose.diff(),
        lambda pose: pose - pose.mean(),
        lambda pose: 2 * pose,
        lambda pose: pose.abs(),
        lambda pose: pose.rolling(3, min_periods=1).mean(),
        lambda pose: pose.rename(columns={"Pitch": "Yaw", "Yaw": "Pitch"}),
    ],
)
def test_a_tag_is_not_of_numbers_that_were_changed(change, rows):
    pose = many_poses(2001).iloc[1:].head(rows)
    pose = convert_pose(pose, "feat", "feat")  # sealed as it is
    changed = change(pose)
    if changed["Pitch"].equals(pose["Pitch"]) or changed["Pitch"].isna().all():
        return  # the mean of one row
    assert read_tag(changed) is None
    with pytest.raises(ConventionError, match="not those that its tag was written for"):
        convert_pose(changed, None, "300w-lp")


def test_a_sealed_tag_goes_with_its_rows(tmp_path):
    pose = many_poses()
    pose.to_parquet(tmp_path / "pose.parquet")
    for kept in (
        pose,
        pose.sample(frac=1, random_state=0),
        pose.iloc[[5]],
        pose[pose["Yaw"] > 0.01],
        pose[["Yaw", "Pitch", "Roll"]],
        pose.astype(np.float32),
        pose.dropna().reset_index(drop=True),
        pose.assign(X=1.0, other="a"),
        pose.iloc[:0],
        pd.concat([pose, pose]),
        pd.read_parquet(tmp_path / "pose.parquet"),
        convert_pose(convert_pose(pose, None, "quaternion"), None, "openface"),
    ):
        assert said(kept) is not None
    assert said(pd.concat([pose, many_poses(100)])) is None
    for factor in np.linspace(1.01, 3, 20):
        assert said(factor * pose[FEAT_FACEPOSE_COLUMNS_6D]) is None


def test_a_parquet_file_says_it_and_a_csv_cannot(tmp_path):
    estimator = PoseEstimator(backend=get_pose_backend("pose_mlp_synth"), convention="300w-lp")
    for suffix, convention in ((".parquet", "300w-lp"), (".csv", None)):
        target = tmp_path / f"out{suffix}"
        estimate_table(CLIP, target, estimator)
        read = pd.read_parquet(target) if suffix == ".parquet" else pd.read_csv(target)
        assert said(read) == convention


def test_a_new_estimate_replaces_the_tag_and_nothing_else(table, tmp_path):
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    old = table.copy()
    old.attrs |= {"study": "b7", "feat_pose": {"convention": "openface"}}
    old.to_parquet(source)
    estimate_table(source, target, PoseEstimator(backend=get_pose_backend("pose_mlp_synth")))
    read = pd.read_parquet(target)
    assert said(read) == "feat"
    assert read.attrs["study"] == "b7"
    assert pq.read_schema(target).metadata[b"pandas"] == pq.read_schema(source).metadata[b"pandas"]


def test_a_conversion_keeps_other_attrs_and_leaves_the_source_alone(pose):
    pose = pose.copy()
    pose.attrs["study"] = "b7"
    found = convert_pose(pose, "feat", "300w-lp")
    assert found.attrs["study"] == "b7"
    assert said(found) == "300w-lp"
    assert said(pose) == "feat"


def test_a_source_that_contradicts_the_tag_is_refused(pose):
    with pytest.raises(ConventionError, match=r"'feat', as they say themselves, not in '300w-lp'"):
        convert_pose(pose, "300w-lp", "img2pose")
    other = convert_pose(pose, "feat", "feat-0.7")  # of two names
    pd.testing.assert_frame_equal(convert_pose(other, "img2pose", "feat-0.7"), other)
    untagged = pose.copy()
    untagged.attrs.pop("feat_pose")
    convert_pose(untagged, "300w-lp", "img2pose")


def test_a_tag_of_a_later_version_is_read_as_far_as_it_is_known(pose):
    pose = pose.copy()
    pose.attrs["feat_pose"] |= {"handedness": "right"}
    assert said(convert_pose(pose, None, "img2pose")) == "img2pose"
    pose.attrs["feat_pose"] = {"convention": "feat-9"}
    with pytest.raises(ConventionError, match="'feat-9'"):
        convert_pose(pose, "feat", "img2pose")


def test_the_unit_of_the_tag_is_the_unit_of_the_place():
    pose = pd.DataFrame([[0.1, 0.2, 0.3, 100.0, 0, 0]], columns=FEAT_FACEPOSE_COLUMNS_6D)
    write_tag(pose, PoseTag("feat", translation_unit="mm"))
    assert convert_pose(pose, "feat", "openface")["pose_Tx"].item() == pytest.approx(100)
    assert np.isnan(convert_pose(pose, "feat", "300w-lp")["X"].item())
    units = convert_pose(pose, "feat", "300w-lp", inter_ocular_mm=50)
    assert units["X"].item() == pytest.approx(2 * INTER_OCULAR_UNITS)
    assert read_tag(units).translation_unit is None
    same = convert_pose(pose, "feat", "feat", inter_ocular_mm=50)
    assert same["X"].item() == pytest.approx(2 * INTER_OCULAR_UNITS)


def test_pictures_go_by_the_tag_and_refuse_to_be_told_otherwise(pose):
    other = convert_pose(pose, "feat", "300w-lp")
    plots = plot_time_lines({"a": pose, "b": other}).axes
    for ours, theirs in (plots[:2], plots[2:4], plots[4:]):
        np.testing.assert_allclose(
            theirs.lines[-1].get_ydata(), ours.lines[-1].get_ydata(), atol=1e-3
        )
    with pytest.raises(ConventionError, match=r"of b are in convention '300w-lp'"):
        plot_time_lines({"a": pose, "b": other}, convention="feat")


def tagged_table(table: pd.DataFrame, pose: pd.DataFrame, path: Path) -> Path:
    """Landmarks and pose in one Parquet file."""
    both = table.drop(columns=pose.columns, errors="ignore").join(pose).copy()
    both["FaceScore"] = 0.99
    both.attrs = pose.attrs
    both.to_parquet(path)
    return path


def test_a_reference_in_another_convention_is_refused(table, pose, tmp_path):
    path = tagged_table(table, pose, tmp_path / "known.parquet")
    read_reference(path, convention="feat")
    with pytest.raises(ConventionError, match=r"known.parquet: .* in convention 'feat'.*'300w-lp'"):
        read_reference(path)


def test_a_reference_beside_the_pose_columns_is_none_of_the_tags_business(table, pose, tmp_path):
    known = table.copy().assign(r_x=0.1, r_y=0.2, r_z=0.3)
    path = tagged_table(known, pose, tmp_path / "known.parquet")
    assert (read_reference(path, convention="rotvec").angles_deg[:, 0].rad2deg() > 0).all()


def test_a_teacher_in_another_convention_is_refused(table, pose, tmp_path):
    clip = tagged_table(table, pose, tmp_path / "clip.parquet")
    with pytest.raises(ConventionError, match=r"clip.parquet: .* in convention 'feat'"):
        train_distill([clip], tmp_path / "w.safetensors", convention="img2pose")
