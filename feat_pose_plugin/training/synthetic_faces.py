"""Synthetic landmarks with exact pose: faces, cameras, and the habits of landmark models.

Frames: the head's axes are the camera's for a head that faces it (x right in the picture, y down,
z away from the camera), so ICT-FaceKit's axes turned by half a turn about x. The pose is stated
from another zero of the head, ``head_zero_deg`` away, so that no turn is no turn in img2pose's
sense. Lengths are centimetres in space, and inter-ocular distances (outer eye corners) in the
picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.pose.conventions import ICT_TO_IMG2POSE_DEG
from feat_pose_plugin.pose.landmark_models import LandmarkKind
from feat_pose_plugin.pose.landmarks import LANDMARKS, MIRROR_68, outer_eye_distance
from feat_pose_plugin.pose.rotations import (
    matrix_to_rotvec,
    resample_by_arc_length,
    rotvec_to_matrix,
)
from feat_pose_plugin.training.face_model import FaceModel

CHIN = 8
JAW = 17
# Points that move together when somebody, or some network, has a habit of placing them.
GROUPS = (
    slice(17),
    slice(17, 22),
    slice(22, 27),
    slice(27, 31),
    slice(31, 36),
    slice(36, 42),
    slice(42, 48),
    slice(48, 68),
)
_GROUP_SIZES = torch.tensor([len(range(LANDMARKS)[group]) for group in GROUPS])
_DIRECTIONS = 48  # in which the outline of a jaw is sought, over three quarters of a circle


@dataclass(frozen=True)
class Synthesis:
    """Every ingredient of a synthetic face, with its unit.

    Shares are probabilities per sample; ``_sd`` is the standard deviation of a normal
    distribution; a pair is the range of a uniform distribution.
    """

    # Rotation vector from ICT-FaceKit's zero of the head to that of the stated pose
    head_zero_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)

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

    # Turn
    frontal_share: float = 0.5
    frontal_sd_deg: tuple[float, float, float] = (15.0, 28.0, 15.0)  # pitch, yaw, roll
    turned_most_deg: tuple[float, float, float] = (60.0, 95.0, 60.0)  # pitch, yaw, roll

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
    # By how much inner points stay behind a yaw of 50 degrees, and how far the brow of the far side
    # is then drawn to the near side (inter-ocular distances); both grow with the square of the
    # sine, up to 55 degrees.
    lag_deg: tuple[float, float] = (0.0, 0.0)
    far_brow_lag: tuple[float, float] = (0.0, 0.0)
    point_noise: tuple[float, float] = (0.0, 0.006)  # inter-ocular distances, per sample

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
    "3d": Synthesis(head_zero_deg=ICT_TO_IMG2POSE_DEG["3d"]),
    "2d": Synthesis(
        head_zero_deg=ICT_TO_IMG2POSE_DEG["2d"],
        contour_share=0.85,
        fixed_contour_share=0.075,
        group_shift_sd=0.0125,
        group_scale_sd=0.045,
        group_depth_sd_cm=0.2,
        jaw_slide_sd=0.11,
        point_noise=(0.0, 0.011),
        jaw_lower=(-0.03, 0.14),
        lag_deg=(8.0, 14.0),
        far_brow_lag=(0.01, 0.05),
    ),
}
"""The recipe of each network of ``pose_mlp_synth``, by landmark type."""


def synthesize(
    face: FaceModel, recipe: Synthesis, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw synthetic faces.

    Args:
        face: The face model.
        recipe: The distributions to draw from.
        count: How many faces.
        generator: The source of randomness; the same state gives the same faces.

    Returns:
        Landmarks ``[count, 68, 2]`` (x right, y down, in inter-ocular distances of the mean face
        at the distance of the head) and rotation vectors ``[count, 3]`` in radians, convention
        ``img2pose``, both float32. The rotation is the one seen along the line of sight.
    """
    draw = _Draw(generator, count)
    shape = _shapes(face, recipe, draw)
    rotation = _rotations(recipe, draw)
    jaw_kind = draw.uniform(0, 1)
    sliding = jaw_kind < recipe.contour_share
    fixed = ~sliding & (jaw_kind < recipe.contour_share + recipe.fixed_contour_share)

    points, band = shape[:, :LANDMARKS], shape[:, LANDMARKS:]
    start = draw.uniform(*recipe.contour_start_cm, 1)
    pitch = draw.normal(math.radians(recipe.fixed_contour_pitch_sd_deg), 1)
    seen_from = rotvec_to_matrix(torch.nn.functional.pad(pitch, (0, 2)))[fixed]
    seen, seen_band = (part[fixed] @ seen_from.mT for part in (points, band))
    fixed_edge = draw.uniform(*recipe.fixed_contour_edge_cm, 1)
    members = face.band_edge <= fixed_edge[fixed]
    points[fixed, :JAW] = _contour(seen, seen_band, members, start[fixed]) @ seen_from
    points[:, :JAW, 2] += _from_ears_to_chin(draw.uniform(*recipe.jaw_back_cm, 2))
    depth = draw.normal(recipe.group_depth_sd_cm, len(GROUPS))
    points = points + torch.nn.functional.pad(_by_group(depth)[..., None], (2, 0))

    # The camera looks at the middle of the landmarks.
    centre = points.mean(dim=1, keepdim=True)
    lagging = _lagging(rotation, draw.uniform(*recipe.lag_deg).deg2rad())
    inner = (points[:, JAW:] - centre) @ lagging.mT
    points, band = ((part - centre) @ rotation.mT for part in (points, band))
    points = torch.cat([points[:, :JAW], inner], dim=1)
    low, high = (math.log(end) for end in recipe.distance_cm)
    distance = draw.uniform(low, high, 1).exp()
    distance[draw.uniform(0, 1, 1) < recipe.weak_perspective_share] = 1e4
    unit = outer_eye_distance(face.mean[None])
    image, band_image = (
        part[..., :2] / (1 + part[..., 2:] / distance[..., None]) / unit for part in (points, band)
    )

    upright = _upright(rotation)
    image, band_image = image @ upright.mT, band_image @ upright.mT
    members = face.band_edge <= draw.uniform(*recipe.contour_edge_cm, 1)[sliding]
    image[sliding, :JAW] = _contour(
        image[sliding], band_image[sliding], members, start[sliding] / unit
    )
    image = _habits(image, rotation, recipe, draw) @ upright
    # Half of the faces become their mirror images, so that left and right are alike.
    mirrored = draw.uniform(0, 1) < 0.5
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    image[mirrored] = image[mirrored][:, list(MIRROR_68)] * mirror[:2]
    rotation[mirrored] = mirror[:, None] * rotation[mirrored] * mirror
    zero = rotvec_to_matrix(torch.tensor(recipe.head_zero_deg).deg2rad())
    return image, matrix_to_rotvec(rotation @ zero)


class _Draw:
    """Random numbers for ``count`` samples."""

    def __init__(self, generator: torch.Generator, count: int) -> None:
        self._generator = generator
        self._count = count

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(self._count, *shape, generator=self._generator)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        return deviation * torch.randn(self._count, *shape, generator=self._generator)


def _shapes(face: FaceModel, recipe: Synthesis, draw: _Draw) -> Tensor:
    """``[B, N, 3]`` faces in the head's axes (x right in the picture, y down, z away)."""
    identity = draw.normal(recipe.identity_sd, len(face.identity))
    kinds = len(face.expression)
    least, most = recipe.expressions
    shown = draw.uniform(least, most + 1, 1).floor()
    # A kind is shown if its rank in a random order is among the first `shown`.
    rank = draw.uniform(0, 1, kinds).argsort(dim=1).argsort(dim=1)
    expression = draw.uniform(0, recipe.expression_most, kinds) * (rank < shown)
    expression = expression * (draw.uniform(0, 1, 1) < recipe.expression_share)
    weights = torch.cat([identity, expression], dim=1)
    basis = torch.cat([face.identity, face.expression]).flatten(1)
    shape = (face.mean.flatten() + weights @ basis).reshape(len(weights), -1, 3)
    shape = shape * torch.tensor([1.0, -1.0, -1.0])
    height, depth = draw.uniform(*recipe.height_scale), draw.uniform(*recipe.depth_scale)
    scale = torch.stack([torch.ones_like(height), height, depth], dim=1)[:, None]
    return shape * (scale + draw.normal(recipe.anisotropy_sd, 1, 3))


def _rotations(recipe: Synthesis, draw: _Draw) -> Tensor:
    """``[B, 3, 3]`` rotations, in two orders of composition."""
    near = draw.normal(1.0, 3) * torch.tensor(recipe.frontal_sd_deg)
    far = draw.uniform(-1, 1, 3) * torch.tensor(recipe.turned_most_deg)
    frontal = draw.uniform(0, 1, 1) < recipe.frontal_share
    angles = torch.where(frontal, near, far).deg2rad()
    pitch, yaw, roll = (rotvec_to_matrix(angles * axis) for axis in torch.eye(3))
    yaw_outside = draw.uniform(0, 1, 1)[..., None] < 0.5
    return roll @ torch.where(yaw_outside, yaw @ pitch, pitch @ yaw)


def _upright(rotation: Tensor) -> Tensor:
    """``[B, 2, 2]`` turns of the picture that put the head's y axis upright."""
    down = rotation[:, :2, 1]
    down = down / torch.linalg.vector_norm(down, dim=1, keepdim=True).clamp_min(1e-6)
    right = torch.stack([down[:, 1], -down[:, 0]], dim=1)
    return torch.stack([right, down], dim=1)


def _from_ears_to_chin(amount: Tensor) -> Tensor:
    """``[B, 2]`` amounts at the ears and at the angles of the jaw to ``[B, 17]``, 0 at the chin."""
    knots = torch.cat([amount, torch.zeros(len(amount), 1)], dim=1)[:, None]
    side = torch.nn.functional.interpolate(knots, CHIN + 1, mode="linear", align_corners=True)[:, 0]
    return torch.cat([side, side[:, :CHIN].flip(1)], dim=1)


def _lagging(rotation: Tensor, at_50: Tensor) -> Tensor:
    """``[B, 3, 3]`` rotations that fall short of the yaw of ``rotation``, by an angle at 50."""
    short = at_50 * _lag_growth(rotation)
    return rotation @ rotvec_to_matrix(torch.stack([0 * short, short, 0 * short], dim=1))


def _lag_growth(rotation: Tensor) -> Tensor:
    """``[B]`` lag as a multiple of that at 50 degrees of yaw, with the sign of the yaw."""
    # The face looks along the head's -z axis; + is to the right of the picture.
    sine = -rotation[:, 0, 2]
    size = sine.abs().clamp(max=math.sin(math.radians(55))) / math.sin(math.radians(50))
    return sine.sign() * size**2


def _contour(points: Tensor, band: Tensor, members: Tensor, start: Tensor) -> Tensor:
    """Seventeen points at equal arcs along the outline of the lower face, ear to chin to ear.

    The outline is the hull of the jaw band in the picture (first two coordinates), cut at
    ``start`` above the landmarks at the ears and split where it is nearest to the chin.

    Args:
        points: ``[B, 68, D]`` landmarks, x right and y down.
        band: ``[B, V, D]`` vertices of the jaw band.
        members: ``[B, V]`` bool, which of them may be part of the outline.
        start: ``[B, 1]`` height above the ears.

    Returns:
        ``[B, 17, D]``.
    """
    # From up and right in the picture, through down, to up and left.
    angle = torch.linspace(-0.25 * math.pi, 1.25 * math.pi, _DIRECTIONS)
    directions = torch.stack([angle.cos(), angle.sin()])
    outside = torch.where(members, 0.0, -torch.inf)[:, None]
    extreme = (directions.mT @ band[..., :2].mT + outside).argmax(dim=2)
    hull = band.gather(1, extreme[..., None].expand(-1, -1, band.shape[-1]))
    from_chin = torch.linalg.vector_norm(hull[..., :2] - points[:, CHIN, None, :2], dim=-1)
    chin = from_chin.argmin(dim=1, keepdim=True)
    away = torch.arange(_DIRECTIONS)
    halves = []
    for ear, order in ((0, chin + away), (JAW - 1, chin - away)):
        index = order.clamp(0, _DIRECTIONS - 1)[..., None].expand(-1, -1, hull.shape[-1])
        half = hull.gather(1, index)
        height = points[:, ear, 1:2] - start
        halves.append(resample_by_arc_length(_cut_above(half, height), CHIN + 1))
    right, left = halves
    return torch.cat([right.flip(1), left[:, 1:]], dim=1)


def _cut_above(line: Tensor, height: Tensor) -> Tensor:
    """Polylines that rise (y falls) from their first point, ended where they pass a height."""
    steps = line.diff(dim=1)
    rise = -steps[..., 1]
    share = ((line[:, :-1, 1] - height) / rise.clamp_min(1e-9)).clamp(0, 1)
    first = line[:, :1]
    return torch.cat([first, first + (share[..., None] * steps).cumsum(dim=1)], dim=1)


def _by_group(values: Tensor) -> Tensor:
    """``[B, groups, D]`` values of groups to the ``[B, 68, D]`` points of the groups."""
    return values.repeat_interleave(_GROUP_SIZES, dim=1)


def _habits(image: Tensor, rotation: Tensor, recipe: Synthesis, draw: _Draw) -> Tensor:
    """Displace upright points as annotators and landmark models do."""
    return (
        image
        + _jaw_habits(image, recipe, draw)
        + _group_habits(image, recipe, draw)
        + _brow_lag(rotation, draw.uniform(*recipe.far_brow_lag))
        + draw.uniform(*recipe.point_noise, 1, 1) * draw.normal(1.0, LANDMARKS, 2)
    )


def _jaw_habits(image: Tensor, recipe: Synthesis, draw: _Draw) -> Tensor:
    """Slides along the jaw, smooth from point to point, and a chin that is placed lower."""
    jaw = image[:, :JAW]
    gaps = jaw.diff(dim=1)
    along = 0.5 * (torch.cat([gaps[:, :1], gaps], 1) + torch.cat([gaps, gaps[:, -1:]], 1))
    knots = draw.normal(recipe.jaw_slide_sd, 1, 5)
    slide = torch.nn.functional.interpolate(knots, JAW, mode="linear", align_corners=True).mT
    lower = draw.uniform(*recipe.jaw_lower, 1) * torch.linspace(0, math.pi, JAW).sin()
    shift = slide * along + torch.stack([torch.zeros_like(lower), lower], dim=2)
    return torch.nn.functional.pad(shift, (0, 0, 0, LANDMARKS - JAW))


def _brow_lag(rotation: Tensor, at_50: Tensor) -> Tensor:
    """The brow of the far side, drawn to the near side."""
    growth = _lag_growth(rotation)
    shift = torch.zeros(len(rotation), LANDMARKS, 2)
    # Where the face looks right in the picture, the brow on the right (the subject's left) is far.
    shift[:, GROUPS[2], 0] = -(at_50 * growth.clamp(min=0))[:, None]
    shift[:, GROUPS[1], 0] = -(at_50 * growth.clamp(max=0))[:, None]
    return shift


def _group_habits(image: Tensor, recipe: Synthesis, draw: _Draw) -> Tensor:
    """Groups of points that are moved and resized as one."""
    middle = torch.stack([image[:, group].mean(dim=1) for group in GROUPS], dim=1)
    shift = draw.normal(recipe.group_shift_sd, len(GROUPS), 2)
    scale = draw.normal(recipe.group_scale_sd, len(GROUPS), 2)
    return _by_group(shift) + _by_group(scale) * (image - _by_group(middle))
