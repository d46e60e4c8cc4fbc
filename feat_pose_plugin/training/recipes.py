"""What synthetic faces are made of: every ingredient by name, and a recipe for each network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.pose.landmark_models import LandmarkKind


@dataclass(frozen=True)
class Synthesis:
    """Every ingredient of a synthetic face, with its unit.

    Shares are probabilities per sample; ``_sd`` is the standard deviation of a normal
    distribution; a pair is the range of a uniform distribution.
    """

    # From ICT-FaceKit's zero of the head to that of the stated pose: a turn about x, + lowers the
    # face. It is pitch alone, because heads are symmetric.
    head_pitch_deg: float = 0.0

    # Shape
    identity_sd: float = 1.4  # standard deviations of the model's own coefficients
    anisotropy_sd: float = 0.03  # relative scale of each axis of the head
    # ICT-FaceKit's mean face is long: MediaPipe's canonical face is 0.97 times as high for its
    # width and as deep, img2pose's reference 0.93 times as high and 1.18 times as deep.
    height_scale: tuple[float, float] = (0.93, 1.0)
    depth_scale: tuple[float, float] = (0.98, 1.06)
    expression_share: float = 0.7
    expressions: tuple[int, int] = (1, 8)  # kinds shown at once, least and most
    expression_most: float = 1.0  # of a full expression
    open_jaw_share: float = 0.3  # of the pictures: who speaks, laughs or gapes; to any width

    # Turn: pitch, yaw. None in the plane of the picture: the network sees every face upright.
    frontal_share: float = 0.5
    frontal_sd_deg: tuple[float, float] = (30.0, 28.0)
    turned_most_deg: tuple[float, float] = (60.0, 95.0)

    # Camera
    weak_perspective_share: float = 0.4
    distance_cm: tuple[float, float] = (32.0, 200.0)  # log-uniform

    # Jaw: the contour that is visible in the picture; the contour of the head seen from the front;
    # or, for the rest, Multi-PIE's points of the head
    contour_share: float = 0.2
    fixed_contour_share: float = 0.4
    contour_start_cm: tuple[float, float] = (-1.2, 1.0)  # above the landmarks at the ears
    # Back edge of the contour at the ear, behind Multi-PIE's points: hair hides what lies there.
    contour_edge_cm: tuple[float, float] = (-1.5, 1.0)
    fixed_contour_edge_cm: tuple[float, float] = (0.0, 2.2)
    fixed_contour_pitch_sd_deg: float = 12.0  # from where the fixed contour is seen
    # How far points of the head are set back from there, drawn for ear and angle of the jaw apart.
    # ICT-FaceKit's own jawline lies 1 to 2.5 cm behind Multi-PIE's, img2pose's reference 0 to 4.3.
    jaw_back_cm: tuple[float, float] = (0.25, 3.25)

    # Habits of annotation
    group_shift_sd: float = 0.005  # inter-ocular distances, in the picture
    group_scale_sd: float = 0.03  # relative, about the middle of the group, in the picture
    group_depth_sd_cm: float = 0.1  # along the head's z axis
    jaw_slide_sd: float = 0.07  # of the gap between two jaw points, along the jaw, smooth
    jaw_lower: tuple[float, float] = (0.0, 0.0)  # inter-ocular distances, in full at the chin
    # Share of a pitch by which inner points, or all points of a mesh, stay behind in the picture:
    # landmark models were trained on faces that mostly look at the camera.
    nod_lag: tuple[float, float] = (0.0, 0.0)
    # By how much they stay behind a yaw of 50 degrees, and how far the brow of the far side is then
    # drawn to the near side (inter-ocular distances); both grow with the square of the sine, up to
    # 55 degrees.
    lag_deg: tuple[float, float] = (0.0, 0.0)
    far_brow_lag: tuple[float, float] = (0.0, 0.0)
    point_noise: tuple[float, float] = (0.0, 0.006)  # inter-ocular distances, per sample

    # Depth, of a mesh. It is guessed from one picture: its size and its zero of pitch are the mesh
    # model's more than the person's, and it stays behind a turn in its own way.
    has_depth: bool = False
    depth_size: tuple[float, float] = (1.0, 1.0)
    depth_tilt_sd_deg: float = 0.0
    depth_nod_lag: tuple[float, float] = (0.0, 0.0)  # share of a pitch
    depth_turn_lag: tuple[float, float] = (0.0, 0.0)  # share of a yaw

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            for value in values if isinstance(values, tuple) else (values,):
                if not math.isfinite(value):
                    raise TrainingError(f"{field.name} is {values!r}; expected finite numbers.")
            if field.name.endswith("_share") and not 0 <= values <= 1:
                raise TrainingError(f"{field.name} is {values!r}; expected 0 to 1.")
        if self.contour_share + self.fixed_contour_share > 1:
            raise TrainingError(
                f"contour_share and fixed_contour_share are {self.contour_share} and "
                f"{self.fixed_contour_share}; their sum must not be above 1."
            )


RECIPES: Mapping[LandmarkKind, Synthesis] = {
    "2d": Synthesis(
        head_pitch_deg=-3.1,
        contour_share=0.85,
        fixed_contour_share=0.075,
        group_shift_sd=0.0125,
        group_scale_sd=0.045,
        group_depth_sd_cm=0.2,
        jaw_slide_sd=0.11,
        point_noise=(0.0, 0.011),
        jaw_lower=(-0.03, 0.14),
        nod_lag=(0.0, 0.1),
        lag_deg=(8.0, 14.0),
        far_brow_lag=(0.01, 0.05),
    ),
    "3d": Synthesis(),
    "mesh": Synthesis(
        contour_share=0.0,
        fixed_contour_share=0.5,
        nod_lag=(0.1, 0.25),
        has_depth=True,
        depth_size=(0.85, 1.15),
        depth_tilt_sd_deg=3.0,
        depth_nod_lag=(0.0, 0.12),
        depth_turn_lag=(0.05, 0.15),
    ),
}
"""The recipe of each network of ``pose_mlp_synth``, by kind of landmarks."""
