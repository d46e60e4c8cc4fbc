"""The contract of a pose backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from feat_pose_plugin.pose.landmarks import LandmarkKind, LandmarkTypeChoice

FrameSize = tuple[int, int]
"""Height and width of the video frame in pixels."""


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights and the SHA-256 of its bytes, hexadecimal."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """What produced a pose: which method, which weights, under which licence.

    Attributes:
        name: The backend's name.
        licence: Licence of the weights, or of the method where it has none.
        weights: The file that serves each landmark type; empty for a method without weights.
    """

    name: str
    licence: str
    weights: Mapping[LandmarkKind, WeightsFile] = field(default_factory=dict)

    def describe(self, landmark_kind: LandmarkTypeChoice = "auto") -> str:
        """One line for a file or a log: the name, the landmark type and the weights that serve it.

        Args:
            landmark_kind: ``"2d"`` or ``"3d"``; ``"auto"`` for all that there are weights for.

        Returns:
            As ``pose_mlp_synth 2d 0a1254399ef9``: the first 12 digits of the file's SHA-256, as
            ``feat-pose models`` prints them. The name alone for a method without weights.
        """
        used = [
            f"{kind} {file.sha256[:12]}"
            for kind, file in self.weights.items()
            if landmark_kind in (kind, "auto")
        ]
        return " ".join([self.name, *used])


class PoseBackend(ABC):
    """Turns 68 landmarks into pose. The whole contract is :meth:`estimate` and ``provenance``.

    Convention: OpenCV camera axes, x right, y down, z away from the camera. The result is
    ``rx, ry, rz, tx, ty, tz``: a rotation vector in radians that turns the head from facing the
    camera, and the position of the head in units of img2pose's reference face. The rotation is
    the one seen along the line of sight, from the camera through the centroid of the landmarks: it
    does not depend on where the face lies in the picture or how large it is. The translation is in
    the axes of the camera; what is NaN there is solved from the rotation by the caller.
    :mod:`feat_pose_plugin.testing` checks a backend against this contract.

    Attributes:
        provenance: Which method and weights this instance runs.
        takes_float64: Whether :meth:`estimate` takes float64 pixels too. What float64 landmarks
            have more than float32 is of use only far from the origin; without this they are
            rounded.
    """

    provenance: Provenance
    takes_float64: ClassVar[bool] = False

    @abstractmethod
    def estimate(
        self,
        landmarks: Tensor,
        *,
        frame_size: FrameSize | None = None,
        landmark_kind: LandmarkKind = "2d",
    ) -> Tensor:
        """Estimate the pose of each row on its own.

        Args:
            landmarks: ``[B, 68, 2]`` float32 pixels of the video frame, B may be 0. Not to be
                changed. A row without a usable face holds NaN or infinity, or outer eye corners
                (36, 45) that coincide.
            frame_size: Height and width of the video frame in pixels, if known.
            landmark_kind: ``"2d"`` where points 0-16 lie on the visible contour, ``"3d"`` where
                they are projected points of the head.

        Returns:
            ``[B, 6]`` float32 on the device of the input, convention ``img2pose``. Six NaN for a
            row that is not usable; NaN in ``tx, ty, tz`` where translation is not known.
        """
