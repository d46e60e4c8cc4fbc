"""Landmark models: what made the landmarks, and what is known of it.

Detectors put their 68 points in slightly different places. A profile holds what follows from that
for the pose. The profiles ``2d`` and ``3d`` are for every detector that has none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from feat_pose_plugin.errors import LandmarkError
from feat_pose_plugin.pose.arguments import match_name, unknown_name

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

    def without_depth(self) -> LandmarkModel:
        """The profile of the same landmarks where their depth is not known or not read."""
        if self.kind != "mesh":
            return self
        return _WITHOUT_DEPTH.get(self.name) or replace(self, kind="3d")


_PROFILES = {
    profile.name: profile
    for profile in (
        LandmarkModel("2d", "2d"),
        LandmarkModel("3d", "3d", residual_limit=0.118),
        LandmarkModel("mobilefacenet", "2d"),
        LandmarkModel("mobilenet", "2d"),
        LandmarkModel("pfld", "2d"),
        LandmarkModel("dlib", "2d"),
        LandmarkModel("openface", "2d"),
        LandmarkModel("openseeface", "2d"),
        LandmarkModel("mediapipe", "mesh", residual_limit=0.118),
        LandmarkModel("detectorv2", "mesh", residual_limit=0.118),
    )
}
_WITHOUT_DEPTH = {
    profile.name: profile
    for profile in (
        LandmarkModel("mediapipe", "3d", residual_limit=0.118),
        LandmarkModel("detectorv2", "3d", residual_limit=0.118),
    )
}


def is_auto(landmark_model: object) -> bool:
    """Whether the landmark model is to follow from where the landmarks come from."""
    return isinstance(landmark_model, str) and landmark_model.casefold() == "auto"


def is_landmark_model(name: str) -> bool:
    """Whether there is a profile of this name, upper and lower case being the same."""
    return name.casefold() in _PROFILES


def find_landmark_model(name: str | LandmarkModel) -> LandmarkModel:
    """The profile of a landmark model.

    Args:
        name: As registered; upper and lower case are the same. A profile is found as it is.

    Raises:
        LandmarkError: Nobody registered the name.
    """
    if isinstance(name, LandmarkModel):
        return name
    known = match_name(name, _PROFILES)
    if known is None:
        raise LandmarkError(
            f"{unknown_name('landmark_model', name, ['auto', *_PROFILES])} Add your own with "
            "register_landmark_model."
        )
    return _PROFILES[known]


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
