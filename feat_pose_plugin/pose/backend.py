"""The contract of a pose backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from feat_pose_plugin.pose.landmark_models import LandmarkKind, LandmarkModel, named_landmark_model

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
        weights: The file that serves each kind of landmarks; empty for a method without weights.
    """

    name: str
    licence: str
    weights: Mapping[LandmarkKind, WeightsFile] = field(default_factory=dict)

    def describe(self, landmark_model: str | LandmarkModel = "auto") -> str:
        """The name and weights in a line, as ``pose_mlp_synth 2d 0a1254399ef9``.

        Args:
            landmark_model: Whose weights, by name or profile; ``"auto"`` for all that there are.

        Returns:
            With the first 12 digits of each SHA-256, as ``feat-pose models`` prints them.
        """
        weights = self.weights
        if model := named_landmark_model(landmark_model):
            kind = model.kind if model.kind in weights else model.without_depth().kind
            weights = {kind: weights[kind]} if kind in weights else {}
        return " ".join([self.name, *(f"{kind} {w.sha256[:12]}" for kind, w in weights.items())])


class PoseBackend(ABC):
    """Turns 68 landmarks into pose. The whole contract is this class.

    Axes: OpenCV's camera axes, x right, y down, z away from the camera. The result is ``rx, ry,
    rz, tx, ty, tz``: a rotation vector in radians that turns the head from facing the camera, and
    the position of the head in units of img2pose's reference face. The rotation is the one seen
    along the line of sight, from the camera through the centroid of the landmarks: it does not
    depend on where the face lies in the picture or how large it is. The translation is in the axes
    of the camera. The caller solves it from the rotation where it is NaN.
    :mod:`feat_pose_plugin.testing` checks a backend against this contract.

    Attributes:
        provenance: Which method and weights this instance runs.
        has_translation: Whether :meth:`estimate` answers with a translation.
        reads: The kinds of landmarks that :meth:`estimate` takes. Without ``"mesh"`` it gets the
            points of a mesh as ``"3d"``, without their depth.
    """

    provenance: Provenance
    has_translation: bool = False
    reads: frozenset[LandmarkKind] = frozenset({"2d", "3d"})

    @abstractmethod
    def estimate(
        self,
        landmarks: Tensor,
        *,
        frame_size: FrameSize | None = None,
        landmark_model: LandmarkModel,
    ) -> Tensor:
        """Estimate the pose of each row on its own.

        Args:
            landmarks: ``[B, 68, 2]`` float32 pixels of the video frame, B may be 0; of a mesh
                ``[B, 68, 3]``, with depth in pixels, away from the camera positive. Not to be
                changed. A row without a usable face holds NaN or infinity, or outer eye corners
                (36, 45) that coincide. A face outside the frame, or far from the origin
                where there is no frame size, may have been moved there.
            frame_size: Height and width of the video frame in pixels, if known.
            landmark_model: What made the landmarks; its ``kind`` is one of ``reads``.

        Returns:
            ``[B, 6]`` float32 on the device of the input: rotation vector and translation. Six NaN
            for a row that is not usable; NaN in ``tx, ty, tz`` where translation is not known.
        """
