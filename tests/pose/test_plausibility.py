"""Batches that are not what they are read as."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import faces, table_of
from hypothesis import given, settings
from hypothesis import strategies as st

from feat_pose_plugin import PoseWarning, estimate_pose
from feat_pose_plugin.errors import LandmarkError
from feat_pose_plugin.testing import project_face

SETS = {
    "aflw2000_dev.npz": ("landmarks", "landmarks_reannotated"),
    "pyfeat_paths_dev.npz": ("landmarks_mobilefacenet", "mesh_detectorv2"),
    "turned_faces_dev.npz": ("landmarks_projected", "landmarks_pfld", "landmarks_mobilefacenet"),
    **{
        f"real/{name}.npz": tuple(
            f"landmarks_{detector}"
            for detector in ("dlib", "pfld", "mobilefacenet", "openseeface", "mesh")
        )
        for name in ("aflw", "rend", "p04", "video")
    },
}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p / torch.tensor([1280.0, 720]), "Multiply x by the width and y by the height"),
        (lambda p: p[..., [1, 0]], r"landmarks\[..., \[1, 0\]\]"),
        (lambda p: torch.stack([p[..., 0], 720 - p[..., 1]], dim=-1), "height - y"),
        (lambda p: torch.stack([1280 - p[..., 0], p[..., 1]], dim=-1), "width - x"),
        (lambda p: p.flatten(1), r"reshape\(-1, 68, 2\)"),
    ],
    ids=["normalised", "swapped", "upwards", "a mirror", "in turns"],
)
@pytest.mark.parametrize("number", [1, 300])
def test_certain_mistakes_are_refused_and_the_message_says_how_to_pass_them(spoil, said, number):
    turns = torch.tensor([[0.1, 0.3, 0.05]]) * torch.linspace(0, 1, number)[:, None]
    points = spoil(project_face(turns))
    with pytest.raises(LandmarkError, match=said) as error:
        estimate_pose(points)
    assert len(str(error.value)) < 400
    if points.dim() == 3:
        table = table_of(points)
        with pytest.raises(LandmarkError, match=said):
            estimate_pose(table)


def test_pixels_that_are_called_normalised_are_refused():
    with pytest.raises(LandmarkError, match="they are pixels"):
        estimate_pose(faces(5), frame_size=(720, 1280), normalized=True)


def test_a_normalised_mesh_is_refused(canonical_face):
    mesh = np.concatenate([canonical_face, np.zeros((10, 3))])[None] / 20 + [0.5, 0.5, 0]
    with pytest.raises(LandmarkError, match="normalised"):
        estimate_pose(mesh)


@pytest.mark.parametrize("points", ["another order", "noise"])
def test_points_that_are_no_faces_are_warned_of_once(points):
    random = np.random.default_rng(0)
    wrong = {
        "another order": faces(20)[:, random.permutation(68)],
        "noise": random.random((50, 68, 2)),
    }
    with pytest.warns(PoseWarning, match="do not lie like a face") as found:
        estimate_pose(wrong[points] * 500)
    assert len(found) == 1


def test_a_few_wrong_rows_and_rows_without_a_face_are_nobodys_mistake():
    points = faces(100)
    points[::10] = torch.rand(10, 68, 2) * 500
    points[1::10] = torch.nan
    assert estimate_pose(points)["Yaw"].isna().sum() == 10
    assert estimate_pose(torch.full((5, 68, 2), torch.nan))["Yaw"].isna().all()


@settings(max_examples=200)
@given(
    turn=st.tuples(st.floats(-40, 40), st.floats(-80, 80)),
    tilt=st.floats(-180, 180),
    size=st.floats(0.1, 20),
    place=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
    noise=st.floats(0, 0.03),
    number=st.integers(1, 50),
)
def test_valid_batches_are_neither_refused_nor_warned_of(turn, tilt, size, place, noise, number):
    points = project_face(torch.tensor([[*turn, 0]]).deg2rad().float().expand(number, 3))
    points = points - points.mean(dim=1, keepdim=True)
    noise *= points.norm(dim=-1).max()
    generator = torch.Generator().manual_seed(number)
    points = points + noise * torch.randn(points.shape, generator=generator)
    sine, cosine = math.sin(math.radians(tilt)), math.cos(math.radians(tilt))
    points = points @ torch.tensor([[cosine, sine], [-sine, cosine]])
    estimate_pose(points * size + torch.tensor(place))


@pytest.mark.parametrize("name", SETS)
def test_real_landmarks_all_pass(shared_data: Path, name):
    content = np.load(shared_data / name)
    for key in SETS[name]:
        points = content[key].astype(np.float64)
        if content[key].dtype == np.int16:
            points[points == -32768] = np.nan
            points /= 32
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            estimate_pose(points)
            for row in range(0, len(points), 37):
                estimate_pose(points[row : row + 3])
