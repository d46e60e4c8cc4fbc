"""The constant turn between two zeros of the head."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.evaluation.angles import angles_of
from feat_pose_plugin.evaluation.bootstrap import DRAWS, bootstrap
from feat_pose_plugin.evaluation.estimates import measure
from feat_pose_plugin.evaluation.reference import Reference
from feat_pose_plugin.pose.backend import PoseBackend
from feat_pose_plugin.pose.rotations import matrix_to_rotvec, mean_rotation, rotvec_to_matrix

Vector = tuple[float, float, float]


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

    def to_dict(self) -> dict[str, object]:
        """The attributes, ready for JSON."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    def to_string(self) -> str:
        """One line for each axis."""
        lines = [
            f"{axis}  {value:+7.2f} +- {error:.2f}   (mean absolute rest {spread:.2f})"
            for axis, value, error, spread in zip(
                "xyz",
                self.rotation_vector_deg,
                self.standard_error_deg,
                self.spread_deg,
                strict=True,
            )
        ]
        head = f"R_reference = R_estimated @ C, degrees, {self.faces} faces"
        return "\n".join([head, *lines])


def head_zero(
    estimated: Tensor,
    reference: Tensor,
    *,
    groups: NDArray[np.generic] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> HeadZero:
    """Fit the constant rotation between two zeros of the head.

    C is where the three components of the rotation vectors of ``C^T R_estimated^T R_reference``
    have median zero: of all constants the one that leaves the smallest mean absolute component,
    and one that up to half of the faces cannot carry away.

    Args:
        estimated: ``[n, 3, 3]`` float64 rotations.
        reference: ``[n, 3, 3]`` float64 rotations of the same faces in the same camera axes.
        groups: ``[n]`` values; faces with equal ones (frames of one video) are drawn together.
        draws: How often faces are drawn for the standard errors.
        seed: Of the draws.

    Returns:
        The constant. Rows with NaN are not counted.

    Raises:
        EvaluationError: The rotations do not pair up, or none is known on both sides.
    """
    if estimated.shape != reference.shape or estimated.shape[1:] != (3, 3):
        raise EvaluationError(
            f"head_zero needs two sets of [n, 3, 3] rotations, got {list(estimated.shape)} and "
            f"{list(reference.shape)}."
        )
    apart = estimated.mT @ reference
    known = apart.isfinite().flatten(1).all(dim=1)
    apart = apart[known]
    if not len(apart):
        raise EvaluationError(f"none of {len(known)} faces has both rotations.")
    zero = mean_rotation(apart)
    rest = matrix_to_rotvec(zero.mT @ apart).numpy()
    for _ in range(20):  # each step leaves a small part of the one before
        zero = zero @ rotvec_to_matrix(torch.from_numpy(_median(rest)))
        rest = matrix_to_rotvec(zero.mT @ apart).numpy()
    kept_groups = None if groups is None else groups[known.numpy()]
    medians = bootstrap(_median, rest, groups=kept_groups, draws=draws, seed=seed)
    return HeadZero(
        rotation_vector_deg=_degrees(matrix_to_rotvec(zero).numpy()),
        standard_error_deg=_degrees(medians.std(axis=0, ddof=1)),
        spread_deg=_degrees(np.abs(rest).mean(axis=0)),
        faces=len(rest),
    )


@dataclass(frozen=True)
class PitchZero:
    """The turn of the head's zero about x alone that leaves the smallest error of the angles.

    Attributes:
        pitch_deg: The turn, degrees; + lowers the face.
        standard_error_deg: By bootstrap.
        mae_deg: Mean absolute error over the three angles that is left.
    """

    pitch_deg: float
    standard_error_deg: float
    mae_deg: float


_PITCHES_DEG = np.linspace(-15, 15, 601)


def pitch_zero(
    estimated: Tensor,
    reference: Reference,
    rows: NDArray[np.int64],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> PitchZero:
    """Fit the pitch between two zeros of the head to the angles of the reference's convention.

    Args:
        estimated: ``[n, 3, 3]`` float64 rotations in img2pose's camera axes.
        reference: Faces with a known pose.
        rows: ``[n]`` which of its faces were estimated.
        draws: How often faces are drawn for the standard error.
        seed: Of the draws.

    Returns:
        The pitch with the smallest mean absolute error, in steps of 0.05 degrees.
    """
    angles = angles_of(reference.convention)
    known = reference.angles_deg[torch.from_numpy(rows)]
    errors = []
    for pitch in np.deg2rad(_PITCHES_DEG):
        zero = rotvec_to_matrix(torch.tensor([pitch, 0.0, 0.0], dtype=torch.float64))
        wrapped = (angles.from_matrix(estimated @ zero) - known + 180) % 360 - 180
        errors.append(wrapped.abs().mean(dim=1).numpy())
    of_faces = np.stack(errors, axis=1)  # [n, pitches]
    groups = None if reference.groups is None else reference.groups[rows]
    drawn = bootstrap(
        lambda faces: _PITCHES_DEG[[faces.mean(axis=0).argmin()]],
        of_faces,
        groups=groups,
        draws=draws,
        seed=seed,
    )
    mean = of_faces.mean(axis=0)
    return PitchZero(
        pitch_deg=float(_PITCHES_DEG[mean.argmin()]),
        standard_error_deg=float(drawn.std(ddof=1)),
        mae_deg=float(mean.min()),
    )


@dataclass(frozen=True)
class Calibration:
    """The constant between two zeros of the head, as a whole turn and as pitch alone.

    The constants of :mod:`feat_pose_plugin.pose.conventions` are pitch alone: faces are symmetric.
    """

    turn: HeadZero
    pitch: PitchZero

    def to_string(self) -> str:
        """The turn, a line for each axis, and the pitch."""
        pitch = self.pitch
        return (
            f"{self.turn.to_string()}\n"
            f"Pitch alone: {pitch.pitch_deg:+.2f} +- {pitch.standard_error_deg:.2f}, which leaves "
            f"a mean absolute error of {pitch.mae_deg:.2f} over the three angles."
        )


def calibrate(
    backend: str | PoseBackend,
    reference: Reference,
    *,
    landmark_model: str,
    draws: int = DRAWS,
    seed: int = 0,
) -> Calibration:
    """Measure the constant from a backend's zero of the head to that of a reference.

    It is measured from what the backend emits (convention ``img2pose``) to the reference as
    published, so that it does not depend on the constants in
    :mod:`feat_pose_plugin.pose.conventions`, which are set from it.

    Args:
        backend: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        reference: Faces with a known pose.
        landmark_model: ``"2d"``, ``"3d"`` or ``"auto"``, as in
            :func:`~feat_pose_plugin.estimate_pose`.
        draws: How often faces are drawn for the standard errors.
        seed: Of the draws.

    Returns:
        The constant C, ``R_reference = R_estimated @ C`` in img2pose's camera axes.

    Raises:
        EvaluationError: No face can be measured.
        BackendError: The backend is unknown or broke its contract.
    """
    measured = measure(backend, reference, landmark_model)
    groups = None if reference.groups is None else reference.groups[measured.rows]
    known = reference.rotation[torch.from_numpy(measured.rows)]
    return Calibration(
        turn=head_zero(measured.estimated, known, groups=groups, draws=draws, seed=seed),
        pitch=pitch_zero(measured.estimated, reference, measured.rows, draws=draws, seed=seed),
    )


def _median(rest: NDArray[np.float64]) -> NDArray[np.float64]:
    median: NDArray[np.float64] = np.median(rest, axis=0)
    return median


def _degrees(radians: NDArray[np.float64]) -> Vector:
    x, y, z = np.rad2deg(radians).tolist()
    return x, y, z
