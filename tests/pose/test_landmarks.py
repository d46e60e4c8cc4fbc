"""Sixty-eight landmarks out of every layout, and what is said about anything else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from fakes import meshes_of, table_of
from scipy.spatial.transform import Rotation

from feat_pose_plugin.errors import LandmarkError
from feat_pose_plugin.pose import landmark_models
from feat_pose_plugin.pose.landmark_models import (
    LandmarkModel,
    find_landmark_model,
    register_landmark_model,
)
from feat_pose_plugin.pose.landmarks import (
    MIRROR_68,
    Landmarks,
    landmark_columns,
    read_landmarks,
    usable_rows,
)
from feat_pose_plugin.pose.meshes import MESH_VERTICES_68
from feat_pose_plugin.testing import FACE_68, project_face

COUNT = 6


@pytest.fixture
def faces() -> np.ndarray:
    """``[6, 68, 2]`` float32 landmarks of turned heads."""
    rotvec = torch.linspace(-0.5, 0.5, 3 * COUNT).reshape(COUNT, 3)
    return project_face(rotvec).numpy()


@pytest.fixture
def meshes(canonical_face) -> np.ndarray:
    """``[6, 478, 3]`` float32 pixels: MediaPipe's canonical face, turned, with irises."""
    turns = np.linspace(-0.6, 0.6, 3 * COUNT).reshape(COUNT, 3)
    return meshes_of(canonical_face, Rotation.from_rotvec(turns))


CROP = 700.0  # pixels a side


def detectorv2_table(meshes: np.ndarray, block_vertices: list[int]) -> pd.DataFrame:
    """As py-feat writes it: depth in shares of the crop, whose side is the width of the box."""
    block = table_of(meshes[:, block_vertices, :2]).assign(FaceRectWidth=CROP)
    return pd.concat([block, table_of(meshes / [1, 1, CROP], "mesh_")], axis=1)


def kinds(read: Landmarks) -> list[str]:
    return [read.models[number].kind for number in read.which.tolist()]


# The tables of vertices


def test_mirror_table_maps_a_symmetric_face_onto_itself():
    mirrored = FACE_68[list(MIRROR_68)] * torch.tensor([-1.0, 1, 1])
    assert torch.equal(mirrored, FACE_68)
    mirror = np.array(MIRROR_68)
    np.testing.assert_array_equal(mirror[mirror], np.arange(68))


def test_mesh_vertices_lie_where_the_landmarks_of_a_mean_face_do(canonical_face):
    chosen = canonical_face[list(MESH_VERTICES_68)]
    np.testing.assert_allclose(chosen[list(MIRROR_68)] * [-1, 1, 1], chosen, atol=1e-5)
    face = FACE_68.numpy()
    chosen, face = chosen - chosen.mean(axis=0), face - face.mean(axis=0)
    rotation, _ = Rotation.align_vectors(face, chosen)
    scale = np.linalg.norm(face) / np.linalg.norm(chosen)
    away = np.linalg.norm(face - scale * rotation.apply(chosen), axis=1)
    assert away.max() < 1.6  # cm; two faces of different shape, 10 cm between the eyes
    assert away.mean() < 0.7


# Layouts


def test_every_layout_of_68_points_is_the_same(faces):
    table = table_of(faces)
    openface = table.rename(columns=lambda name: f" {name}")
    openface.insert(0, "frame", range(COUNT))
    openface[" confidence"] = 0.9
    flat = faces.transpose(0, 2, 1).reshape(COUNT, 136)
    for source in (
        torch.from_numpy(faces),
        torch.from_numpy(flat),
        faces,
        flat,
        table,
        table[table.columns[::-1]],
        table.astype(np.float64),
        table.astype(object),
        table.assign(input="video.mp4", FaceScore=1.0),
        openface,
    ):
        read = read_landmarks(source)
        assert kinds(read) == ["2d"] * COUNT
        np.testing.assert_array_equal(read.points, faces)
    deep = read_landmarks(np.concatenate([faces, np.full((COUNT, 68, 1), 7, np.float32)], axis=2))
    assert kinds(deep) == ["3d"] * COUNT
    np.testing.assert_array_equal(deep.points, faces)
    assert deep.depth is None


def test_every_layout_of_a_mesh_is_the_same(meshes, block_vertices):
    vertices = meshes[:, list(MESH_VERTICES_68), :2]
    depth = meshes[:, list(MESH_VERTICES_68), 2]
    first = read_landmarks(meshes).points
    np.testing.assert_array_equal(first[:, 17:], vertices[:, 17:])
    for source, model, kind in (
        (torch.from_numpy(meshes), "mediapipe", "mesh"),
        (torch.from_numpy(meshes[:, :468]), "mediapipe", "mesh"),
        (torch.from_numpy(meshes[..., :2]), "mediapipe", "3d"),
        (meshes * [1, 1, 0], "mediapipe", "3d"),
        (table_of(meshes), "mediapipe", "mesh"),
        (table_of(meshes[:, :468, :2]), "mediapipe", "3d"),
        (detectorv2_table(meshes, block_vertices), "detectorv2", "mesh"),
        (detectorv2_table(meshes, block_vertices).iloc[:, ::-1], "detectorv2", "mesh"),
    ):
        read = read_landmarks(source)
        assert {each.name for each in read.models} == {model}
        assert set(kinds(read)) == {kind}
        np.testing.assert_allclose(read.points, first, rtol=1e-6)
        if kind == "mesh":
            np.testing.assert_allclose(read.depth[:, 17:], depth[:, 17:], rtol=1e-4, atol=1e-3)


def test_depth_is_brought_to_pixels(meshes, block_vertices):
    expected = read_landmarks(meshes).depth
    detectorv2 = detectorv2_table(meshes, block_vertices)
    mpdetector = table_of(meshes / [1, 1, CROP / 256]).assign(FaceRectWidth=CROP)
    for table in (detectorv2, mpdetector):
        np.testing.assert_allclose(read_landmarks(table).depth, expected, rtol=1e-4, atol=1e-3)
    # Without the box, what is usual for a face of this size.
    side = 1.6 * np.ptp(meshes[:, list(MESH_VERTICES_68), :2], axis=1).max(axis=1)
    shares = meshes / np.stack([side / side, side / side, side], axis=1)[:, None]
    for source in (shares, table_of(shares, "mesh_")):
        found = read_landmarks(source, "detectorv2").depth
        np.testing.assert_allclose(found, expected, rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("turn_deg", [(0, 0, 0), (50, 0, 0), (-30, 25, 0), (20, -20, 40)])
def test_the_jaw_of_a_mesh_is_set_back_in_the_head(turn_deg, canonical_face):
    """The points are those of a head whose jaw lies further back, from wherever it is seen."""
    face = canonical_face[list(MESH_VERTICES_68)]
    back = face[[0, 16]].mean(axis=0) - face[27]
    assert back[2] > 6  # cm; z points away from the camera
    share = np.array([1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
    face[:17] += 0.3 * np.concatenate([share, share[7::-1]])[:, None] * back
    turn = Rotation.from_euler("YXZ", turn_deg, degrees=True)
    read = read_landmarks(turn.apply(canonical_face)[None, :, :2])
    np.testing.assert_allclose(read.points[0], turn.apply(face)[:, :2], atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "Int64", "Float64", "object", "double[pyarrow]"])
def test_empty_cells_of_any_dtype_are_rows_without_a_face(dtype, faces):
    table = table_of(faces.round()).astype(dtype)
    table.loc[2, "y_40"] = {"object": None, "float32": np.nan}.get(dtype, pd.NA)
    points = read_landmarks(table).points
    assert points.isnan().nonzero().tolist() == [[2, 40, 1]]
    np.testing.assert_array_equal(points[3:], faces[3:].round())
    assert usable_rows(points).tolist() == [True, True, False, True, True, True]


TEXTS = {
    "str": str,
    "object": object,
    "category": "category",
    "string": "string",
    "arrow string": pd.ArrowDtype(pa.string()),
    "arrow large_string": pd.ArrowDtype(pa.large_string()),
}


def test_a_table_of_mixed_precision_keeps_the_higher_one(faces):
    exact = faces.astype(np.float64) + 1e6 + 1 / 3  # float32 has sixteenths there
    table = table_of(exact).astype({"x_0": np.float32})
    read = read_landmarks(table).points
    assert read.dtype == torch.float64
    np.testing.assert_array_equal(read[:, 1:], exact[:, 1:])


@pytest.mark.parametrize("dtype", TEXTS)
@pytest.mark.parametrize("missing", ["", "NA", "-nan(ind)", "1.#QNAN", "None", "<NA>", "#N/A", " "])
def test_numbers_saved_as_text_are_numbers_and_marks_are_missing(dtype, missing, faces):
    whole = faces.round()
    table = table_of(whole).astype(str)
    table.loc[2, "y_40"] = missing
    points = read_landmarks(table.astype(TEXTS[dtype])).points
    assert points.isnan().nonzero().tolist() == [[2, 40, 1]]
    whole[2, 40, 1] = np.nan
    np.testing.assert_array_equal(points, whole)


@pytest.mark.parametrize("dtype", TEXTS)
def test_text_among_numbers_is_named_with_row_and_column(dtype, faces):
    table = table_of(faces).astype(str)
    table.loc[3, "y_40"] = "lost" * 200
    with pytest.raises(LandmarkError, match="row 3 of column 'y_40' holds 'lostlost"):
        read_landmarks(table.astype(TEXTS[dtype]))
    with pytest.raises(LandmarkError, match=r"row 3 \(index 'd'\) of column 'y_40' holds 'lost"):
        read_landmarks(table.astype(TEXTS[dtype]).set_axis(list("abcdef")))


TENSORS = [torch.uint8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64]
ARRAYS = ["u1", "u2", "i2", "i8", "f2", "f4", "f8", ">f4", ">i4", "g"]


@pytest.mark.parametrize("dtype", [*TENSORS, *ARRAYS], ids=str)
def test_real_numbers_of_any_dtype(dtype, faces):
    whole = faces.clip(0, 255)
    kind = isinstance(dtype, torch.dtype)
    source = torch.from_numpy(whole).to(dtype) if kind else whole.astype(dtype)
    read = read_landmarks(source)
    exact = dtype in (torch.float64, "f8", "g")
    assert read.points.dtype == (torch.float64 if exact else torch.float32)
    known = source.double() if kind else source
    np.testing.assert_array_equal(read.points, known)


def test_openseefaces_points_are_brought_to_the_usual_order(faces):
    usual = faces.copy()
    usual[:, [60, 64]] = usual[:, [48, 54]]  # it has each corner of the mouth once
    order = [*range(48), *range(49, 54), *range(55, 60), 48, 61, 62, 63, 54, 65, 66, 67]
    own, other = faces[:, order], faces[:, :1]
    filled = np.concatenate([own[:, :60], other, own[:, 60:63], other, own[:, 63:]], axis=1)
    for source in (own, filled, usual, table_of(filled)):
        np.testing.assert_array_equal(read_landmarks(source, "openseeface").points, usual)
    assert not np.array_equal(read_landmarks(filled).points, usual)


def test_memory_layout_does_not_matter(faces):
    strided = np.asfortranarray(faces)
    np.testing.assert_array_equal(read_landmarks(strided).points, faces)
    np.testing.assert_array_equal(read_landmarks(faces[::-1]).points, faces[::-1])
    tensor = torch.from_numpy(faces).permute(2, 1, 0).contiguous().permute(2, 1, 0)
    np.testing.assert_array_equal(read_landmarks(tensor).points, faces)
    lazy = torch.complex(tensor, -tensor).conj().imag  # negated when it is read
    np.testing.assert_array_equal(read_landmarks(lazy).points, faces)
    faces.setflags(write=False)
    np.testing.assert_array_equal(read_landmarks(faces).points, faces)


def test_source_is_left_alone_and_no_gradient_is_kept(faces, block_vertices, meshes):
    for array in (faces, meshes, meshes[:, block_vertices]):
        tensor = torch.from_numpy(array.copy()).requires_grad_()
        read = read_landmarks(tensor)
        assert not read.points.requires_grad
        np.testing.assert_array_equal(tensor.detach(), array)


@pytest.mark.parametrize("shape", [(0, 68, 2), (0, 68, 3), (0, 136), (0, 468, 2), (0, 478, 3)])
def test_no_rows(shape):
    tables = [table_of(np.empty(shape))] if len(shape) == 3 and shape[1:] != (68, 3) else []
    for source in (torch.empty(shape), np.empty(shape), *tables):
        read = read_landmarks(source)
        assert read.points.shape == (0, 68, 2)
        assert read.which.shape == (0,)


@pytest.mark.parametrize("huge", [1e39, np.inf, -np.inf])
def test_numbers_beyond_float32_are_rows_without_a_face(huge, faces):
    double = faces.astype(np.float64)
    double[1, 10, 0] = huge
    for source in (double, torch.from_numpy(double), table_of(double)):
        usable = usable_rows(read_landmarks(source).points)
        assert usable.tolist() == [True, False, True, True, True, True]


# Usable rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_usable_rows_have_finite_points_and_two_eyes(faces, dtype):
    points = torch.from_numpy(np.concatenate([faces, faces[:2]])).to(dtype)
    points[1, 67, 1] = torch.nan
    points[2, 0, 0] = torch.inf
    points[3, 36] = points[3, 45]
    points[4] = torch.nan
    points[5] = 0
    points[6, 36, 1] = 2.0**64
    assert usable_rows(points).tolist() == [True, *[False] * 6, True]
    assert usable_rows(points[:0]).shape == (0,)


# Landmark types


# Detectorv2's 68-point block


@pytest.mark.parametrize("yaw", range(-60, 61, 20))
@pytest.mark.parametrize("pitch", [-30, 0, 30])
def test_detectorv2_block_is_recognised_and_its_jaw_respaced_and_set_back(
    yaw, pitch, canonical_face, block_vertices
):
    turn = Rotation.from_euler("YX", [yaw, pitch], degrees=True)
    block = (turn.apply(canonical_face)[block_vertices, :2] * 20 + 500).astype(np.float32)
    for source in (block[None], table_of(block[None])):
        read = read_landmarks(source)
        assert set(kinds(read)) == {"3d"}
        points = read.points[0].numpy()
        np.testing.assert_array_equal(points[17:], block[17:])
        # As for a mesh, the jaw is set back in the head. The temples (points 0 and 16) move with
        # it, and their middle to the nose goes with them.
        share = np.array([1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
        share = 0.45 * np.concatenate([share, share[7::-1]])[:, None]
        nose = block[27]
        back = (points[[0, 16]].mean(axis=0) - nose) / 1.45
        points[:17] -= share * back
        # Ear, chin (vertex 152) and ear stay; the chin becomes point 8.
        np.testing.assert_allclose(points[[0, 8, 16]], block[[0, 10, 16]], atol=1e-3)
        # Eight equal arcs a side; a straight step is at most the arc it spans.
        for side, arc in ((points[:9], block[:11]), (points[8:17], block[10:17])):
            step = np.linalg.norm(np.diff(arc, axis=0), axis=1).sum() / 8
            straight = np.linalg.norm(np.diff(side, axis=0), axis=1)
            assert straight.max() <= step * 1.0001
            assert np.median(straight) > 0.98 * step


def test_blocks_and_other_rows_may_be_mixed(faces, meshes, canonical_face, block_vertices):
    block = (canonical_face[None, block_vertices, :2] * 20 + 500).astype(np.float32)
    missing = np.full_like(block, np.nan)
    said = read_landmarks(block, "2d")
    assert kinds(said) == ["2d"]
    assert kinds(read_landmarks(meshes, "3d")) == ["3d"] * COUNT
    mixed = read_landmarks(np.concatenate([block, faces, missing, block]))
    assert torch.equal(said.points, mixed.points[:1])
    assert kinds(mixed) == ["3d", *["2d"] * (COUNT + 1), "3d"]
    np.testing.assert_array_equal(mixed.points[1 : COUNT + 1], faces)
    assert mixed.points[COUNT + 1].isnan().all()


def test_real_landmarks_are_never_mistaken_for_a_block(shared_data, feat_folder):
    with np.load(shared_data / "pyfeat_paths_dev.npz") as paths:
        for name in ("landmarks_detectorv2_block", "mesh_detectorv2"):
            assert set(kinds(read_landmarks(paths[name]))) == {"3d"}
    sources = []
    for name, keys in {
        "pyfeat_paths_dev.npz": ["landmarks_mobilefacenet"],
        "aflw2000_dev.npz": ["landmarks", "landmarks_reannotated"],
        "turned_faces_dev.npz": [
            "landmarks_projected",
            "landmarks_pfld",
            "landmarks_mobilefacenet",
        ],
    }.items():
        with np.load(shared_data / name) as data:
            sources += [data[key] for key in keys]
    for name in (
        "pyfeat_pose_mlp_v2_dev.csv",
        "video_single_face.csv",
        "video_face_noface.csv",
        "image_faces.csv",
    ):
        sources.append(pd.read_csv(shared_data / name))
    for name in ("001.csv", "002.csv", "OpenFace_Test.csv"):
        sources.append(pd.read_csv(feat_folder / "tests" / "data" / name))
    for source in sources:
        read = read_landmarks(source)
        assert len(read.points) == len(source)
        assert usable_rows(read.points).any()
        assert set(kinds(read)) == {"2d"}


# Bad input


@pytest.mark.parametrize(
    "shape",
    [(67, 2), (136,), (3, 68), (3, 68, 4), (3, 67, 2), (3, 5, 2), (3, 469, 3), (1, 1, 68, 2), ()],
)
def test_wrong_shape_is_repeated_and_the_right_ones_named(shape):
    for source in (torch.zeros(shape), np.zeros(shape)):
        with pytest.raises(LandmarkError) as caught:
            read_landmarks(source)
        message = str(caught.value)
        assert str(list(shape)) in message
        assert "[B, 68, 2]" in message
        assert "[B, 478, 2|3]" in message
        assert "[B, 136]" in message


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (torch.zeros(1, 68, 2, dtype=torch.bool), "torch.bool"),
        (torch.zeros(1, 68, 2, dtype=torch.complex64), "torch.complex64"),
        (torch.zeros(1, 68, 2).to_sparse(), "sparse"),
        (torch.zeros(1, 68, 2, device="meta"), "meta"),
        (torch.zeros(1, 68, 2).to_mkldnn(), "mkldnn"),
        (np.zeros((1, 68, 2), bool), "bool"),
        (np.zeros((1, 68, 2), complex), "complex128"),
        (np.zeros((1, 68, 2), object), "object"),
        (np.zeros((1, 68, 2), "U3"), "<U3"),
        (np.zeros((1, 68, 2), "M8[s]"), "datetime64"),
    ],
)
def test_points_that_are_not_real_numbers(source, named):
    with pytest.raises(LandmarkError, match=f"real numbers.*{named}"):
        read_landmarks(source)


def test_the_landmark_model_of_a_table_follows_from_it(faces):
    openface = table_of(faces).rename(columns=lambda name: f" {name}")
    openface[[" confidence", " success", " pose_Tx"]] = 0.9
    fex = table_of(faces)
    object.__setattr__(fex, "landmark_model", "PFLD")
    strange = table_of(faces)
    object.__setattr__(strange, "landmark_model", "nobody knows")
    for table, name in ((openface, "openface"), (fex, "pfld"), (strange, "2d")):
        (model,) = read_landmarks(table).models
        assert model.name == name
        assert read_landmarks(table, "Dlib").models[0].name == "dlib"


def test_a_landmark_model_can_be_registered(faces, monkeypatch):
    monkeypatch.setattr(landmark_models, "_PROFILES", dict(landmark_models._PROFILES))
    mine = LandmarkModel("Mine", "3d", pitch_zero_deg=2.0)
    register_landmark_model(mine)
    assert find_landmark_model("mine") is mine
    assert read_landmarks(faces, "MINE").models == (mine,)
    for taken in (mine, LandmarkModel("DLIB", "2d"), LandmarkModel("Auto", "2d")):
        with pytest.raises(LandmarkError, match=f"{taken.name!r} cannot be registered"):
            register_landmark_model(taken)


@pytest.mark.parametrize("landmark_model", ["mesh", "", None, 3])
def test_unknown_landmark_model(landmark_model, faces):
    with pytest.raises(LandmarkError, match=f"unknown landmark_model {landmark_model!r}.*Known"):
        read_landmarks(faces, landmark_model)


@pytest.mark.parametrize("count", [29, 51, 70, 81, 98, 106, 194])
def test_table_of_another_number_of_points_is_refused_with_it(count, faces):
    more = np.concatenate([faces, np.full((COUNT, 200, 2), 300, np.float32)], axis=1)[:, :count]
    names = [f"{axis}_{point}" for axis in "xy" for point in range(count)]
    table = pd.DataFrame(more.transpose(0, 2, 1).reshape(COUNT, -1), columns=names)
    with pytest.raises(LandmarkError, match=f"the table has {count} points") as raised:
        read_landmarks(table)
    assert ("drop the others" in str(raised.value)) == (count > 68)
    assert len(str(raised.value)) < 400
    if count > 68:
        kept = table[landmark_columns()]
        np.testing.assert_array_equal(read_landmarks(kept).points, faces)


def test_a_table_without_all_landmarks_is_told_what_is_missing(faces, meshes):
    points, mesh, mesh_of_v2 = table_of(faces), table_of(meshes), table_of(meshes, "mesh_")
    for table, message in (
        (pd.DataFrame({"frame": [0], "AU01": [1]}), r"no landmark.*'frame', 'AU01'.*x_0\.\.x_67"),
        (pd.DataFrame(), "0 columns are none"),
        (points.drop(columns=["x_3", "y_60"]), r"only part.*2 of the 136.*'x_3', 'y_60'"),
        (mesh.drop(columns=["x_454"]), r"only part.*'x_454'"),
        (mesh_of_v2.drop(columns=["mesh_y_152"]), r"only part.*'mesh_y_152'"),
        (pd.concat([points, points[["x_5"]]], axis=1), "more than once: 'x_5'"),
        (points.assign(**{" x_5": 0.0}), "more than once: 'x_5'"),
    ):
        with pytest.raises(LandmarkError, match=message):
            read_landmarks(table)
    more = points.assign(note="text")  # other columns may be anything
    more = pd.concat([more, more[["note"]]], axis=1)
    more[7] = 0
    np.testing.assert_array_equal(read_landmarks(more).points, faces)
