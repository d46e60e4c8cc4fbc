"""Pose from one convention into another: tensors, arrays, tables and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command import feat_pose, refused
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from feat_pose_plugin import FEAT_FACEPOSE_COLUMNS_6D, convert_pose, estimate_pose
from feat_pose_plugin.errors import ConventionError
from feat_pose_plugin.pose.conventions import CONVENTIONS, INTER_OCULAR_UNITS
from feat_pose_plugin.pose.rotations import geodesic_angle

OPENFACE_COLUMNS = ["pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"]
EYES_MM = 90.0
conventions = st.sampled_from(sorted(CONVENTIONS))


# Small matrices: more threads are slower, by far where they wait for other processes.
pytestmark = pytest.mark.usefixtures("one_thread")


def with_angles() -> list[str]:
    return [name for name, convention in CONVENTIONS.items() if convention.has_angles]


def hard_rotations() -> torch.Tensor:
    """``[10000, 3]`` rotation vectors: any, near gimbal lock in two orders, near half a turn."""
    rng = np.random.default_rng(0)
    short = 10.0 ** rng.uniform(-17, -1, 2000)
    angles = rng.uniform(-np.pi, np.pi, (2000, 3))
    angles[:, 1] = rng.choice([-1, 1], 2000) * (np.pi / 2 - short)
    half_turns = Rotation.random(2000, random_state=1).as_rotvec()
    half_turns *= ((np.pi - short) / np.linalg.norm(half_turns, axis=1))[:, None]
    parts = [
        Rotation.random(4000, random_state=0).as_rotvec(),
        Rotation.from_euler("XYZ", angles).as_rotvec(),
        Rotation.from_euler("ZYX", angles).as_rotvec(),
        half_turns,
    ]
    return torch.from_numpy(np.concatenate(parts))


def pose_of(rotvec: torch.Tensor) -> torch.Tensor:
    """With a translation, in convention rotvec."""
    return torch.cat([rotvec, rotvec.new_tensor([1.0, 2.0, 30.0]).expand(len(rotvec), 3)], dim=1)


def table_in(convention: str, rows: int = 4) -> pd.DataFrame:
    """Some poses as a table with other columns around them, float64."""
    rotvec = torch.from_numpy(Rotation.random(rows, random_state=0).as_rotvec())
    columns = CONVENTIONS["rotvec"].columns
    pose = pd.DataFrame(pose_of(rotvec).numpy(), columns=columns)
    pose = convert_pose(pose, "rotvec", convention, inter_ocular_mm=EYES_MM)
    pose.attrs.clear()
    pose.insert(0, "frame", range(rows))
    return pose.assign(note="n").set_index(pd.Index(["d", "a", "a", "b"][:rows], name="face"))


# Rotations


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("source", CONVENTIONS)
def test_round_trips_keep_the_rotation(source, dtype):
    rotvec = hard_rotations()
    rotvec = rotvec.to(dtype)
    start = convert_pose(rotvec, "rotvec", source)
    known = convert_pose(start.double(), source, "matrix")
    for target in CONVENTIONS:
        there = convert_pose(start, source, target)
        found = convert_pose(there.double(), target, "matrix")
        assert geodesic_angle(found, known).max() < 1e-6, target
        again = convert_pose(there, target, source)
        assert again.dtype == dtype
        found = convert_pose(again.double(), source, "matrix")
        assert geodesic_angle(found, known).max() < 1e-6, target


def test_ranges_are_as_documented():
    rotvec = hard_rotations()
    matrix = convert_pose(rotvec, "rotvec", "matrix")
    assert convert_pose(matrix, "matrix", "rotvec").norm(dim=-1).max() < np.pi + 1e-12
    for convention in with_angles():
        pitch, roll, yaw = convert_pose(rotvec, "rotvec", convention).abs().max(dim=0).values
        turn = roll if convention in ("img2pose", "feat-0.7", "feat-mp") else yaw
        half = 180 if CONVENTIONS[convention].degrees else np.pi
        assert max(pitch, roll, yaw) <= half
        assert min(pitch, roll, yaw) > 0.49 * half
        assert turn <= half / 2
    assert convert_pose(rotvec, "rotvec", "quaternion")[:, 0].min() >= 0


def test_angles_beyond_their_range_are_read_as_they_stand():
    looked_back = torch.tensor(
        [[0.0, 0, 120]], dtype=torch.float64
    )  # yaw of a head seen from behind
    matrix = convert_pose(looked_back, "feat-0.6", "matrix")[0]
    torch.testing.assert_close(matrix[:, 2][[0, 2]], looked_back.new_tensor([0.75**0.5, -0.5]))
    same = convert_pose(looked_back, "feat-0.6", "feat-0.6")
    torch.testing.assert_close(same, looked_back)
    same = convert_pose(convert_pose(looked_back, "feat-0.6", "feat"), "feat", "feat-0.6")
    torch.testing.assert_close(same.abs(), looked_back.new_tensor([[180, 180, 60]]))


def test_py_feats_own_mesh_pose_is_feat_mp(canonical_face):
    """MPDetector's way from the mesh in the picture to its pose columns."""
    from feat.data import Fex
    from feat.MPDetector import convert_landmarks_3d
    from feat.utils import MP_LANDMARK_COLUMNS
    from feat.utils.face_pose import estimate_face_pose_from_mesh

    turns = Rotation.random(20, random_state=3)
    pixels = np.stack([canonical_face @ turn.T * 20 + [300, 200, 0] for turn in turns.as_matrix()])
    mesh = np.concatenate([pixels, np.zeros((20, 10, 3))], axis=1)  # irises
    fex = Fex(mesh.reshape(20, -1), columns=MP_LANDMARK_COLUMNS)
    fex.landmark_columns = MP_LANDMARK_COLUMNS
    angles, place = estimate_face_pose_from_mesh(convert_landmarks_3d(fex))
    found = convert_pose(turns.as_rotvec(), "rotvec", "feat-mp")
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * angles.numpy()), atol=1e-4)
    np.testing.assert_allclose(place, [[300, -200, 0]] * 20, atol=1e-2)


def test_openfaces_own_points_stand_still_in_its_head(feat_folder):
    """Its table has each landmark in camera axes, mm: turned back by its pose it hardly moves."""
    table = pd.read_csv(feat_folder / "tests" / "data" / "OpenFace_Test.csv", skipinitialspace=True)
    pose = table[["pose_Rx", "pose_Rz", "pose_Ry", "pose_Tx", "pose_Ty", "pose_Tz"]].to_numpy()
    # With eyes so near to each other a unit of img2pose is a millimetre.
    placed = convert_pose(pose, "openface", "matrix", inter_ocular_mm=INTER_OCULAR_UNITS)
    rotation, place = placed[:, :3, :3], placed[:, None, :3, 3]
    names = [[f"{axis}_{i}" for i in range(68)] for axis in "XYZ"]
    seen = np.stack([table[columns].to_numpy() for columns in names], axis=2)
    in_head = (seen - place) @ rotation  # of row vectors: by the inverse
    assert in_head.std(axis=0).mean() < 0.3  # mm; the face also moves
    assert in_head.std(axis=0).mean() < seen.std(axis=0).mean() / 5
    assert np.abs(in_head.mean(axis=(0, 1))).max() < 6  # its origin is in the middle of the face


# Translation


@pytest.mark.parametrize(
    ("source", "target", "eyes_mm", "place", "there"),
    [
        ("openface", "mediapipe", None, [10, 20, 300], [1, -2, -30]),
        ("feat", "openface", EYES_MM, [INTER_OCULAR_UNITS, 0, 0], [EYES_MM, 0, 0]),
        ("feat", "openface", None, [1, 2, 3], [np.nan] * 3),
        ("feat", "mediapipe", None, [1, 2, 3], [np.nan] * 3),
        ("feat", "feat-mp", EYES_MM, [1, 2, 3], [np.nan] * 3),  # pixels are no place in space
        ("feat-mp", "openface", EYES_MM, [1, 2, 3], [np.nan] * 3),
        ("feat-mp", "feat-mp", None, [1, 2, 3], [1, 2, 3]),
    ],
)
def test_the_place_is_in_the_unit_of_the_convention(source, target, eyes_mm, place, there):
    pose = np.array([[0.1, 0.2, 0.3, *place]])
    found = convert_pose(pose, source, target, inter_ocular_mm=eyes_mm)
    np.testing.assert_allclose(
        found[0, :3, 3] if target == "mediapipe" else found[0, 3:], there, atol=1e-9
    )
    back = convert_pose(found, target, source, inter_ocular_mm=eyes_mm)
    np.testing.assert_allclose(back[0, :3], pose[0, :3])
    np.testing.assert_allclose(back[0, 3:], np.where(np.isnan(there), np.nan, place), atol=1e-9)


@pytest.mark.parametrize("distance", [0, -60.0, np.nan, np.inf])
def test_no_distance_is_refused(distance):
    with pytest.raises(ConventionError, match=str(distance)):
        convert_pose(np.zeros(6), "feat", "openface", inter_ocular_mm=distance)


# Tensors and arrays


def shape_of(convention: str, leading: tuple[int, ...], has_translation: bool) -> tuple[int, ...]:
    if convention in ("matrix", "mediapipe"):
        return (*leading, *((4, 4) if has_translation else (3, 3)))
    return (*leading, (4 if convention == "quaternion" else 3) + 3 * has_translation)


@given(
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
    conventions,
    conventions,
    st.data(),
)
def test_shapes_dtypes_and_nan(leading, has_translation, dtype, source, target, data):
    pose = torch.rand(*leading, 6 if has_translation else 3, dtype=dtype)
    lost = torch.tensor(
        data.draw(
            st.lists(st.booleans(), min_size=pose[..., 0].numel(), max_size=pose[..., 0].numel())
        ),
        dtype=torch.bool,
    ).reshape(leading)
    pose[lost] = torch.nan
    start = convert_pose(pose, "img2pose", source, inter_ocular_mm=EYES_MM)
    assert start.shape == shape_of(source, leading, has_translation)
    kept = start.clone()
    found = convert_pose(start, source, target, inter_ocular_mm=EYES_MM)
    assert torch.equal(start.nan_to_num(9), kept.nan_to_num(9))
    assert found.shape == shape_of(target, leading, has_translation)
    assert found.dtype == dtype
    rotation = convert_pose(found, target, "img2pose")[..., :3]
    assert torch.equal(rotation.isnan().all(dim=-1), lost)
    assert torch.equal(rotation.isnan().any(dim=-1), lost)
    array = convert_pose(start.numpy(), source, target, inter_ocular_mm=EYES_MM)
    assert isinstance(array, np.ndarray)
    assert array.dtype == found.numpy().dtype
    np.testing.assert_array_equal(array, found.numpy())


def test_img2pose_feat_and_degrees_are_the_same_angles():
    pose = torch.randn(100, 6)  # of the middle angle beyond its range too
    feat = convert_pose(pose, "img2pose", "feat")
    assert torch.equal(feat, pose[:, [0, 2, 1, 3, 4, 5]] * torch.tensor([-1, -1, 1, 1, 1, 1]))
    assert torch.equal(convert_pose(feat, "feat", "img2pose"), pose)
    degrees = convert_pose(feat, "feat", "degrees")
    torch.testing.assert_close(degrees[:, :3], feat[:, :3].rad2deg())
    assert torch.equal(degrees[:, 3:], feat[:, 3:])


@pytest.mark.parametrize("convention", ["feat", "img2pose", "openface", "feat-mp"])
def test_degrees_are_not_taken_for_radians(convention, tmp_path):
    angles = np.random.default_rng(0).normal(0, 20, (100, 3))
    table = pd.DataFrame(angles, columns=FEAT_FACEPOSE_COLUMNS_6D[:3])
    table.to_csv(tmp_path / "in.csv", index=False)
    for data in (angles, torch.from_numpy(angles), table):
        with pytest.raises(ConventionError, match=f"'{convention}' they are radians.*'degr"):
            convert_pose(data, convention, "300w-lp")
    out = tmp_path / "out.csv"
    options = ("--from", convention, "--to", "300w-lp")
    refused(feat_pose("convert", tmp_path / "in.csv", "-o", out, *options), 2, "are radians")
    assert not out.exists()
    convert_pose(angles, "feat-degrees", convention)
    few = np.deg2rad(angles)
    few[:5] = 4  # a network can say anything, and rounding comes to a little more than pi
    few[5:] += np.pi * 1.0001 - few[5:].max()
    few[50:] = np.nan
    convert_pose(few[3:], convention, "300w-lp")


def test_integers_become_float64():
    assert convert_pose(np.array([0, 0, 90]), "feat-0.6", "feat").dtype == np.float64
    assert convert_pose(torch.tensor([0, 0, 90]), "feat-0.6", "feat").dtype == torch.float64


@pytest.mark.parametrize("source", ["matrix", "mediapipe", "quaternion", "feat"])
def test_one_number_that_is_missing_is_a_rotation_that_is_missing(source):
    pose = convert_pose(np.array([[0.1, 0.2, 0.3]] * 2), "rotvec", source)
    pose[0].flat[0] = np.nan
    for target in ("rotvec", "openface", "quaternion", "matrix"):
        if target != source:
            found = convert_pose(pose, source, target).reshape(2, -1)
            assert np.isnan(found).all(axis=1).tolist() == [True, False]


def test_gradients_pass():
    pose = torch.rand(5, 6, requires_grad=True)
    convert_pose(pose, "feat", "300w-lp").sum().backward()
    assert pose.grad.isfinite().all()


TRANSPOSED = np.block([[np.eye(3), np.zeros((3, 1))], [1.0, 2.0, 3.0, 1.0]])


@pytest.mark.parametrize(
    ("data", "source", "target", "parts"),
    [
        (np.zeros((4, 5)), "feat", "rotvec", [r"'feat'.*\[..., 6\] or \[..., 3\].*\[4, 5\]"]),
        (np.zeros(()), "feat", "img2pose", [r"got \[\]"]),
        (np.zeros((4, 6)), "quaternion", "feat", [r"\[..., 7\] or \[..., 4\]"]),
        (np.zeros((4, 6)), "matrix", "feat", [r"\[..., 4, 4\] or \[..., 3, 3\]", r"\[4, 6\]"]),
        (TRANSPOSED, "mediapipe", "feat", [r"\[1.0, 2.0, 3.0, 1.0\]", "transposed"]),
        (np.diag([1.0, 1, -1]), "matrix", "feat", ["no rotation", "'matrix'"]),
        (np.diag([1.0, 1, 1.1]), "matrix", "feat", ["no rotation"]),
        (np.zeros((3, 3)), "matrix", "feat", ["no rotation"]),
        (np.zeros(4), "quaternion", "feat", ["no rotation", "'quaternion'"]),
        (np.zeros(6), "feat", "aflw", ["'aflw'", "'300w-lp'"]),
        (np.zeros(6), "aflw", "feat", ["'aflw'", "'300w-lp'"]),
        (np.zeros(6), None, "feat", ["Pass source"]),
        (np.array(["a", "b", "c"]), "feat", "img2pose", ["must be real numbers", "<U1"]),
        ([[0.0, 0, 0]], "feat", "img2pose", ["list"]),
        *(
            (data, "feat", "img2pose", ["pose must be real numbers .*, got "])
            for data in (
                torch.zeros(2, 6, dtype=torch.complex64),
                torch.zeros(2, 6, dtype=torch.bool),
                torch.zeros(2, 6).to_sparse(),
                torch.zeros(2, 6, device="meta"),
                torch.empty(2, 6, dtype=torch.bits8),
                np.zeros((2, 6), bool),
                np.zeros((2, 6), complex),
            )
        ),
    ],
)
def test_what_is_no_pose_is_refused(data, source, target, parts):
    with pytest.raises(ConventionError) as caught:
        convert_pose(data, source, target)
    for part in parts:
        assert caught.match(part)


# Tables


@given(conventions, conventions)
def test_a_table_keeps_all_else(source, target):
    table = table_in(source)
    kept = table.copy()
    found = convert_pose(table, source, target, inter_ocular_mm=EYES_MM)
    pd.testing.assert_frame_equal(table, kept)
    pd.testing.assert_index_equal(found.index, table.index)
    assert list(found.columns) == list(table_in(target).columns)
    pd.testing.assert_frame_equal(found[["frame", "note"]], table[["frame", "note"]])
    expected = table_in(target).drop(columns=["frame", "note"])
    if "feat-mp" in (source, target):
        expected = expected.drop(columns=["X", "Y", "Z", *OPENFACE_COLUMNS[:3]], errors="ignore")
    np.testing.assert_allclose(found[expected.columns], expected, atol=1e-7)


def test_columns_stay_in_their_places_where_the_names_do():
    table = pd.DataFrame(
        [[1, 0.1, "a", 0.2, 0.3]], columns=["Yaw", "x_0", "note", " Pitch ", "Roll"]
    )
    found = convert_pose(table, "feat", "img2pose")
    assert list(found.columns) == list(table.columns)
    assert found.iloc[0].tolist() == [-0.3, 0.1, "a", -0.2, 1]


def test_openface_is_read_as_estimate_pose_writes_it(feat_folder):
    table = pd.read_csv(feat_folder / "tests" / "data" / "001.csv")
    block = estimate_pose(table, convention="openface")
    own = convert_pose(block, "openface", "openface")
    assert list(own.columns) == OPENFACE_COLUMNS
    np.testing.assert_array_equal(own[OPENFACE_COLUMNS[3:]], block[["Pitch", "Yaw", "Roll"]])
    np.testing.assert_allclose(convert_pose(own, None, "feat"), estimate_pose(table), atol=1e-6)


@pytest.mark.parametrize(
    "dtypes",
    [["f4"] * 6, ["f2"] * 3 + ["f4"] * 3, ["Float32"] * 6, ["float[pyarrow]"] * 6],
)
def test_float_types_are_kept(dtypes):
    table = table_in("feat").astype(dict(zip(FEAT_FACEPOSE_COLUMNS_6D, dtypes, strict=True)))
    found = convert_pose(table, "feat", "300w-lp")
    assert (found[FEAT_FACEPOSE_COLUMNS_6D].dtypes == np.float32).all()


def test_missing_values_of_any_kind_are_nan_in_their_row():
    table = table_in("feat").astype(dict.fromkeys(FEAT_FACEPOSE_COLUMNS_6D, object))
    table.iloc[1, 1:4] = None
    table.iloc[2, 1:4] = pd.NA
    found = convert_pose(table, "feat", "300w-lp")
    assert found["Pitch"].isna().tolist() == [False, True, True, False]
    expected = convert_pose(table_in("feat"), "feat", "300w-lp")
    pd.testing.assert_frame_equal(found.iloc[[0, 3]], expected.iloc[[0, 3]])


def test_an_empty_table():
    found = convert_pose(table_in("feat").iloc[:0], "feat", "matrix")
    assert found.shape == (0, 14)


def test_a_fex_stays_a_fex_and_keeps_its_tag():
    from feat.data import Fex

    fex = Fex(table_in("feat"), facepose_columns=FEAT_FACEPOSE_COLUMNS_6D, detector="Feat")
    found = convert_pose(fex, "feat", "300w-lp")
    assert isinstance(found, Fex)
    assert found.detector == "Feat"
    assert list(found.poses.columns) == FEAT_FACEPOSE_COLUMNS_6D
    for kept in (
        found.copy(),
        found.iloc[:2],
        found[found["frame"] > 0],
        found.drop(columns="note"),
    ):
        assert kept.attrs["feat_pose"]["convention"] == "300w-lp"
    np.testing.assert_allclose(convert_pose(found, None, "feat").poses, fex.poses)


@pytest.mark.parametrize(
    ("table", "source", "target", "parts"),
    [
        (table_in("feat").drop(columns="Roll"), "feat", "img2pose", ["'feat'", "Pitch, Roll, Yaw"]),
        (table_in("feat"), "quaternion", "feat", ["'quaternion'", "q_w"]),
        (table_in("feat").drop(columns="Y"), "feat", "img2pose", ["0 columns 'Y'"]),
        (table_in("feat").assign(**{" Yaw": 1}), "feat", "img2pose", ["2 columns 'Yaw'"]),
        (table_in("feat").assign(Yaw="left"), "feat", "img2pose", ["'Yaw'", "left"]),
        (table_in("feat").assign(q_w=1), "feat", "quaternion", ["q_w", "Drop or rename"]),
        (
            table_in("feat").join(table_in("openface")[OPENFACE_COLUMNS]),
            "openface",
            "feat",
            ["Drop"],
        ),
        (table_in("feat"), None, "img2pose", ["does not say"]),
        (table_in("feat"), "feat", "aflw", ["'aflw'"]),
    ],
)
def test_tables_without_the_pose_are_refused(table, source, target, parts):
    with pytest.raises(ConventionError) as caught:
        convert_pose(table, source, target)
    for part in parts:
        assert caught.match(part)


# Files


@pytest.fixture
def tables(tmp_path: Path) -> list[Path]:
    """The same pose in convention 300w-lp as CSV and as Parquet, tagged."""
    table = convert_pose(table_in("feat"), "feat", "300w-lp").assign(code="007")
    table.iloc[1, 1:7] = np.nan
    paths = [tmp_path / "in" / "pose.csv", tmp_path / "in" / "pose.parquet"]
    paths[0].parent.mkdir()
    table.to_csv(paths[0], index=False)
    table.to_parquet(paths[1])
    return paths


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("target", ["openface", "mediapipe"])
def test_the_command_converts_files(place, suffix, target, tables, tmp_path):
    source, out = tables[place], tmp_path / f"out{suffix}"
    said = ["--from", "300w-lp"] if source.suffix == ".csv" else []
    result = feat_pose("convert", source, "-o", out, *said, "--to", target, "--inter-ocular-mm", 90)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: 4 rows in {target}\n"
    found = pd.read_csv(out, dtype={"code": str}) if suffix == ".csv" else pd.read_parquet(out)
    before = pd.read_parquet(tables[1])
    expected = convert_pose(before, None, target, inter_ocular_mm=90)
    if source.suffix == ".parquet" and suffix == ".csv":
        expected = expected.reset_index()  # pandas keeps it as a column of the file
        found = found[expected.columns]
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False
    )
    if suffix == ".parquet":
        sealed = expected.attrs["feat_pose"]
        assert found.attrs == {"feat_pose": {**sealed, "seal": None}}
    if suffix == source.suffix == ".parquet":
        pd.testing.assert_index_equal(found.index, before.index)


def test_text_of_a_csv_that_is_not_pose_stays_as_it_is(tmp_path):
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(
        'id, Pitch,Roll,score,Yaw\n007, 90,0,1.10,NA\n008,,0,"a, b",30\n009,0,0,,-45\n'
    )
    result = feat_pose("convert", source, "-o", out, "--from", "feat-0.6", "--to", "feat")
    assert result.exit_code == 0, result.output
    assert out.read_text() == (
        'id, Pitch,Roll,score,Yaw\n007,,,1.10,\n008,,,"a, b",\n009,-0,0,,-0.7853981633974483\n'
    )


def test_what_the_command_refuses(tables, tmp_path):
    csv, parquet = tables
    bad, out = tmp_path / "bad.csv", tmp_path / "out.csv"
    bad.write_text("Pitch,Roll,Yaw\n1,2,left\n")
    for source, target, options, *parts in (
        (csv, out, "--to feat", str(csv), "does not say", "--from"),
        (parquet, out, "--from feat --to img2pose", str(parquet), "'300w-lp'", "'feat'"),
        (csv, out, "--from aflw --to feat", "'aflw'"),
        (csv, out, "--from quaternion --to feat", "q_w"),
        (csv, out, "--from feat", "--to"),
        (bad, out, "--from feat --to img2pose", "'left'"),
        (csv, csv, "--from feat --to img2pose", "--force"),
    ):
        refused(feat_pose("convert", source, "-o", target, *options.split()), 2, *parts)
    assert not out.exists()


def test_what_is_masked_is_missing():
    pose = np.ma.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]], mask=[[0, 1, 0], [0, 0, 0]])
    found = convert_pose(pose, "feat", "300w-lp")
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], convert_pose(pose.data, "feat", "300w-lp")[1])


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.07, 1e150, 1e307])
@pytest.mark.parametrize("source", ["quaternion", "matrix", "mediapipe"])
def test_no_length_of_a_quaternion_or_scale_of_a_matrix_is_too_much(source, scale):
    known = np.array([[0.3, -0.2, 0.1]])
    said = convert_pose(known, "img2pose", source)
    found = convert_pose(scale * said, source, "img2pose")
    np.testing.assert_allclose(found, known, rtol=0, atol=1e-12)
