"""Is a turn read in full? Faces turned by known angles, each against its own picture at 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.evaluation.estimates import estimate_rotations
from feat_pose_plugin.evaluation.reference import read_arrays
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend
from feat_pose_plugin.pose.landmarks import Landmarks, read_landmarks
from feat_pose_plugin.pose.rotations import geodesic_angle, matrix_to_rotvec, rotvec_to_matrix
from feat_pose_plugin.tables.stream import naming

_KEYS = ["landmarks", "sweep", "face"]
_SWEEP, _FARTHEST_DEG = "yaw", 50  # whose errors are told: beyond, pictures look odd


@dataclass(frozen=True)
class Turns:
    """Pictures of faces that were turned by known angles.

    Attributes:
        face: ``[n]`` whose picture it is.
        sweep: ``[n]`` name of the sweep that the picture belongs to.
        angle_deg: ``[n]`` the turn within the sweep, 0 is the picture it is relative to.
        rotation: ``[n, 3, 3]`` float64 known rotations in img2pose's camera axes, from any zero.
        landmarks: The landmarks of these pictures by each landmark network.
        frame_size: Height and width of the pictures in pixels, if known.
    """

    face: NDArray[np.generic]
    sweep: NDArray[np.generic]
    angle_deg: NDArray[np.generic]
    rotation: Tensor
    landmarks: Mapping[str, Landmarks]
    frame_size: FrameSize | None = None


def read_turns(path: str | Path, landmark_models: Mapping[str, str]) -> Turns:
    """Read turned faces from an NPZ file.

    Args:
        path: An NPZ file with ``face`` [n], ``sweep`` [n], ``angle_deg`` [n],
            ``rotation_vector`` [n, 3] (radians, img2pose's camera axes), landmarks, and, if it
            likes, ``frame_size`` [2] (height, width).
        landmark_models: Which arrays hold landmarks, and what made each.

    Returns:
        The pictures, in the order of the file.

    Raises:
        TableError: The file cannot be read.
        EvaluationError: An array is missing or malformed.
        LandmarkError: An array holds no 68 landmarks.
    """
    path = Path(path)
    rows = {"rotation_vector": (3,), "angle_deg": (), "face": None, "sweep": None}
    with naming(path):
        arrays, size = read_arrays(path, rows | dict.fromkeys(landmark_models), {})
        return Turns(
            face=arrays["face"],
            sweep=arrays["sweep"],
            angle_deg=arrays["angle_deg"],
            rotation=rotvec_to_matrix(torch.from_numpy(arrays["rotation_vector"])),
            landmarks={
                key: read_landmarks(arrays[key], model) for key, model in landmark_models.items()
            },
            frame_size=size,
        )


def turn_gains(backend: str | PoseBackend, turns: Turns) -> pd.DataFrame:
    """How much of a turn is read: ``(r(+t) - r(-t)) / 2t`` about the axis of the turn.

    ``r(t)`` is the rotation vector of ``R(t) @ R(0)^T``, so that neither the zero of the head nor
    that of the backend matters. Axis and size of the turn are those of the known rotations: the
    gain is ``d . D / D . D`` with d the estimated and D the known ``r(+t) - r(-t)``.

    Args:
        backend: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        turns: The pictures. Only angles that a face has either way are used.

    Returns:
        Index ``landmarks, sweep, angle_deg`` (above 0); columns ``gain`` (mean over faces, 1 is
        in full), ``standard_error`` of the mean, and ``faces``: how many have an estimate at
        -t, 0 and +t.

    Raises:
        EvaluationError: A sweep of a face lacks its picture at 0.
        BackendError: The backend is unknown or broke its contract.
    """
    pictures = _relative_turns(backend, turns)
    positive, negative = (
        pictures[sign * pictures["angle_deg"] > 0]
        .assign(angle_deg=lambda part: part["angle_deg"].abs())
        .set_index([*_KEYS, "angle_deg"])
        for sign in (1, -1)
    )
    both = (positive - negative).dropna()
    estimated, known = (both.filter(like=f"{name}_").to_numpy() for name in ("estimated", "known"))
    both["gain"] = (estimated * known).sum(axis=1) / (known**2).sum(axis=1)
    return both.groupby(["landmarks", "sweep", "angle_deg"]).agg(
        gain=("gain", "mean"), standard_error=("gain", "sem"), faces=("gain", "size")
    )


def turn_errors(backend: str | PoseBackend, turns: Turns) -> pd.DataFrame:
    """Mean geodesic error of the relative turn over the sweep ``yaw``, up to 50 degrees either way.

    Args:
        backend: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        turns: The pictures. Those at 0, whose error is 0 by definition, do not count.

    Returns:
        Index ``landmarks``; columns ``geodesic_mean`` (degrees, mean over faces of their mean
        over the sweep), its ``standard_error``, ``faces`` and ``pictures``.

    Raises:
        EvaluationError: There is no such picture, or a sweep of a face lacks that at 0.
        BackendError: The backend is unknown or broke its contract.
    """
    pictures = _relative_turns(backend, turns)
    size = pictures["angle_deg"].abs()
    wanted = (pictures["sweep"] == _SWEEP) & (size > 0) & (size <= _FARTHEST_DEG)
    chosen = pictures[wanted].dropna()
    if chosen.empty:
        known = ", ".join(repr(name) for name in pictures["sweep"].unique())
        raise EvaluationError(
            f"no turn of sweep {_SWEEP!r} up to {_FARTHEST_DEG} degrees can be measured. Sweeps: "
            f"{known}."
        )
    by_face = chosen.groupby(["landmarks", "face"])["geodesic"].agg(["mean", "size"])
    return by_face.groupby("landmarks").agg(
        geodesic_mean=("mean", "mean"),
        standard_error=("mean", "sem"),
        faces=("size", "size"),
        pictures=("size", "sum"),
    )


def _relative_turns(backend: str | PoseBackend, turns: Turns) -> pd.DataFrame:
    """A row for each landmark network and picture: known and estimated turn from that at 0."""
    table = pd.DataFrame(
        {"sweep": turns.sweep, "face": turns.face, "angle_deg": turns.angle_deg.astype(float)}
    )
    at_zero = table[table["angle_deg"] == 0].reset_index(names="at_zero")
    start = table.merge(at_zero.drop(columns="angle_deg"), on=["sweep", "face"], how="left")
    if len(start) != len(table) or start["at_zero"].isna().any():
        raise EvaluationError(
            "each face needs exactly one picture at angle 0 in each of its sweeps; the turn of "
            "its other pictures is measured from there."
        )
    at = torch.tensor(start["at_zero"].to_numpy(np.int64))
    parts = []
    for key, landmarks in turns.landmarks.items():
        rotation = estimate_rotations(backend, landmarks, turns.frame_size)
        known, estimated = (each @ each[at].mT for each in (turns.rotation, rotation))
        part = table.assign(
            landmarks=key, geodesic=geodesic_angle(estimated, known).rad2deg().numpy()
        )
        for name, turn in (("known", known), ("estimated", estimated)):
            columns = [f"{name}_{axis}" for axis in "xyz"]
            part[columns] = matrix_to_rotvec(turn).rad2deg().numpy()
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
