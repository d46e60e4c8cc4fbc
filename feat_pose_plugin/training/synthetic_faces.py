"""Synthetic landmarks with exact pose: faces, cameras, and the habits of landmark models.

Frames: the head's axes are the camera's for a head that faces it (x right in the picture, y down,
z away from the camera), so ICT-FaceKit's axes turned by half a turn about x. The pose is stated
from another zero of the head, ``head_pitch_deg`` away, so that no turn is no turn in img2pose's
sense. Lengths are centimetres in space, and inter-ocular distances (outer eye corners) in the
picture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from feat_pose_plugin.pose.landmarks import LANDMARKS, outer_eye_distance
from feat_pose_plugin.pose.meshes import resample_by_arc_length
from feat_pose_plugin.pose.rotations import matrix_to_rotvec, rotvec_to_matrix
from feat_pose_plugin.training.face_model import FaceModel
from feat_pose_plugin.training.recipes import Synthesis

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


def synthesize(
    face: FaceModel,
    recipe: Synthesis,
    count: int,
    generator: torch.Generator,
    *,
    pictures: int = 1,
) -> tuple[Tensor, Tensor]:
    """Draw synthetic faces.

    ``pictures`` of them in a row are of one person, seen by one camera and placed by one landmark
    model with its habits; turn, expression and noise differ.

    Returns:
        Landmarks ``[count, 68, 2]``, with depth ``[count, 68, 3]`` (x right, y down, z away from
        the camera, in inter-ocular distances of the mean face at the distance of the head) and
        rotation vectors ``[count, 3]`` in camera axes along the line of sight, both float32.
    """
    draw = _Draw(generator, count)
    person = _Draw(generator, count // pictures, pictures)
    shape = _shapes(face, recipe, person, draw)
    rotation = _rotations(recipe, draw)
    jaw_kind = person.uniform(0, 1)
    sliding = jaw_kind < recipe.contour_share
    fixed = ~sliding & (jaw_kind < recipe.contour_share + recipe.fixed_contour_share)

    points, band = shape[:, :LANDMARKS], shape[:, LANDMARKS:]
    start = person.uniform(*recipe.contour_start_cm, 1)
    pitch = person.normal(math.radians(recipe.fixed_contour_pitch_sd_deg), 1)
    seen_from = rotvec_to_matrix(torch.nn.functional.pad(pitch, (0, 2)))[fixed]
    seen, seen_band = (part[fixed] @ seen_from.mT for part in (points, band))
    fixed_edge = person.uniform(*recipe.fixed_contour_edge_cm, 1)
    members = face.band_edge <= fixed_edge[fixed]
    points[fixed, :JAW] = _contour(seen, seen_band, members, start[fixed]) @ seen_from
    points[:, :JAW, 2] += _from_ears_to_chin(person.uniform(*recipe.jaw_back_cm, 2))
    depth = person.normal(recipe.group_depth_sd_cm, len(GROUPS))
    points = points + torch.nn.functional.pad(_by_group(depth)[..., None], (2, 0))

    # The camera looks at the middle of the landmarks.
    centre = points.mean(dim=1, keepdim=True)
    points, band = points - centre, band - centre
    lagging = rotation @ _stay_behind(
        person.uniform(*recipe.nod_lag) * _direction(rotation, 1),
        person.uniform(*recipe.lag_deg).deg2rad() * _lag_growth(rotation),
    )
    unit = outer_eye_distance(face.mean[None])
    first = 0 if recipe.has_depth else JAW
    turned = torch.cat([points[:, :first] @ rotation.mT, points[:, first:] @ lagging.mT], dim=1)
    low, high = (math.log(end) for end in recipe.distance_cm)
    distance = person.uniform(low, high, 1).exp()
    distance[person.uniform(0, 1, 1) < recipe.weak_perspective_share] = 1e4
    image, band_image = (
        part[..., :2] / (1 + part[..., 2:] / distance[..., None]) / unit
        for part in (turned, band @ rotation.mT)
    )

    upright = _upright(rotation)
    image, band_image = image @ upright.mT, band_image @ upright.mT
    members = face.band_edge <= person.uniform(*recipe.contour_edge_cm, 1)[sliding]
    image[sliding, :JAW] = _contour(
        image[sliding], band_image[sliding], members, start[sliding] / unit
    )
    image = _habits(image, rotation, recipe, person, draw) @ upright
    if recipe.has_depth:
        image = torch.cat([image, _depth(points, rotation, recipe, person, draw) / unit], dim=2)
    zero = rotvec_to_matrix(torch.tensor([recipe.head_pitch_deg, 0.0, 0.0]).deg2rad())
    return image, matrix_to_rotvec(rotation @ zero)


class _Draw:
    """Random numbers for ``count`` samples, each given to ``repeats`` rows in a row."""

    def __init__(self, generator: torch.Generator, count: int, repeats: int = 1) -> None:
        self._generator = generator
        self._count = count
        self._repeats = repeats

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(self._count, *shape, generator=self._generator)
        return low + (high - low) * drawn.repeat_interleave(self._repeats, dim=0)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        drawn = torch.randn(self._count, *shape, generator=self._generator)
        return deviation * drawn.repeat_interleave(self._repeats, dim=0)


def _shapes(face: FaceModel, recipe: Synthesis, person: _Draw, draw: _Draw) -> Tensor:
    """``[B, N, 3]`` faces in the head's axes (x right in the picture, y down, z away)."""
    identity = person.normal(recipe.identity_sd, len(face.identity))
    kinds = len(face.expression)
    least, most = recipe.expressions
    shown = draw.uniform(least, most + 1, 1).floor()
    # A kind is shown if its rank in a random order is among the first `shown`.
    rank = draw.uniform(0, 1, kinds).argsort(dim=1).argsort(dim=1)
    expression = draw.uniform(0, recipe.expression_most, kinds) * (rank < shown)
    expression = expression * (draw.uniform(0, 1, 1) < recipe.expression_share)
    open_jaw = draw.uniform(0, 1) * (draw.uniform(0, 1) < recipe.open_jaw_share)
    # The expression that lowers the chin most.
    jaw = face.expression[:, CHIN, 1].argmin()
    expression[:, jaw] = torch.maximum(expression[:, jaw], open_jaw)
    weights = torch.cat([identity, expression], dim=1)
    basis = torch.cat([face.identity, face.expression]).flatten(1)
    shape = (face.mean.flatten() + weights @ basis).reshape(len(weights), -1, 3)
    shape = shape * torch.tensor([1.0, -1.0, -1.0])
    height, depth = person.uniform(*recipe.height_scale), person.uniform(*recipe.depth_scale)
    scale = torch.stack([torch.ones_like(height), height, depth], dim=1)[:, None]
    return shape * (scale + person.normal(recipe.anisotropy_sd, 1, 3))


def _rotations(recipe: Synthesis, draw: _Draw) -> Tensor:
    """``[B, 3, 3]`` rotations, in two orders of composition."""
    most = torch.tensor(recipe.turned_most_deg)
    near = draw.normal(1.0, 2) * torch.tensor(recipe.frontal_sd_deg)
    far = draw.uniform(-1, 1, 2) * most
    frontal = draw.uniform(0, 1, 1) < recipe.frontal_share
    angles = torch.where(frontal, near.clamp(-most, most), far).deg2rad()
    pitch, yaw = (rotvec_to_matrix(angles[:, [i]] * torch.eye(3)[i]) for i in range(2))
    yaw_outside = draw.uniform(0, 1, 1)[..., None] < 0.5
    return torch.where(yaw_outside, yaw @ pitch, pitch @ yaw)


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


def _direction(rotation: Tensor, axis: int) -> Tensor:
    """``[B]`` angle of the face's direction out of the plane across an axis, radians.

    Axis 1: pitch, + down. Axis 0: turn, + to the right of the picture.
    """
    return torch.asin(-rotation[:, axis, 2].clamp(-1, 1))


def _stay_behind(pitch: Tensor, yaw: Tensor) -> Tensor:
    """``[B, 3, 3]`` turns of the head that take back some pitch and yaw, each ``[B]`` radians."""
    return rotvec_to_matrix(torch.stack([-pitch, yaw, torch.zeros_like(yaw)], dim=1))


def _depth(
    points: Tensor, rotation: Tensor, recipe: Synthesis, person: _Draw, draw: _Draw
) -> Tensor:
    """``[B, 68, 1]`` depth of a mesh in cm, of ``[B, 68, 3]`` points about their middle."""
    tilt = person.normal(math.radians(recipe.depth_tilt_sd_deg))
    lag = _stay_behind(
        person.uniform(*recipe.depth_nod_lag) * _direction(rotation, 1) + tilt,
        person.uniform(*recipe.depth_turn_lag) * _direction(rotation, 0),
    )
    depth = (points @ (rotation @ lag)[:, 2, :, None]) * person.uniform(*recipe.depth_size, 1, 1)
    noise = draw.uniform(*recipe.point_noise, 1, 1) * draw.normal(1.0, LANDMARKS, 1)
    return depth + noise * outer_eye_distance(points)[:, None, None]


def _lag_growth(rotation: Tensor) -> Tensor:
    """``[B]`` lag as a multiple of that at 50 degrees of yaw, with the sign of the yaw."""
    # The face looks along the head's -z axis; + is to the right of the picture.
    sine = -rotation[:, 0, 2]
    size = sine.abs().clamp(max=math.sin(math.radians(55))) / math.sin(math.radians(50))
    return sine.sign() * size**2


def _contour(points: Tensor, band: Tensor, members: Tensor, start: Tensor) -> Tensor:
    """Seventeen points at equal arcs along the outline of the lower face, ear to chin to ear.

    The outline is the hull, in the first two coordinates, of those of the ``[B, V, D]`` jaw band
    that are members (``[B, V]`` bool), cut at ``start`` (``[B, 1]``) above the ears of the
    ``[B, 68, D]`` landmarks, and split where it is nearest to the chin. ``[B, 17, D]``.
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


def _habits(
    image: Tensor, rotation: Tensor, recipe: Synthesis, person: _Draw, draw: _Draw
) -> Tensor:
    """Displace upright points as annotators and landmark models do."""
    return (
        image
        + _jaw_habits(image, recipe, person)
        + _group_habits(image, recipe, person)
        + _brow_lag(rotation, person.uniform(*recipe.far_brow_lag))
        + draw.uniform(*recipe.point_noise, 1, 1) * draw.normal(1.0, LANDMARKS, 2)
    )


def _jaw_habits(image: Tensor, recipe: Synthesis, person: _Draw) -> Tensor:
    """Slides along the jaw, smooth from point to point, and a chin that is placed lower."""
    jaw = image[:, :JAW]
    gaps = jaw.diff(dim=1)
    along = 0.5 * (torch.cat([gaps[:, :1], gaps], 1) + torch.cat([gaps, gaps[:, -1:]], 1))
    knots = person.normal(recipe.jaw_slide_sd, 1, 5)
    slide = torch.nn.functional.interpolate(knots, JAW, mode="linear", align_corners=True).mT
    lower = person.uniform(*recipe.jaw_lower, 1) * torch.linspace(0, math.pi, JAW).sin()
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


def _group_habits(image: Tensor, recipe: Synthesis, person: _Draw) -> Tensor:
    """Groups of points that are moved and resized as one."""
    middle = torch.stack([image[:, group].mean(dim=1) for group in GROUPS], dim=1)
    shift = person.normal(recipe.group_shift_sd, len(GROUPS), 2)
    scale = person.normal(recipe.group_scale_sd, len(GROUPS), 2)
    return _by_group(shift) + _by_group(scale) * (image - _by_group(middle))
