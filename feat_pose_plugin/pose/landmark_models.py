"""Landmark models: what made the landmarks, and what is known of it.

Detectors put their 68 points in slightly different places. A profile holds what follows from that
for the pose. The profiles ``2d`` and ``3d`` are for every detector that has none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from feat_pose_plugin.errors import LandmarkError
from feat_pose_plugin.pose.arguments import find_name

LandmarkKind = Literal["2d", "3d", "mesh"]
"""``2d``: points 0-16 lie on the contour of the face in the picture. ``3d``: they are projected
points of the head. ``mesh``: likewise, and their depth is known."""


@dataclass(frozen=True)
class LandmarkModel:
    """The profile of a landmark model.

    Attributes:
        name: What users pass as ``landmark_model``.
        kind: Decides which network reads the landmarks.
        pitch_zero_deg: What our own networks read as the pitch of a head that looks at the camera,
            about the x axis (positive looks down). They subtract it.
        gain: How much of a nod and of a turn to the side our own networks read: the angles about
            the x and the y axis of ``img2pose``. They divide by it.
        residual_limit: Largest residual of a row without the flag ``residual``, in distances of
            the outer eye corners.
        error: Coefficients of the expected error, see :mod:`feat_pose_plugin.pose.quality`; None
            where they were not measured.
        measured: On which pictures the numbers were measured, and on how many.
    """

    name: str
    kind: LandmarkKind
    pitch_zero_deg: float = 0.0
    residual_limit: float = 0.146
    error: tuple[float, ...] | None = None
    measured: str = ""
    gain: tuple[float, float] = (1.0, 1.0)

    def without_depth(self) -> LandmarkModel:
        """The profile of the same landmarks where their depth is not known or not read."""
        if self.kind != "mesh":
            return self
        return _WITHOUT_DEPTH.get(self.name) or replace(self, kind="3d")


# The zero of all is that of py-feat's official network on mobilefacenet's landmarks (225 frames of
# 10 clips). The others: the median of three differences to mobilefacenet on the same pictures, of
# AFLW2000-3D, Pointing'04 and scanned heads. Residual limit: 95 in 100 pictures of AFLW2000-3D lie
# below it. Expected errors: fitted on those pictures. Gain: what scanned heads and those pictures
# agree on.
_2D = (5.839, 1.410, -1.716, -0.690, -0.008)
_3D = (3.030, 0.627, 0.181, -0.117, 0.150)
_MOBILEFACENET = (4.811, 1.122, -0.144, -0.301, 0.130)
_PFLD = (7.082, 1.840, -2.676, -1.049, 0.255)
_DLIB = (6.808, 1.680, -2.933, -1.020, -0.600)
_OPENSEEFACE = (4.637, 1.085, -0.043, 0.012, 0.333)
_MESH = (3.945, 0.890, 0.576, 0.036, 0.339)
_AFLW = "AFLW2000-3D's pictures, n = "
_VIDEO = "zero: video, n = 225"


def _by_name(*profiles: LandmarkModel) -> dict[str, LandmarkModel]:
    return {profile.name: profile for profile in profiles}


_PROFILES = _by_name(
    LandmarkModel("2d", "2d", 1.0, 0.126, _2D, "four detectors, n = 3613"),
    LandmarkModel("3d", "3d", 2.9, 0.077, _3D, "AFLW2000-3D's re-annotated landmarks, n = 985"),
    LandmarkModel("mobilefacenet", "2d", 2.5, 0.115, _MOBILEFACENET, f"{_AFLW}956"),
    LandmarkModel("mobilenet", "2d", 2.3, 0.116, _PFLD, "not measured: as pfld"),
    LandmarkModel("pfld", "2d", 2.1, 0.116, _PFLD, f"{_AFLW}956"),
    LandmarkModel("dlib", "2d", 0.4, 0.094, _DLIB, f"{_AFLW}745"),
    LandmarkModel("openface", "2d", 1.0, 0.126, _2D, "not measured: as 2d"),
    LandmarkModel("openseeface", "2d", 0.7, 0.130, _OPENSEEFACE, f"{_AFLW}956", (0.82, 1.06)),
    LandmarkModel("mediapipe", "mesh", 1.2, 0.102, _MESH, f"{_AFLW}920"),
    LandmarkModel("detectorv2", "mesh", 1.0, 0.102, _MESH, _VIDEO),
)
_WITHOUT_DEPTH = _by_name(
    LandmarkModel("mediapipe", "3d", 0.6, 0.102, _MESH, f"{_AFLW}740"),
    LandmarkModel("detectorv2", "3d", -0.6, 0.102, _MESH, _VIDEO),
)


def named_landmark_model(name: str | LandmarkModel) -> LandmarkModel | None:
    """The profile of a name; None of ``auto``: it is to follow from the landmarks."""
    is_auto = isinstance(name, str) and name.casefold() == "auto"
    return None if is_auto else find_landmark_model(name)


def is_landmark_model(name: str) -> bool:
    """Whether there is a profile of this name, upper and lower case being the same."""
    return name.casefold() in _PROFILES


def find_landmark_model(name: str | LandmarkModel) -> LandmarkModel:
    """The profile of a registered name, whatever its case; a profile is found as it is.

    Raises:
        LandmarkError: Nobody registered the name.
    """
    if isinstance(name, LandmarkModel):
        return name
    more = " Or 'auto'. Add your own with register_landmark_model."
    return _PROFILES[find_name("landmark_model", name, _PROFILES, LandmarkError, more)]


def register_landmark_model(profile: LandmarkModel) -> None:
    """Make a landmark model selectable by name in this process.

    Args:
        profile: Its name is found whatever its case.

    Raises:
        LandmarkError: The name is taken, or is ``auto``.
    """
    name = profile.name.casefold()
    if name == "auto" or name in _PROFILES:
        raise LandmarkError(
            f"landmark model {profile.name!r} cannot be registered: the name is taken. Choose "
            "another name."
        )
    _PROFILES[name] = profile


def available_landmark_models() -> tuple[LandmarkModel, ...]:
    """All profiles that can be selected, the generic ones first."""
    return tuple(_PROFILES.values())
