"""`PoseError` against the true error, across halves of the faces, measured for `accuracy.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from real_detectors import DETECTORS, read_real, to_rotations
from scipy.optimize import minimize
from scipy.stats import spearmanr

from feat_pose_plugin.evaluation.estimates import estimate_rotations
from feat_pose_plugin.pose.backend import PoseBackend
from feat_pose_plugin.pose.conventions import find_convention
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.pose.landmarks import read_landmarks
from feat_pose_plugin.pose.quality import error_predictors, fit_reference_face
from feat_pose_plugin.pose.reference_face import load_reference_face
from feat_pose_plugin.pose.rotations import geodesic_angle

Floats = NDArray[np.float64]
HALVES = 6
_RIDGE = 2e-3  # keeps five numbers steady on 400 faces


def expected_errors(data: Path, backend: PoseBackend) -> pd.DataFrame:
    """What is said of one half by numbers fitted on the other: rank, and said / true by fifths.

    Each of :data:`HALVES` random halves is fitted and judged once. Fifths are of the faces by what
    is said, from the smallest to the largest.
    """
    rows = []
    for name, points, known_deg in _faces(data):
        predictors, error = _judged(backend, name, points, known_deg)
        ranks, fifths = [], []
        for seed in range(HALVES):
            half = np.random.default_rng(seed).permutation(len(error)) % 2
            for fitted in (0, 1):
                numbers = fit_error_model(predictors[half == fitted], error[half == fitted])
                said, true = np.exp(predictors[half != fitted] @ numbers), error[half != fitted]
                ranks.append(spearmanr(said, true).statistic)
                order = np.array_split(np.argsort(said), 5)
                fifths.append([(said[rows].mean(), true[rows].mean()) for rows in order])
        mean = np.mean(fifths, axis=0)
        ratio = np.divide(*np.moveaxis(np.array(fifths), 2, 0))
        row: dict[str, object] = {"landmark model": name, "faces": len(error)}
        row |= {"rank": np.mean(ranks), "rank, lowest": min(ranks)}
        row |= {f"fifth {n}": f"{said:.1f} / {true:.1f}" for n, (said, true) in enumerate(mean, 1)}
        row |= {"said / true, lowest": ratio.min(), "said / true, highest": ratio.max()}
        rows.append(row)
    return pd.DataFrame(rows)


def fit_error_model(predictors: Floats, error: Floats) -> Floats:
    """``[5]`` numbers with the largest likelihood if errors are exponential around their mean.

    That makes the mean of what is said that of the errors, whatever their distribution.
    """
    middle, spread = predictors.mean(axis=0), predictors.std(axis=0)
    middle[0], spread[0] = 0, 1
    unit = (predictors - middle) / spread

    def loss(numbers: Floats) -> float:
        said = unit @ numbers
        ridge = _RIDGE * (numbers[1:] ** 2).sum()
        return float((said + error * np.exp(-said)).mean() + ridge)

    start = np.array([np.log(error.mean()), 0, 0, 0, 0])
    numbers: Floats = minimize(loss, start, method="BFGS").x / spread
    numbers[0] -= (numbers[1:] * middle[1:]).sum()
    return numbers


def _faces(data: Path) -> Iterator[tuple[str, NDArray[np.generic], NDArray[np.generic]]]:
    """Landmark model, landmarks and known angles of ``300w-lp``."""
    arrays = read_real(data / "real" / "aflw.npz")
    scored = arrays["scored"].astype(bool)
    for detector in DETECTORS:
        points = arrays[f"landmarks_{detector}"]
        found = scored & np.isfinite(points).all(axis=(1, 2))
        yield detector, points[found], arrays["pitch_yaw_roll"][found]
    with np.load(data / "aflw2000_dev.npz") as file:
        yield "3d", file["landmarks_reannotated"], file["pitch_yaw_roll_deg"]


def _judged(
    backend: PoseBackend, name: str, points: NDArray[np.generic], known_deg: NDArray[np.generic]
) -> tuple[Floats, Floats]:
    """``[n, 5]`` predictors and ``[n]`` true geodesic errors in degrees."""
    model, landmarks = find_landmark_model(name), read_landmarks(points, name)
    rotation = estimate_rotations(backend, landmarks, None)
    face = load_reference_face(model, landmarks.points.device)
    _, still, _ = fit_reference_face(landmarks.points[..., :2], rotation.float(), face)
    known = to_rotations(torch.from_numpy(known_deg.astype(np.float64)))
    error = geodesic_angle(rotation @ find_convention("300w-lp").zero_turn, known).rad2deg()
    return error_predictors(still.double(), rotation).numpy(), error.numpy()
