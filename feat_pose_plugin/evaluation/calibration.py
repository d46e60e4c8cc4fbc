"""The constant turn between two zeros of the head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.evaluation.angles import matrix_to_angles
from feat_pose_plugin.evaluation.estimates import measure
from feat_pose_plugin.evaluation.figures import Numbers, bootstrap
from feat_pose_plugin.evaluation.reference import Reference
from feat_pose_plugin.pose.backend import PoseBackend
from feat_pose_plugin.pose.rotations import matrix_to_rotvec, rotvec_to_matrix

Vector = tuple[float, float, float]

_PITCHES_DEG = np.linspace(-15, 15, 601)


@dataclass(frozen=True)
class HeadZero:
    """A constant rotation ``C`` of the head's own axes, ``R_reference = R_estimated @ C``.

    Attributes:
        rotation_vector_deg: C about x (the subject's left), y (down through the chin) and z (out
            of the back of the head), degrees.
        standard_error_deg: Of each component, by bootstrap.
        spread_deg: Mean absolute rotation vector that is left around C.
        faces: How many faces it was fitted on.
    """

    rotation_vector_deg: Vector
    standard_error_deg: Vector
    spread_deg: Vector
    faces: int

    @property
    def rotation(self) -> Tensor:
        """``[3, 3]`` float64 rotation matrix of C."""
        degrees = torch.tensor(self.rotation_vector_deg, dtype=torch.float64)
        return rotvec_to_matrix(degrees.deg2rad())


def head_zero(
    estimated: Tensor, reference: Tensor, *, groups: NDArray[np.generic] | None = None
) -> HeadZero:
    """Fit the constant rotation between two zeros of the head.

    C is where the three components of the rotation vectors of ``C^T R_estimated^T R_reference``
    have median zero: of all constants the one that leaves the smallest mean absolute component,
    and one that up to half of the faces cannot carry away.

    Args:
        estimated: ``[n, 3, 3]`` float64 rotations.
        reference: ``[n, 3, 3]`` float64 rotations of the same faces in the same camera axes.
        groups: ``[n]`` values; faces with equal ones (frames of one video) are drawn together.

    Returns:
        The constant. Rows with NaN are not counted.

    Raises:
        EvaluationError: No face has both rotations.
    """
    apart = estimated.mT @ reference
    known = apart.isfinite().flatten(1).all(dim=1)
    apart = apart[known]
    if not len(apart):
        raise EvaluationError(f"none of {len(known)} faces has both rotations.")
    median = partial(np.median, axis=0)
    zero = torch.from_numpy(Rotation.from_matrix(apart.numpy()).mean().as_matrix())
    rest = matrix_to_rotvec(zero.mT @ apart).numpy()
    for _ in range(20):  # each step leaves a small part of the one before
        zero = zero @ rotvec_to_matrix(torch.from_numpy(median(rest)))
        rest = matrix_to_rotvec(zero.mT @ apart).numpy()
    medians = bootstrap(median, rest, None if groups is None else groups[known.numpy()])
    return HeadZero(
        rotation_vector_deg=_degrees(matrix_to_rotvec(zero).numpy()),
        standard_error_deg=_degrees(medians.std(axis=0, ddof=1)),
        spread_deg=_degrees(np.abs(rest).mean(axis=0)),
        faces=len(rest),
    )


@dataclass(frozen=True)
class Calibration:
    """The constant between two zeros of the head, as a whole turn and as pitch alone.

    The constants of :mod:`feat_pose_plugin.pose.conventions` are pitch alone: faces are symmetric.

    Attributes:
        turn: The whole turn.
        pitch_deg: The turn about x alone that leaves the smallest mean absolute error of the
            angles, degrees, in steps of 0.05; + lowers the face.
        pitch_standard_error_deg: By bootstrap.
        mae_deg: Mean absolute error over the three angles that is left by that pitch.
    """

    turn: HeadZero
    pitch_deg: float
    pitch_standard_error_deg: float
    mae_deg: float

    def to_string(self) -> str:
        """The turn, a line for each axis, and the pitch."""
        turn = self.turn
        columns = (turn.rotation_vector_deg, turn.standard_error_deg, turn.spread_deg)
        lines = [
            f"{axis}  {value:+7.2f} +- {error:.2f}   (mean absolute rest {spread:.2f})\n"
            for axis, value, error, spread in zip("xyz", *columns, strict=True)
        ]
        return (
            f"R_reference = R_estimated @ C, degrees, {turn.faces} faces\n{''.join(lines)}"
            f"Pitch alone: {self.pitch_deg:+.2f} +- {self.pitch_standard_error_deg:.2f}, "
            f"which leaves a mean absolute error of {self.mae_deg:.2f} over the three angles."
        )


def calibrate(
    backend: str | PoseBackend, reference: Reference, *, landmark_model: str
) -> Calibration:
    """Measure the constant from a backend's zero of the head to that of a reference.

    It is measured from what the backend emits (convention ``img2pose``) to the reference as
    published, so that it does not depend on the constants in
    :mod:`feat_pose_plugin.pose.conventions`, which are set from it.

    Args:
        backend: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        reference: Faces with a known pose.
        landmark_model: What made the landmarks, as in :func:`~feat_pose_plugin.estimate_pose`.

    Returns:
        The constant C, ``R_reference = R_estimated @ C`` in img2pose's camera axes.

    Raises:
        EvaluationError: No face can be measured.
        BackendError: The backend is unknown or broke its contract.
    """
    measured = measure(backend, reference, landmark_model)
    errors = []
    for pitch in np.deg2rad(_PITCHES_DEG):
        zero = rotvec_to_matrix(torch.tensor([pitch, 0.0, 0.0], dtype=torch.float64))
        found = matrix_to_angles(measured.estimated @ zero, reference.convention)
        apart = found - measured.known_deg
        errors.append(((apart + 180) % 360 - 180).abs().mean(dim=1).numpy())

    def best(by_pitch: Numbers) -> Numbers:
        return _PITCHES_DEG[[by_pitch.mean(axis=0).argmin()]]

    by_pitch = np.stack(errors, axis=1)  # [n, pitches]
    return Calibration(
        turn=head_zero(measured.estimated, measured.known, groups=measured.groups),
        pitch_deg=float(best(by_pitch)[0]),
        pitch_standard_error_deg=float(bootstrap(best, by_pitch, measured.groups).std(ddof=1)),
        mae_deg=float(by_pitch.mean(axis=0).min()),
    )


def _degrees(radians: NDArray[np.float64]) -> Vector:
    x, y, z = np.rad2deg(radians).tolist()
    return x, y, z
