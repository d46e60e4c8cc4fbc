"""The error of a backend in figures, with intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feat_pose_plugin.evaluation.angles import angle_names, matrix_to_angles
from feat_pose_plugin.evaluation.estimates import measure
from feat_pose_plugin.evaluation.reference import Reference
from feat_pose_plugin.pose.backend import PoseBackend, Provenance
from feat_pose_plugin.pose.conventions import find_convention
from feat_pose_plugin.pose.registry import find_pose_backend
from feat_pose_plugin.pose.rotations import geodesic_angle

Numbers = NDArray[np.float64]

DRAWS = 1000
SEED = 0
YAW_RANGES = ((0, 30), (30, 60), (60, 90))
_INTERVAL = 0.95
_FIGURES = ("mae", "geodesic_mean", "geodesic_median")


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Angles are degrees and those of ``convention``. The error of an angle is the plain difference,
    estimated less reference, wrapped to +-180; 180 degrees count as 180.

    Attributes:
        provenance: Which method and weights.
        reference: The reference set.
        convention: In which the angles are.
        landmark_model: As asked for.
        left_out: How many faces are not measured, for which reason; each counts once.
        figures: A row for each range of the reference's |yaw| (``all``, ``0-30``, ``30-60``,
            ``60-90``; a bound belongs to the range above it). Columns ``faces``, the mean absolute
            error of each axis, their mean ``mae``, ``geodesic_mean``, ``geodesic_median``, and for
            each its 95 % interval (``*_low``, ``*_high``) by bootstrap over faces.
        faces: A row for each measured face, index its row in the reference: the three angles
            ``*_reference`` and ``*_estimated``, their ``*_error``, and ``geodesic_error``.
    """

    provenance: Provenance
    reference: str
    convention: str
    landmark_model: str
    left_out: dict[str, int]
    figures: pd.DataFrame
    faces: pd.DataFrame

    def to_string(self) -> str:
        """The figures as text, intervals in brackets."""
        table = self.figures[["faces"]].copy()
        for name in (*angle_names(self.convention), *_FIGURES):
            columns = [name, f"{name}_low", f"{name}_high"]
            table[name.replace("_", " ")] = [
                f"{value:.2f} [{low:.2f}, {high:.2f}]" if math.isfinite(value) else ""
                for value, low, high in self.figures[columns].to_numpy()
            ]
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return (
            f"{self.provenance.name} on {self.reference}, landmark model {self.landmark_model}\n"
            f"{len(self.faces)} faces measured; left out: {left_out}\n"
            f"Mean absolute and geodesic errors in degrees, angles of {self.convention!r}, "
            f"{_INTERVAL:.0%} intervals of {DRAWS} draws of faces (seed {SEED})\n\n"
            + table.to_string()
        )

    def to_json(self) -> str:
        """The figures and everything needed to repeat them; not the single faces."""
        weights = {
            kind: {"file": file.path.name, "sha256": file.sha256}
            for kind, file in self.provenance.weights.items()
        }
        figures = self.figures.reset_index().to_json(orient="records", double_precision=6)
        return json.dumps(
            {
                "backend": {
                    "name": self.provenance.name,
                    "licence": self.provenance.licence,
                    "weights": weights,
                },
                "reference": self.reference,
                "convention": self.convention,
                "landmark_model": self.landmark_model,
                "unit": "degree",
                "faces": len(self.faces),
                "left_out": self.left_out,
                "intervals": {"level": _INTERVAL, "draws": DRAWS, "seed": SEED},
                "figures": json.loads(figures),
            },
            indent=2,
        )


def evaluate(
    backend: str | PoseBackend, reference: Reference, *, landmark_model: str
) -> Evaluation:
    """Measure a backend against faces with a known pose.

    Left out, and counted: faces without usable landmarks, without a reference, with one of the
    three reference angles beyond 99 degrees (as papers do on AFLW2000-3D), and without an
    estimate.

    Args:
        backend: A name of :func:`~feat_pose_plugin.available_pose_backends`, or a backend.
        reference: Faces with a known pose.
        landmark_model: What made the landmarks, as in :func:`~feat_pose_plugin.estimate_pose`.

    Returns:
        The figures.

    Raises:
        EvaluationError: No face can be measured.
        BackendError: The backend is unknown or broke its contract.
    """
    backend = find_pose_backend(backend)
    measured = measure(backend, reference, landmark_model)
    convention = reference.convention
    names = angle_names(convention)
    estimated = measured.estimated @ find_convention(convention).zero_turn
    estimated_deg, known_deg = matrix_to_angles(estimated, convention), measured.known_deg
    wrapped = (estimated_deg - known_deg + 180) % 360 - 180
    errors = pd.DataFrame(wrapped.numpy(), columns=names)
    errors["geodesic"] = geodesic_angle(estimated, measured.known).rad2deg().numpy()
    stated = (
        pd.DataFrame(degrees.numpy(), columns=names).add_suffix(suffix)
        for suffix, degrees in (("_reference", known_deg), ("_estimated", estimated_deg))
    )
    faces = pd.concat([*stated, errors.add_suffix("_error")], axis=1).set_index(measured.rows)

    yaw = known_deg[:, 1].abs().numpy()
    ranges = {"all": np.ones(len(yaw), bool)} | {
        f"{low}-{high}": (yaw >= low) & (yaw < high) for low, high in YAW_RANGES
    }
    groups = measured.groups
    figures = {
        name: _figures(errors[within], None if groups is None else groups[within])
        for name, within in ranges.items()
    }
    return Evaluation(
        provenance=backend.provenance,
        reference=reference.name,
        convention=convention,
        landmark_model=landmark_model,
        left_out=measured.left_out,
        figures=pd.DataFrame(figures.values(), index=pd.Index(figures, name="yaw_range")),
        faces=faces,
    )


def bootstrap(
    statistic: Callable[[Numbers], Numbers], faces: Numbers, groups: NDArray[np.generic] | None
) -> Numbers:
    """A statistic of as many faces as there are, drawn again and again with replacement.

    ``statistic`` maps ``[n, k]`` faces to ``[m]`` numbers; the result is ``[draws, m]``. Faces with
    equal values in ``groups`` ``[n]`` are drawn together, as many groups as there are.
    """
    if groups is None:
        groups = np.arange(len(faces))
    group_of, _ = pd.factorize(groups, use_na_sentinel=False)
    members = np.split(np.argsort(group_of, kind="stable"), np.bincount(group_of).cumsum()[:-1])
    drawn = np.random.default_rng(SEED).integers(len(members), size=(DRAWS, len(members)))
    return np.array([statistic(faces[np.concatenate([members[i] for i in row])]) for row in drawn])


def _figures(errors: pd.DataFrame, groups: NDArray[np.generic] | None) -> dict[str, float]:
    """Figures and intervals of some of the faces; NaN of none."""
    names = [*errors.columns[:3], *_FIGURES]
    absolute = errors.abs().to_numpy()
    value = low = high = np.full(len(names), np.nan)
    if len(absolute):
        value = _summarise(absolute)
        ends = (1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2
        low, high = np.quantile(bootstrap(_summarise, absolute, groups), ends, axis=0)
    figures: dict[str, float] = {"faces": len(absolute)}
    for name, *numbers in zip(names, value, low, high, strict=True):
        figures |= dict(zip((name, f"{name}_low", f"{name}_high"), numbers, strict=True))
    return figures


def _summarise(absolute: Numbers) -> Numbers:
    axes, geodesic = absolute[:, :3].mean(axis=0), absolute[:, 3]
    return np.array([*axes, axes.mean(), geodesic.mean(), np.median(geodesic)])
