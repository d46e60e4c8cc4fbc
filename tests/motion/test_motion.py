"""Movement over time, on motion that is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from command import feat_pose, refused
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from feat_pose_plugin import convert_pose
from feat_pose_plugin.errors import ConventionError, MotionError, PoseWarning
from feat_pose_plugin.motion import angular_velocity, relative_pose, smooth_pose, summarise_motion
from feat_pose_plugin.motion.neutral import geodesic_median
from feat_pose_plugin.pose.tag import read_tag
from feat_pose_plugin.tables.stream import read_table, write_table

ANGLES = ["Pitch", "Roll", "Yaw"]
POSE = [*ANGLES, "X", "Y", "Z"]
FPS = 30


def pose_table(turn: Rotation, convention: str = "feat", **columns: object) -> pd.DataFrame:
    """A table of one person, a row for each frame."""
    angles = convert_pose(turn.as_matrix(), "matrix", convention)
    table = pd.DataFrame(angles, columns=ANGLES).assign(X=0.0, Y=0.0, Z=50.0)
    table.insert(0, "frame", np.arange(len(table)))
    return table.assign(**columns)


def turns_of(table: pd.DataFrame, convention: str = "feat") -> Rotation:
    return Rotation.from_matrix(convert_pose(table[ANGLES].to_numpy(), convention, "matrix"))


def degrees_between(one: Rotation, other: Rotation) -> np.ndarray:
    return np.rad2deg((one.inv() * other).magnitude())


def nods(frames: int = 1200) -> Rotation:
    """Sines of 60, 15 and 8 degrees about the head's y, x and z."""
    time = np.arange(frames) / FPS
    sines = [
        size * np.sin(2 * np.pi * rate * time) for size, rate in ((8, 0.7), (60, 0.3), (15, 0.5))
    ]
    return Rotation.from_euler("zyx", np.stack(sines, axis=1), degrees=True)


def with_noise(turn: Rotation, deg: float, seed: int = 0) -> Rotation:
    noise = np.random.default_rng(seed).normal(0, np.deg2rad(deg), (len(turn), 3))
    return turn * Rotation.from_rotvec(noise)


def test_smoothing_nearly_halves_noise_and_keeps_the_peaks():
    true = nods()
    noisy = with_noise(true, 1.5)
    before = degrees_between(true, noisy)
    after = degrees_between(true, turns_of(smooth_pose(pose_table(noisy), fps=FPS)))
    assert np.sqrt((after**2).mean()) < 0.62 * np.sqrt((before**2).mean())
    clean = turns_of(smooth_pose(pose_table(true), fps=FPS)).as_euler("zyx", degrees=True)
    peaks = true.as_euler("zyx", degrees=True)
    assert np.abs(clean).max(axis=0) == pytest.approx(np.abs(peaks).max(axis=0), rel=0.02)


def test_smoothing_has_no_delay():
    """A movement and the same movement run backwards are smoothed alike."""
    noisy = with_noise(nods(200), 2)
    forth = turns_of(smooth_pose(pose_table(noisy), fps=FPS))
    back = turns_of(smooth_pose(pose_table(noisy[::-1]), fps=FPS))
    assert degrees_between(forth, back[::-1]).max() < 1e-4


def test_short_gaps_are_bridged_and_marked_and_long_ones_stay_empty():
    true = nods(300)
    table = pose_table(true, X=0.1 * np.arange(300))
    table.loc[50:55, POSE] = np.nan  # 0.2 seconds
    table.loc[100:130, POSE] = np.nan
    smooth = smooth_pose(table, fps=FPS, longest_gap=0.2)
    assert np.flatnonzero(smooth["PoseBridged"]).tolist() == [*range(50, 56)]
    assert np.flatnonzero(smooth["Pitch"].isna()).tolist() == [*range(100, 131)]
    assert degrees_between(true[50:56], turns_of(smooth[50:56])).max() < 2
    assert smooth.loc[52, ["X", "Z"]].tolist() == pytest.approx([5.2, 50])
    assert smooth_pose(table, fps=FPS, longest_gap=0.1)["PoseBridged"].sum() == 0


def test_frames_that_are_not_in_the_table_are_a_gap_too():
    true = nods(60)
    whole = pose_table(true)
    without = whole.drop(index=range(20, 40))
    smooth = smooth_pose(without, fps=FPS)
    alone = smooth_pose(whole[:20], fps=FPS)
    pd.testing.assert_frame_equal(smooth[:20], alone)


def test_a_tilt_through_180_degrees_is_followed():
    tilt = Rotation.from_rotvec(np.deg2rad(np.linspace(160, 200, 60))[:, None] * [0, 0, 1])
    smooth = turns_of(smooth_pose(pose_table(with_noise(tilt, 0.5)), fps=FPS))
    assert degrees_between(tilt, smooth).max() < 2
    speed = angular_velocity(pose_table(tilt), fps=FPS)["AngularSpeed"]
    np.testing.assert_allclose(speed, 40 / 59 * FPS, rtol=1e-4)


def test_translation_is_smoothed_and_rows_weigh_by_their_error():
    table = pose_table(Rotation.from_rotvec(np.zeros((9, 3))), PoseError=2.0)
    table.loc[4, "X"] = 9.0
    evenly = smooth_pose(table, fps=FPS)["X"][4]
    assert evenly == pytest.approx(9 * 7 / 21)  # Savitzky and Golay's middle weight of 7 points
    table.loc[4, "PoseError"] = 20.0
    assert 0 < smooth_pose(table, fps=FPS)["X"][4] < 0.1 * evenly
    sure = [smooth_pose(table.assign(PoseError=least), fps=FPS)["X"][4] for least in (0, 0.1, 2)]
    assert sure == pytest.approx([evenly] * 3)


def test_flagged_rows_are_gaps_unless_they_are_wanted():
    table = pose_table(nods(40), PoseFlags="")
    table.loc[10, ["Pitch", "PoseFlags"]] = 1.5, "residual"
    smooth = smooth_pose(table, fps=FPS)
    assert smooth["PoseBridged"][10]
    assert degrees_between(nods(40), turns_of(smooth)).max() < 0.5
    with pytest.raises(MotionError, match="every row with a pose is flagged, the first one 'eyes'"):
        smooth_pose(table.assign(PoseFlags="eyes"), fps=FPS)
    believed = turns_of(smooth_pose(table, fps=FPS, use_flagged=True))
    assert degrees_between(nods(40), believed)[10] > 20


def test_persons_and_files_are_kept_apart():
    one, other = nods(50), with_noise(nods(50), 20)
    alone = smooth_pose(pose_table(one, Identity="a"), fps=FPS)
    both = pd.concat([pose_table(one, Identity="a"), pose_table(other, Identity="b")])
    both = both.sort_values("frame", kind="stable").reset_index(drop=True)
    apart = smooth_pose(both, fps=FPS)
    mine = apart[apart["Identity"] == "a"].reset_index(drop=True)
    assert degrees_between(turns_of(alone), turns_of(mine)).max() < 1e-4
    cut = both.assign(Yaw=both["Yaw"].where((both["Identity"] == "b") | (both["frame"] < 47)))
    assert not smooth_pose(cut, fps=FPS)["PoseBridged"].any()  # from one person to the next
    named = smooth_pose(both.rename(columns={"Identity": "who"}), fps=FPS, by="who")
    assert named["Yaw"].tolist() == apart["Yaw"].tolist()
    with pytest.raises(MotionError, match="frame 0 has two rows of one person"):
        smooth_pose(both.drop(columns="Identity"), fps=FPS)
    with pytest.raises(MotionError, match="no column 'whom'"):
        smooth_pose(both, fps=FPS, by="whom")


def test_a_column_that_names_nobody_does_not_tell_persons_apart():
    expected = smooth_pose(pose_table(nods(50)), fps=FPS)
    found = smooth_pose(pose_table(nods(50), Identity=np.nan, face_id=None), fps=FPS)
    pd.testing.assert_frame_equal(found[POSE], expected[POSE])


def test_a_pose_of_nobody_is_left_out_and_said():
    table = pose_table(nods(50), Identity=["Ada"] * 49 + [None])
    with pytest.warns(PoseWarning, match=r"1 rows with a pose say nobody in \['Identity'\]"):
        found = smooth_pose(table, fps=FPS)
    assert found["Pitch"].notna().tolist() == [True] * 49 + [False]


def test_openfaces_own_file_is_known_by_its_columns(feat_folder, tmp_path):
    """They have spaces before their names."""
    source = feat_folder / "tests" / "data" / "OpenFace_Test.csv"
    feat_pose("motion", source, "-o", tmp_path / "moved.csv", "--fps", "30")
    moved, known = read_table(tmp_path / "moved.csv"), read_table(source)
    assert list(moved)[: known.shape[1]] == list(known)
    expected = angular_velocity(known, fps=30, convention="openface")
    np.testing.assert_allclose(moved["AngularSpeed"], expected["AngularSpeed"], rtol=1e-6)


def test_rows_keep_their_order_index_and_columns():
    table = pose_table(nods(30), label="x").set_index(np.arange(100, 130))
    shuffled = table.sample(frac=1, random_state=0)
    smooth = smooth_pose(shuffled, fps=FPS)
    assert smooth.index.tolist() == shuffled.index.tolist()
    assert list(smooth) == [*table, "PoseBridged"]
    expected = smooth_pose(table, fps=FPS)
    np.testing.assert_allclose(smooth.sort_index()[POSE], expected[POSE], atol=1e-9)


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_a_steady_turn_has_its_speed_about_its_axis(seconds):
    axis = np.array([2.0, 1.0, -0.5]) / np.linalg.norm([2.0, 1.0, -0.5])
    time = np.arange(90)[:, None] / FPS
    start = Rotation.from_euler("xyz", [20, -30, 10], degrees=True)
    turning = start * Rotation.from_rotvec(np.deg2rad(40) * time * axis)  # about the head's axis
    found = angular_velocity(pose_table(turning), fps=FPS, seconds=seconds)
    assert found["AngularSpeed"].between(39.5, 40.5).all()
    middle = found.iloc[45]
    assert middle["PitchVelocity"] == pytest.approx(-40 * axis[0], abs=0.1)
    assert middle["YawVelocity"] == pytest.approx(40 * axis[1], abs=0.1)
    assert middle["RollVelocity"] == pytest.approx(-40 * axis[2], abs=0.1)


def test_a_row_in_doubt_has_the_velocity_of_its_neighbours():
    """Though its own rotation, around which the window is fitted, is 20 degrees off."""
    time = np.arange(31)[:, None] / FPS
    table = pose_table(Rotation.from_rotvec(np.deg2rad(40) * time * [0, 1, 0]), PoseError=1.0)
    table.loc[15, ["Pitch", "PoseError"]] = np.deg2rad(20), 1e3
    found = angular_velocity(table, fps=FPS)
    np.testing.assert_allclose(found.loc[15], found.loc[14], atol=1)


def test_speed_is_the_same_in_every_convention_and_unknown_without_neighbours():
    table = pose_table(nods(60))
    table.loc[[20, 22], POSE] = np.nan
    other = convert_pose(table, "feat", "300w-lp")
    found = angular_velocity(table, fps=FPS, seconds=0)
    np.testing.assert_allclose(angular_velocity(other, fps=FPS, seconds=0), found, atol=1e-3)
    assert np.flatnonzero(found["AngularSpeed"].isna()).tolist() == [20, 21, 22]


def test_relative_pose_is_the_rotation_from_the_neutral_one():
    """A head that turns by 40 degrees from pitch 20 and roll 10, in 300W-LP's angles."""
    angles = pd.DataFrame([[20.0, 10, 0], [20, 10, 40]], columns=ANGLES)
    lp = relative_pose(angles, neutral=0, convention="300w-lp")
    assert lp.loc[0].abs().max() < 1e-6
    feat = convert_pose(angles, "300w-lp", "feat")
    found = relative_pose(feat, neutral=0)[ANGLES].to_numpy()[1]
    neutral, head = convert_pose(angles.to_numpy(), "300w-lp", "matrix")
    np.testing.assert_allclose(found, convert_pose(neutral.T @ head, "matrix", "feat"), atol=1e-6)
    subtracted = np.diff(feat[ANGLES].to_numpy(), axis=0)[0]
    assert np.rad2deg(np.abs(found - subtracted)).max() > 3


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_relative_pose_is_exact_for_any_two_poses(numbers):
    turn = Rotation.from_rotvec(np.array(numbers).reshape(2, 3))
    for row in (0, -1):
        found = turns_of(relative_pose(pose_table(turn), neutral=row))
        assert degrees_between(turn[row].inv() * turn, found).max() < 0.05


def test_each_person_has_a_neutral_pose_of_its_own():
    rest = {"a": Rotation.from_rotvec([0, 0.35, 0]), "b": Rotation.from_rotvec([0.16, 0, 0])}
    tables = []
    for name, turn in rest.items():
        table = pose_table(turn * Rotation.identity(50), Identity=name, at_rest=True)
        table.loc[40:, "at_rest"] = False
        table.loc[40:, "Pitch"] += 0.4
        tables.append(table)
    both = pd.concat(tables, ignore_index=True)
    for neutral in ("median", both["at_rest"]):
        found = relative_pose(both, neutral=neutral)
        assert found.loc[found["at_rest"], ANGLES].abs().max().max() < 1e-4
        assert read_tag(found).rotation_frame == "neutral"
    only_a = relative_pose(both, neutral=both["at_rest"] & (both["Identity"] == "a"))
    assert only_a.loc[only_a["Pitch"].isna(), "Identity"].tolist() == ["b"] * 50
    of_a = relative_pose(both, neutral=tables[0][:40])
    assert np.rad2deg(of_a.loc[0, ANGLES].to_numpy(float)) == pytest.approx([0, 0, 0], abs=1e-3)
    assert degrees_between(rest["a"].inv() * rest["b"], turns_of(of_a[50:51])).max() < 1e-3


def test_translation_from_neutral_is_along_the_neutral_heads_axes():
    table = pose_table(Rotation.from_rotvec([[0, np.pi / 2, 0]] * 2))
    table[["X", "Y", "Z"]] = [[1.0, 2, 3], [1, 2, 4]]
    found = relative_pose(table, neutral=0)
    # One unit away from the camera is one unit to the right of a head that is turned by 90 degrees.
    np.testing.assert_allclose(found.loc[1, ["X", "Y", "Z"]].to_numpy(float), [-1, 0, 0], atol=1e-6)


def test_the_geodesic_median_leaves_outliers_aside():
    turn = with_noise(Rotation.from_rotvec(np.tile([0.3, 0.2, 0.1], (101, 1))), 1)
    spoilt = Rotation.concatenate([turn, Rotation.from_rotvec(np.tile([2.0, 0, 0], (20, 1)))])
    assert degrees_between(geodesic_median(spoilt), Rotation.from_rotvec([0.3, 0.2, 0.1])) < 0.5
    assert degrees_between(spoilt.mean(), Rotation.from_rotvec([0.3, 0.2, 0.1])) > 5


@pytest.mark.parametrize("neutral", ["mean", 99, [True], None, 1.5])
def test_a_neutral_pose_that_is_none_is_refused(neutral):
    with pytest.raises(MotionError, match="neutral"):
        relative_pose(pose_table(nods(5)), neutral=neutral)


def test_frames_between_frames_are_refused():
    table = pose_table(nods(5))
    with pytest.raises(MotionError, match="not whole"):
        smooth_pose(table.assign(frame=table["frame"] / 2), fps=FPS)


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": None}, {"fps": 30, "seconds": -1}])
def test_times_that_are_none_are_refused(options):
    with pytest.raises(MotionError, match=r"fps|seconds"):
        smooth_pose(pose_table(nods(5)), **options)


def test_the_tag_decides_and_contradictions_are_refused():
    table = convert_pose(pose_table(nods(30)), "feat", "300w-lp")
    found = turns_of(smooth_pose(table, fps=FPS), "300w-lp")
    assert degrees_between(nods(30), found).max() < 0.5
    with pytest.raises(ConventionError):
        smooth_pose(table, fps=FPS, convention="feat")


def test_a_pose_without_a_place_is_smoothed_and_relative_too():
    table = pose_table(nods(30))
    placeless = table.assign(X=np.nan, Y=np.nan, Z=np.nan)
    for function in (lambda t: smooth_pose(t, fps=FPS), lambda t: relative_pose(t, neutral=0)):
        found = function(placeless)
        np.testing.assert_allclose(found[ANGLES], function(table)[ANGLES], atol=1e-9)
        assert found[["X", "Y", "Z"]].isna().all(axis=None)


def test_degrees_that_have_lost_their_tag_are_not_read_as_radians():
    table = pose_table(nods(30))
    degrees = table.assign(**{name: np.rad2deg(table[name]) for name in ANGLES})
    with pytest.raises(ConventionError, match="Are they degrees"):
        angular_velocity(pd.DataFrame(degrees.to_numpy(), columns=degrees.columns), fps=FPS)


def test_summary_of_a_known_movement():
    time = np.arange(3000) / FPS
    yaw = Rotation.from_rotvec(np.deg2rad(20 * np.sin(np.pi * time))[:, None] * [0, 1, 0])
    table = pd.concat(
        [
            pose_table(Rotation.from_euler("x", -10, degrees=True) * yaw, Identity="a"),
            pose_table(Rotation.from_rotvec(np.full((10, 3), np.nan)), Identity="b"),
        ]
    )
    found = summarise_motion(table, fps=FPS, facing_deg=12).set_index("Identity")
    a, b = found.loc["a"], found.loc["b"]
    assert a["Frames"] == 3000
    assert a["ShareWithPose"] == 1
    assert a[["MeanPitch", "MeanRoll", "MeanYaw"]].to_numpy() == pytest.approx([10, 0, 0], abs=0.05)
    assert a["Dispersion"] == pytest.approx(20 / np.sqrt(2), rel=0.01)
    assert a["DisplacementYaw"] == pytest.approx(20 / np.sqrt(2), rel=0.01)
    assert a["DisplacementPitch"] == pytest.approx(0, abs=0.01)
    assert a["VelocityYaw"] == pytest.approx(20 * np.pi / np.sqrt(2), rel=0.02)
    assert a["RangeYaw"] == pytest.approx(2 * 20 * np.sin(0.45 * np.pi), rel=0.01)
    # cos(10) cos(yaw) >= cos(12): up to 6.66 degrees of yaw to each side; 30 different frames
    assert a["ShareFacing"] == pytest.approx(2 / np.pi * np.arcsin(6.66 / 20), abs=0.02)
    assert b["ShareWithPose"] == 0
    assert np.isnan(b["MeanYaw"])
    other = summarise_motion(convert_pose(table, "feat", "300w-lp"), fps=FPS, facing_deg=12)
    pd.testing.assert_frame_equal(other.set_index("Identity"), found, atol=1e-2)


WINDOWS = {"seconds": 0.4, "longest_gap": 0.5}
HOW = {"by": "who", "convention": "degrees", "use_flagged": True}


@pytest.mark.parametrize(
    ("suffix", "windows", "how"), [(".csv", {}, {}), (".parquet", WINDOWS, HOW)]
)
def test_the_command_does_what_the_functions_do(tmp_path, suffix, windows, how):
    table = pose_table(with_noise(nods(60), 2), how.get("convention", "feat"), PoseFlags="")
    table.loc[20:29, POSE] = np.nan
    table.loc[40:42, "PoseFlags"] = "eyes"
    who = how.get("by", "Identity")
    both = pd.concat([table.assign(**{who: name}) for name in "ab"], ignore_index=True)
    both["label"] = [f"00{number}" for number in range(len(both))]
    source, target, summary = (tmp_path / f"{name}{suffix}" for name in ("in", "out", "sum"))
    write_table(both, source)
    command = ["motion", source, "-o", target, "--fps", FPS, "--relative", "--summary", summary]
    for name, value in {**windows, **how}.items():
        command += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    result = feat_pose(*command)
    assert result.exit_code == 0, result.output
    found = read_table(target)
    assert [name for name in found if name in both] == list(both)
    assert found["label"].astype(str).str.zfill(5).tolist() == both["label"].str.zfill(5).tolist()
    smooth = smooth_pose(both, fps=FPS, **windows, **how)
    bridged = found["PoseBridged"].astype(str).str.lower()
    assert bridged.tolist() == smooth["PoseBridged"].astype(str).str.lower().tolist()
    expected = relative_pose(smooth, neutral="median", **{**how, "use_flagged": True})
    np.testing.assert_allclose(found[POSE], expected[POSE], atol=1e-6)
    speed = angular_velocity(both, fps=FPS, seconds=windows.get("seconds", 0.2), **how)
    np.testing.assert_allclose(found[[*speed]], speed, atol=1e-9)
    rows = summarise_motion(both, fps=FPS, **how)
    pd.testing.assert_frame_equal(read_table(summary).drop(columns="table"), rows)
    refused(feat_pose(*command), 2, "exists", "--force")
