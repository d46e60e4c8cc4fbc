"""Translation, frames of rotation and the quality columns, measured for `accuracy.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from scipy.stats import mannwhitneyu
from sqpnp import solve_pnp
from torch import Tensor

from feat_pose_plugin import convert_pose
from feat_pose_plugin.mlp.weights import feat_folder
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend
from feat_pose_plugin.pose.camera import find_camera, line_of_sight
from feat_pose_plugin.pose.estimate import PoseEstimator
from feat_pose_plugin.pose.landmark_models import LandmarkKind, find_landmark_model
from feat_pose_plugin.pose.landmarks import outer_eye_distance, read_landmarks, usable_rows
from feat_pose_plugin.pose.quality import (
    FLAGS_COLUMN,
    LEAST_EYES,
    RESIDUAL_COLUMN,
    fit_reference_face,
)
from feat_pose_plugin.pose.reference_face import load_reference_face
from feat_pose_plugin.pose.rotations import geodesic_angle, rotvec_to_matrix
from feat_pose_plugin.training.mean_face import read_img2pose_face

TRANSLATION = ["X", "Y", "Z"]
JAW, MOUTH = slice(17), slice(48, 68)


# Translation


def translation_errors(path: Path, backend: PoseBackend) -> pd.DataFrame:
    """Mean absolute error of X, Y, Z on AFLW2000-3D, against three solvers' answers to one PnP."""
    with np.load(path) as file:
        size = tuple(file["frame_size"].tolist())
        landmarks = {key: file[key] for key in ("landmarks", "landmarks_reannotated")}
    estimate = PoseEstimator(backend=backend, landmark_model="3d")
    found = {key: estimate(points, frame_size=size) for key, points in landmarks.items()}
    face = read_img2pose_face().numpy()
    rows = []
    for solver, known in _pnp_by_solver(landmarks["landmarks"], face, size).items():
        for key, pose in found.items():
            error = np.abs(pose[TRANSLATION].to_numpy() - known).mean(axis=0)
            row = {"network": "3d", "landmarks": key, "target solved by": solver}
            rows.append(row | dict(zip(TRANSLATION, error, strict=True)) | {"mean": error.mean()})
    return pd.DataFrame(rows)


def _pnp_by_solver(points: np.ndarray, face: np.ndarray, size: FrameSize) -> dict[str, np.ndarray]:
    """``[n, 3]`` translations by each solver."""
    solvers = {
        "EPnP, as img2pose does": (cv2.SOLVEPNP_EPNP, False),
        "SQPnP": (cv2.SOLVEPNP_SQPNP, False),
        "SQPnP, refined": (cv2.SOLVEPNP_SQPNP, True),
    }
    return {
        name: np.array([solve_pnp(face, each, size, *solver)[1] for each in points])
        for name, solver in solvers.items()
    }


# Frames of rotation

WIDE_FRAME = (1080, 1920)
MOVED_HEADS_DEG = {
    "frontal": (0, 0, 0),
    "up": (-20, 0, 0),
    "down": (20, 0, 0),
    "to a side": (0, 30, 0),
    "far to a side": (0, 60, 0),
    "tilted": (0, 0, 20),
    "all three": (15, -40, 10),
}
_DISTANCE = 10.0  # units of the reference face: 258 pixels from eye to eye


def moved_heads(backend: PoseBackend) -> pd.DataFrame:
    """What becomes of the answer when a head is moved over a wide frame and does not turn."""
    height, width = WIDE_FRAME
    camera = find_camera((height, width))
    face = load_reference_face(find_landmark_model("3d"), torch.device("cpu"))
    rows = []
    for name, degrees in MOVED_HEADS_DEG.items():
        rotation = rotvec_to_matrix(torch.tensor([degrees]).deg2rad())
        points = seen_over_the_frame(face, rotation, camera)
        answers = {
            frame: rotvec_to_matrix(_rotvec(backend, points, frame))
            for frame in ("camera", "line_of_sight")
        }
        # The first place is the middle of the frame.
        change = {
            frame: geodesic_angle(answer, answer[:1]).rad2deg() for frame, answer in answers.items()
        }
        ray = geodesic_angle(line_of_sight(points.mean(dim=1), camera), torch.eye(3)).rad2deg()
        rows.append(
            {
                "network": "3d",
                "head": name,
                "camera, mean": change["camera"].mean().item(),
                "camera, largest": change["camera"].max().item(),
                "line of sight, largest": change["line_of_sight"].max().item(),
                "largest ray": ray.max().item(),
            }
        )
    return pd.DataFrame(rows)


def seen_over_the_frame(face: Tensor, rotation: Tensor, camera: Tensor) -> Tensor:
    """``[n, 68, 2]`` pixels of a head in the middle of the frame, and over all of it."""
    focal, middle = camera[0], camera[1:]
    grid = torch.cartesian_prod(torch.linspace(-1, 1, 9), torch.linspace(-1, 1, 7)) * middle
    places = torch.cat([torch.zeros(1, 2), grid]) / focal * _DISTANCE
    centre = torch.nn.functional.pad(places, (0, 1), value=_DISTANCE)
    points = (face - face.mean(dim=0)) @ rotation.mT + centre[:, None]
    return points[..., :2] / points[..., 2:] * focal + middle


def _rotvec(backend: PoseBackend, points: Tensor, frame: str) -> Tensor:
    estimate = PoseEstimator(backend=backend, landmark_model="3d", rotation_frame=frame)
    angles = estimate(points, frame_size=WIDE_FRAME).iloc[:, :3].to_numpy()
    return convert_pose(torch.tensor(angles), "feat", "rotvec")


# Trust


def residual_ranks(data: Path, backend: PoseBackend) -> pd.DataFrame:
    """How well the residual tells corrupted landmarks from those they were made of."""
    with np.load(data / "aflw2000_dev.npz") as aflw, np.load(data / "turned_faces_dev.npz") as turn:
        sets: list[tuple[str, LandmarkKind, np.ndarray]] = [
            ("AFLW2000-3D, landmarks", "3d", aflw["landmarks"]),
            ("AFLW2000-3D, landmarks_reannotated", "3d", aflw["landmarks_reannotated"]),
            ("turned faces, landmarks_pfld", "2d", turn["landmarks_pfld"]),
            ("turned faces, landmarks_mobilefacenet", "2d", turn["landmarks_mobilefacenet"]),
        ]
    rows = []
    for name, network, points in sets:
        good = torch.from_numpy(points).float()
        estimate = PoseEstimator(backend=backend, landmark_model=network, quality=True)
        clean = estimate(good)[RESIDUAL_COLUMN].to_numpy()
        for corruption, bad in corruptions(good):
            quality = estimate(bad)
            residual = quality[RESIDUAL_COLUMN].to_numpy()
            rows.append(
                {
                    "data": name,
                    "network": network,
                    "what went wrong": corruption,
                    # Share of pairs in which the bad face has the larger residual.
                    "AUROC": mannwhitneyu(residual, clean).statistic / len(clean) ** 2,
                    "flagged, percent": 100 * (quality[FLAGS_COLUMN] != "").mean(),
                }
            )
    return pd.DataFrame(rows)


def corruptions(points: Tensor) -> Iterator[tuple[str, Tensor]]:
    """``[n, 68, 2]`` landmarks gone wrong, by what went wrong."""
    generator = torch.Generator().manual_seed(0)
    unit = outer_eye_distance(points)[:, None, None]
    for percent in (3, 5, 10):
        noise = torch.randn(points.shape, generator=generator)
        yield f"noise of {percent} %", points + percent / 100 * unit * noise
    for name, group in (("mouth", MOUTH), ("jaw", JAW)):
        for percent in (10, 20, 30):
            angle = 2 * torch.pi * torch.rand(len(points), 1, generator=generator)
            way = torch.stack([angle.cos(), angle.sin()], dim=2)
            moved = points.clone()
            moved[:, group] += percent / 100 * unit * way
            yield f"{name} displaced by {percent} %", moved
    other = _laid_on(points[torch.randperm(len(points), generator=generator)], points)
    half = torch.rand(68, generator=generator) < 0.5
    for name, taken in (("mouth", MOUTH), ("jaw", JAW), ("half of all points", half)):
        mixed = points.clone()
        mixed[:, taken] = other[:, taken]
        yield f"{name} of another face", mixed


def _laid_on(points: Tensor, target: Tensor) -> Tensor:
    """Faces with the middle and the size of other faces."""
    middle, middle_there = (each.mean(dim=1, keepdim=True) for each in (points, target))
    size, size_there = (
        (each - each.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2), keepdim=True).sqrt()
        for each in (points, target)
    )
    return (points - middle) / size * size_there + middle_there


def flag_shares(data: Path, backend: PoseBackend) -> pd.DataFrame:
    """Share of real faces that are flagged, in percent."""
    rows = []
    for name, network, points, size in _real_faces(data):
        estimate = PoseEstimator(backend=backend, landmark_model=network, quality=True)
        quality = estimate(points, frame_size=size)
        flags = quality[FLAGS_COLUMN]
        row: dict[str, object] = {
            "data": name,
            "network": network,
            "faces": len(points),
            "median residual": quality[RESIDUAL_COLUMN].median(),
            "any": 100 * (flags != "").mean(),
        }
        for reason in ("residual", "yaw", "eyes", "out_of_frame"):
            row[reason] = 100 * flags.str.split(";").map(lambda named, r=reason: r in named).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def _real_faces(data: Path) -> Iterator[tuple[str, LandmarkKind, Tensor, FrameSize | None]]:
    with np.load(data / "aflw2000_dev.npz") as file:
        size = tuple(file["frame_size"].tolist())
        for key in ("landmarks", "landmarks_reannotated"):
            yield f"AFLW2000-3D, {key}", "3d", torch.from_numpy(file[key]).float(), size
    with np.load(data / "turned_faces_dev.npz") as file:
        size = tuple(file["frame_size"].tolist())
        for key in ("landmarks_pfld", "landmarks_mobilefacenet"):
            yield f"turned faces, {key}", "2d", torch.from_numpy(file[key]).float(), size
    feat = feat_folder()
    assert feat is not None
    videos = [
        *(data / f"{name}.csv" for name in ("video_single_face", "video_face_noface")),
        data / "pyfeat_pose_mlp_v2_dev.csv",
        *(feat / "tests" / "data" / name for name in ("001.csv", "002.csv")),
    ]
    for path in videos:
        points = read_landmarks(pd.read_csv(path)).points
        yield f"video, {path.name}", "2d", points[usable_rows(points)], None


def eyes_limit(points: Tensor, name: str, backend: PoseBackend) -> dict[str, float]:
    """Where the limit of the flag ``eyes`` lies among training faces."""
    model = find_landmark_model(name)
    rotation = rotvec_to_matrix(backend.estimate(points, landmark_model=model)[:, :3])
    face = load_reference_face(model, points.device)
    *_, eyes = fit_reference_face(points[..., :2], rotation, face)
    limit = LEAST_EYES[model.kind]
    return {"limit": limit, "share above it": (eyes > limit).float().mean().item()}
