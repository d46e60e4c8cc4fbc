"""Real detectors on real pictures: ours beside what people would use instead, in one run.

Rotations are ``[n, 3, 3]`` float64 in the camera's axes, along the line of sight; NaN where a
method has none. Degrees throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sqpnp import ict_sqpnp, img2pose_sqpnp
from torch import Tensor

from feat_pose_plugin.evaluation.angles import angles_to_matrix, matrix_to_angles
from feat_pose_plugin.evaluation.estimates import estimate_rotations
from feat_pose_plugin.pose.backend import PoseBackend
from feat_pose_plugin.pose.conventions import find_convention
from feat_pose_plugin.pose.landmarks import read_landmarks
from feat_pose_plugin.pose.rotations import matrix_to_rotvec, quaternion_to_rotvec, rotvec_to_matrix

Arrays = dict[str, NDArray[np.generic]]
Rotations = dict[tuple[str, str], Tensor]
"""By method and landmark model."""

OURS, UNNAMED = "ours", "ours, detector not named"
PNP = {"PnP, ICT's face": ict_sqpnp, "PnP, img2pose's face": img2pose_sqpnp}
DETECTORS = ("mobilefacenet", "pfld", "dlib", "openseeface", "mediapipe")
MESH = "mediapipe"
PEERS = {
    "peer_mesh_procrustes": ("rigid fit of the mesh (Procrustes)", MESH),
    "peer_mediapipe_matrix": ("MediaPipe's matrix", MESH),
    "peer_3ddfa_v2": ("3DDFA_V2", "the picture"),
    "peer_fsanet_pitch_yaw_roll": ("FSA-Net", "the picture"),
}
to_degrees = partial(matrix_to_angles, convention="300w-lp")
to_rotations = partial(angles_to_matrix, convention="300w-lp")
# Angle, its size, and the yaw of the head meanwhile, to both sides.
GAINS = {f"yaw {step}": (1, step, 0) for step in (15, 30, 45)}
GAINS |= {f"pitch {step}": (0, step, 0) for step in (10, 20, 30)}
GAINS["pitch 20, yaw 45"] = (0, 20, 45)
_FLIP = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
_PITCHES_DEG = np.linspace(-10, 10, 201)


def read_real(path: Path) -> Arrays:
    """Arrays of a file, landmarks in pixels, NaN where no face was found."""
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    for key in [key for key in arrays if key.startswith("landmarks_")]:
        points = arrays.pop(key).astype(np.float32)
        points[(points == -32768).any(axis=(1, 2))] = np.nan
        arrays[key.replace("mesh", MESH)] = points / 32
    return arrays


def rotations(arrays: Arrays, backend: PoseBackend) -> Rotations:
    """What every method says of the pictures of a file."""
    found: Rotations = {}
    for detector in DETECTORS:
        points = arrays[f"landmarks_{detector}"]
        found[OURS, detector] = estimate_rotations(backend, read_landmarks(points, detector), None)
        if detector != MESH:
            unnamed = read_landmarks(points, "2d")
            found[UNNAMED, detector] = estimate_rotations(backend, unnamed, None)
        size = torch.from_numpy(arrays["frame_width_height"][:, ::-1].astype(np.float32))
        flat = read_landmarks(points[..., :2], detector)
        for method, solver in PNP.items():
            found[method, detector] = estimate_rotations(solver(), flat, size)
    for key, (method, landmarks) in PEERS.items():
        found[method, landmarks] = _peer(arrays[key])
    return found


def _peer(said: NDArray[np.generic]) -> Tensor:
    """Quaternions x y z w in axes x right, y up, z to the camera; or angles of ``300w-lp``."""
    values = torch.from_numpy(said.astype(np.float64))
    if values.shape[1] == 3:
        return to_rotations(values)
    known = values.isfinite().all(dim=1) & (values.abs().sum(dim=1) > 0)
    values[~known] = torch.nan
    return _FLIP[:, None] * rotvec_to_matrix(quaternion_to_rotvec(values[:, [3, 0, 1, 2]])) * _FLIP


def found_by_all(arrays: Arrays) -> NDArray[np.bool_]:
    """Faces that all detectors found."""
    return np.all(
        [np.isfinite(arrays[f"landmarks_{name}"]).all(axis=(1, 2)) for name in DETECTORS], axis=0
    )


def picture_errors(data: Path, backend: PoseBackend) -> pd.DataFrame:
    """Errors on AFLW2000-3D's pictures, and gains on scanned heads, by method and landmarks."""
    arrays = read_real(data / "aflw.npz")
    kept = found_by_all(arrays) & arrays["scored"].astype(bool)
    known = torch.from_numpy(arrays["pitch_yaw_roll"].astype(np.float64))[kept]
    gains = scan_gains(data, backend)
    rows = []
    for (method, landmarks), rotation in rotations(arrays, backend).items():
        # Others have the zero of their own face, and what they say is taken as it is.
        is_ours = method in (OURS, UNNAMED)
        zero = find_convention("300w-lp").zero_turn if is_ours else torch.eye(3).double()
        rotation = rotation[kept] @ zero
        errors = _angle_errors(rotation, known)
        usable = np.isfinite(errors).all(axis=1)
        size = np.abs(errors[usable])
        row: dict[str, object] = {
            "method": method,
            "landmarks": landmarks,
            "faces": int(usable.sum()),
            **dict(zip(("pitch", "yaw", "roll"), size.mean(axis=0), strict=True)),
            "mae": size.mean(),
            "mae, best zero": _with_best_zero(rotation[usable], known[usable]),
        }
        rows.append(row | gains[method, landmarks])
    return pd.DataFrame(rows)


def _angle_errors(rotation: Tensor, known_deg: Tensor) -> NDArray[np.float64]:
    return ((to_degrees(rotation) - known_deg + 180) % 360 - 180).numpy()


def _with_best_zero(rotation: Tensor, known_deg: Tensor) -> float:
    """Mean absolute error with the constant pitch, of the head's own axes, that suits best."""
    turns = Rotation.from_euler("x", _PITCHES_DEG[:, None], degrees=True).as_matrix()
    return min(
        float(np.abs(_angle_errors(rotation @ turn, known_deg)).mean())
        for turn in torch.from_numpy(turns)
    )


def scan_gains(data: Path, backend: PoseBackend) -> dict[tuple[str, str], dict[str, float]]:
    """How much of a turn and of a nod of a scanned head is read, by method and landmarks.

    With ``r(t)`` the rotation vector of ``R(t) R(0)^T``: ``d . D / D . D``, d the estimated and D
    the known ``r(+t) - r(-t)``, the mean over heads and variants that were found at -t, 0 and +t.
    """
    arrays = read_real(data / "rend.npz")
    known_deg = arrays["pitch_yaw_roll"].astype(np.float64).round(3)
    known = to_rotations(torch.from_numpy(known_deg))
    triples = {name: list(_triples(arrays, known_deg, *of)) for name, of in GAINS.items()}
    result: dict[tuple[str, str], dict[str, float]] = {}
    for key, found in rotations(arrays, backend).items():
        result[key] = {
            name: float(np.nanmean([_gain(found, known, rows) for rows in of_heads]))
            for name, of_heads in triples.items()
        }
    return result


def _triples(
    arrays: Arrays, known_deg: NDArray[np.float64], column: int, step: int, yaw: int
) -> Iterator[tuple[int, ...]]:
    """Rows of each head at -step, 0 and +step of one angle, the others 0 or as stated."""
    series = np.char.add(arrays["head"], arrays["variant"].astype(str))
    for one, side in product(np.unique(series), {-yaw, yaw}):
        others = np.delete(known_deg - (0, side, 0), column, axis=1)
        of_head = (np.abs(others) < 0.5).all(axis=1) & (series == one)
        at = [
            np.flatnonzero(of_head & (np.abs(known_deg[:, column] - angle) < 0.5))
            for angle in (-step, 0, step)
        ]
        if all(len(rows) for rows in at):
            yield tuple(int(rows[0]) for rows in at)


def _gain(found: Tensor, known: Tensor, rows: tuple[int, ...]) -> float:
    low, zero, high = rows
    estimated, turned = (
        matrix_to_rotvec(r[high] @ r[zero].mT) - matrix_to_rotvec(r[low] @ r[zero].mT)
        for r in (found, known)
    )
    return float(estimated @ turned / (turned @ turned))


def pitch_zeros(data: Path, backend: PoseBackend) -> pd.DataFrame:
    """Pitch of faces that look at the camera, each method less ours on mobilefacenet."""
    p04, rend = (read_real(data / f"{name}.npz") for name in ("p04", "rend"))
    near = (np.abs(p04["pan"]) <= 15) & (np.abs(p04["tilt"]) <= 15)
    frontal = (np.abs(rend["pitch_yaw_roll"]) < (15, 35, 5)).all(axis=1)
    columns = {
        "Pointing'04": _less_first(rotations(p04, backend), near, p04["person"]),
        "scanned heads": _less_first(rotations(rend, backend), frontal, rend["head"]),
    }
    table = pd.DataFrame(columns).rename_axis(["method", "landmarks"]).reset_index()
    return table[table["method"] != UNNAMED]


def _less_first(
    found: Rotations, rows: NDArray[np.bool_], groups: NDArray[np.generic]
) -> dict[tuple[str, str], float]:
    """Mean over groups of the mean difference of pitch; + looks further up."""
    first = to_degrees(found[OURS, DETECTORS[0]])[:, 0].numpy()
    result = {}
    for key, rotation in found.items():
        apart = (to_degrees(rotation)[:, 0].numpy() - first)[rows]
        result[key] = pd.Series(apart).groupby(groups[rows]).mean().mean()
    return result


def video(data: Path, backend: PoseBackend) -> pd.DataFrame:
    """Jitter and the effect of an open mouth on video, by method and landmarks.

    Jitter is the root mean square of the second difference over time divided by sqrt(6): noise of
    1 degree in every frame gives 1. Mouth: in each clip pitch is fitted as ``a + b p + c m`` with
    ``p`` the mean pitch of 3DDFA_V2 and MediaPipe's matrix, ``m`` the opening of the mouth; it is
    ``c`` times the opening from the 5th to the 95th percentile, the mean of its size over clips.
    """
    arrays = read_real(data / "video.npz")
    found = rotations(arrays, backend)
    judges = [found[PEERS[key]] for key in ("peer_3ddfa_v2", "peer_mediapipe_matrix")]
    theirs = np.mean([to_degrees(judge)[:, 0].numpy() for judge in judges], axis=0)
    rows = []
    for (method, landmarks), rotation in found.items():
        if method == UNNAMED:
            continue
        angles = to_degrees(rotation).numpy()
        row: dict[str, object] = {"method": method, "landmarks": landmarks}
        row["jitter"] = np.mean([_jitter(angles[of]) for of in _clips(arrays)])
        if landmarks in DETECTORS:
            opening = _opening(arrays, landmarks)
            row["mouth"] = np.mean(
                [_mouth(angles[of, 0], theirs[of], opening[of]) for of in _clips(arrays)]
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _clips(arrays: Arrays) -> Iterator[NDArray[np.intp]]:
    for clip in np.unique(arrays["clip"]):
        rows = np.flatnonzero(arrays["clip"] == clip)
        yield rows[np.argsort(arrays["frame"][rows])]


def _jitter(angles: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.nanmean(np.diff(angles, n=2, axis=0) ** 2, axis=0) / 6).mean())


def _opening(arrays: Arrays, detector: str) -> NDArray[np.float64]:
    """Distance of the inner lips over that of the outer eye corners."""
    points = read_landmarks(arrays[f"landmarks_{detector}"], detector).points.double().numpy()
    lips, eyes = (
        np.linalg.norm(points[:, one] - points[:, other], axis=1)
        for one, other in ((62, 66), (36, 45))
    )
    opening: NDArray[np.float64] = lips / eyes
    return opening


def _mouth(*series: NDArray[np.float64]) -> float:
    pitch, theirs, opening = np.array(series)[:, np.isfinite(series).all(axis=0)]
    model = np.stack([np.ones_like(theirs), theirs, opening], axis=1)
    slope = np.linalg.lstsq(model, pitch, rcond=None)[0][2]
    return float(abs(slope) * np.ptp(np.percentile(opening, (5, 95))))
