"""The error of a backend in figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from feat_pose_plugin.errors import EvaluationError
from feat_pose_plugin.evaluation.angles import Angles, angles_of
from feat_pose_plugin.evaluation.bootstrap import DRAWS, bootstrap
from feat_pose_plugin.evaluation.calibration import HeadZero, head_zero
from feat_pose_plugin.evaluation.estimates import measure
from feat_pose_plugin.evaluation.reference import Reference, with_noise
from feat_pose_plugin.pose.backend import PoseBackend, Provenance
from feat_pose_plugin.pose.registry import find_pose_backend
from feat_pose_plugin.pose.rotations import geodesic_angle

INTERVAL = 0.95
YAW_RANGES = ((0, 30), (30, 60), (60, 90))


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Angles are degrees and those of ``convention``: Euler angles for ``300w-lp``, components of
    the rotation vector for ``feat`` and ``img2pose``. The error of an angle is the plain
    difference, estimated less reference, wrapped to +-180; 180 degrees count as 180.

    Attributes:
        provenance: Which method and weights.
        reference: The reference set.
        convention: In which the angles are.
        landmark_model: As asked for.
        left_out: How many faces are not measured, for which reason; each counts once.
        constant: One rotation of the head's zero, ``R_reference = R_estimated @ C``.
        fitted_on: On which faces, in words.
        figures: A row for each stage (``as estimated``: every measured face; ``as estimated,
            rest`` and ``constant removed, rest``: the faces that the constant was not fitted on)
            and range of the reference's |yaw| (``all``, ``0-30``, ``30-60``, ``60-90``; a bound
            belongs to the range above it). Columns ``faces``, the mean absolute error of each
            axis, their mean ``mae``, ``geodesic_mean``, ``geodesic_median``, and for each its 95 %
            interval (``*_low``, ``*_high``) by bootstrap over faces, the constant held.
        faces: A row for each measured face, index its row in the reference: the three angles
            ``*_reference`` and ``*_estimated``, their ``*_error``, ``geodesic_error``, the same
            errors ``*_constant_removed``, and ``fitted``: whether the constant was fitted on it.
        draws: How often faces were drawn.
        seed: Of the draws.
    """

    provenance: Provenance
    reference: str
    convention: str
    landmark_model: str
    left_out: dict[str, int]
    constant: HeadZero
    fitted_on: str
    figures: pd.DataFrame
    faces: pd.DataFrame
    draws: int
    seed: int

    def to_string(self) -> str:
        """The figures as text, intervals in brackets."""
        table = pd.DataFrame({"faces": self.figures["faces"]})
        for name in _figure_names(angles_of(self.convention).names):
            columns = [name, f"{name}_low", f"{name}_high"]
            table[name.replace("_", " ")] = [
                f"{value:.2f} [{low:.2f}, {high:.2f}]" if math.isfinite(value) else ""
                for value, low, high in self.figures[columns].to_numpy()
            ]
        stages = [
            f"{stage}\n{part.droplevel('stage').to_string()}\n"
            for stage, part in table.groupby(level="stage", sort=False)
        ]
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return "\n".join(
            [
                f"{self.provenance.name} on {self.reference}, landmark type {self.landmark_model}",
                f"{len(self.faces)} faces measured; left out: {left_out}",
                f"Mean absolute and geodesic errors in degrees, angles of {self.convention!r}, "
                f"{INTERVAL:.0%} intervals of {self.draws} draws of faces (seed {self.seed})",
                "",
                *stages,
                f"The constant, fitted on {self.fitted_on}:",
                self.constant.to_string(),
            ]
        )

    def to_json(self) -> str:
        """The figures and everything needed to repeat them; not the single faces."""
        return json.dumps(
            {
                "backend": {
                    "name": self.provenance.name,
                    "licence": self.provenance.licence,
                    "weights": {
                        landmark_model: {"file": file.path.name, "sha256": file.sha256}
                        for landmark_model, file in self.provenance.weights.items()
                    },
                },
                "reference": self.reference,
                "convention": self.convention,
                "landmark_model": self.landmark_model,
                "unit": "degree",
                "faces": len(self.faces),
                "left_out": self.left_out,
                "constant": {
                    **self.constant.to_dict(),
                    "side": "R_reference = R_estimated @ C",
                    "fitted_on": self.fitted_on,
                },
                "intervals": {
                    "level": INTERVAL,
                    "draws": self.draws,
                    "seed": self.seed,
                },
                "figures": json.loads(
                    self.figures.reset_index().to_json(orient="records", double_precision=6)
                ),
            },
            indent=2,
        )


def evaluate(
    backend: str | PoseBackend,
    reference: Reference,
    *,
    landmark_model: str,
    fit_on: float = 0.2,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Measure a backend against faces with a known pose.

    Left out, and counted: faces without usable landmarks, without a reference, with one of the
    three reference angles beyond 99 degrees (as papers do on AFLW2000-3D), and without an
    estimate.

    Args:
        backend: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        reference: Faces with a known pose.
        landmark_model: ``"2d"``, ``"3d"`` or ``"auto"``, as in
            :func:`~feat_pose_plugin.estimate_pose`.
        fit_on: On how many of the measured faces, from the first, the constant rotation is
            fitted; below 1 their share. Where the reference has groups, whole groups are taken.
        draws: How often faces are drawn for the intervals.
        seed: Of the draws.

    Returns:
        The figures.

    Raises:
        EvaluationError: No face can be measured, or ``fit_on`` leaves none on one side.
        UnknownBackendError: The name is unknown.
        BackendError: The backend broke its contract.
    """
    backend = find_pose_backend(backend)
    measured = measure(backend, reference, landmark_model)
    groups = None if reference.groups is None else reference.groups[measured.rows]
    fitted, fitted_on = _fitting_part(fit_on, len(measured.rows), groups)
    rows = torch.from_numpy(measured.rows)
    angles = angles_of(reference.convention)
    estimated = measured.estimated @ angles.convention.zero_turn
    known = reference.rotation[rows]
    constant = head_zero(
        estimated[fitted],
        known[fitted],
        groups=None if groups is None else groups[fitted],
        draws=draws,
        seed=seed,
    )
    known_deg = reference.angles_deg[rows]
    straight, removed = (
        _errors(angles, rotation, known, known_deg)
        for rotation in (estimated, estimated @ constant.rotation)
    )
    faces = pd.concat(
        [
            pd.DataFrame(known_deg.numpy(), columns=angles.names).add_suffix("_reference"),
            pd.DataFrame(angles.from_matrix(estimated).numpy(), columns=angles.names).add_suffix(
                "_estimated"
            ),
            straight.add_suffix("_error"),
            removed.add_suffix("_error_constant_removed"),
        ],
        axis=1,
    )
    faces["fitted"] = fitted
    return Evaluation(
        provenance=backend.provenance,
        reference=reference.name,
        convention=reference.convention,
        landmark_model=landmark_model,
        left_out=measured.left_out,
        constant=constant,
        fitted_on=fitted_on,
        figures=_tabulate(straight, removed, fitted, known_deg[:, 1], groups, draws, seed),
        faces=faces.set_index(measured.rows),
        draws=draws,
        seed=seed,
    )


def evaluate_with_noise(
    backend: str | PoseBackend,
    reference: Reference,
    *,
    landmark_model: str,
    percents: Sequence[float] = (0, 1, 2, 4),
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """The figures of all faces, as estimated, with noise on the landmarks.

    Args:
        backend: As in :func:`evaluate`.
        reference: As in :func:`evaluate`.
        landmark_model: As in :func:`evaluate`.
        percents: Standard deviations of the noise of each coordinate, in percent of the distance
            of the outer eye corners.
        draws: How often faces are drawn for the intervals.
        seed: Of the noise and the draws.

    Returns:
        A row for each of ``percents``, columns as :attr:`Evaluation.figures`.

    Raises:
        EvaluationError: As in :func:`evaluate`.
        BackendError: As in :func:`evaluate`.
    """
    rows = {
        percent: evaluate(
            backend,
            with_noise(reference, percent, seed=seed),
            landmark_model=landmark_model,
            draws=draws,
            seed=seed,
        ).figures.loc[("as estimated", "all")]
        for percent in percents
    }
    return pd.DataFrame(rows).T.rename_axis("noise_percent").astype({"faces": int})


def _fitting_part(
    fit_on: float, faces: int, groups: NDArray[np.generic] | None
) -> tuple[NDArray[np.bool_], str]:
    """Which of the measured faces the constant is fitted on, and that in words."""
    first = round(fit_on * faces if fit_on < 1 else fit_on)
    fitted = np.arange(faces) < first
    words = f"the first {first} measured faces"
    if groups is not None:
        fitted = np.isin(groups, groups[fitted])
        words += f" and those of their groups, {fitted.sum()} in all"
    if fitted.all() or not fitted.any():
        raise EvaluationError(
            f"fit_on={fit_on!r} takes {words}, of {faces}; at least one must be fitted on and one "
            "be left to measure."
        )
    return fitted, words


def _errors(angles: Angles, rotation: Tensor, known: Tensor, known_deg: Tensor) -> pd.DataFrame:
    """The error of each angle, wrapped to +-180, and the geodesic one, in degrees."""
    wrapped = (angles.from_matrix(rotation) - known_deg + 180) % 360 - 180
    errors = pd.DataFrame(wrapped.numpy(), columns=angles.names)
    errors["geodesic"] = geodesic_angle(rotation, known).rad2deg().numpy()
    return errors


def _tabulate(
    straight: pd.DataFrame,
    removed: pd.DataFrame,
    fitted: NDArray[np.bool_],
    yaw: Tensor,
    groups: NDArray[np.generic] | None,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """:attr:`Evaluation.figures`."""
    every = np.ones_like(fitted)
    stages = {
        "as estimated": (straight, every),
        "as estimated, rest": (straight, ~fitted),
        "constant removed, rest": (removed, ~fitted),
    }
    size = yaw.abs().numpy()
    ranges = {"all": every} | {
        f"{low}-{high}": (size >= low) & (size < high) for low, high in YAW_RANGES
    }
    cells = {
        (stage, name): _figures(errors, part & within, groups, draws, seed)
        for stage, (errors, part) in stages.items()
        for name, within in ranges.items()
    }
    index = pd.MultiIndex.from_tuples(cells, names=["stage", "yaw_range"])
    return pd.DataFrame(cells.values(), index=index)


def _figures(
    errors: pd.DataFrame,
    part: NDArray[np.bool_],
    groups: NDArray[np.generic] | None,
    draws: int,
    seed: int,
) -> dict[str, float]:
    """Figures and intervals of some of the faces; NaN of none."""
    names = _figure_names(errors.columns[:3])
    absolute = errors[part].abs().to_numpy()
    if not len(absolute):
        value = low = high = np.full(len(names), np.nan)
    else:
        value = _summarise(absolute)
        within = None if groups is None else groups[part]
        drawn = bootstrap(_summarise, absolute, groups=within, draws=draws, seed=seed)
        low, high = np.quantile(drawn, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], axis=0)
    figures: dict[str, float] = {"faces": len(absolute)}
    for name, *numbers in zip(names, value, low, high, strict=True):
        figures |= dict(zip((name, f"{name}_low", f"{name}_high"), numbers, strict=True))
    return figures


def _figure_names(axes: Iterable[str]) -> list[str]:
    return [*axes, "mae", "geodesic_mean", "geodesic_median"]


def _summarise(absolute: NDArray[np.float64]) -> NDArray[np.float64]:
    axes = absolute[:, :3].mean(axis=0)
    geodesic = absolute[:, 3]
    return np.array([*axes, axes.mean(), geodesic.mean(), np.median(geodesic)])
