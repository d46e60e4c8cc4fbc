"""Where the heads of a table are in a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from feat_pose_plugin.errors import FrameSizeError, PictureError
from feat_pose_plugin.pose.camera import find_camera, line_of_sight
from feat_pose_plugin.pose.columns import find_column, to_doubles
from feat_pose_plugin.pose.conventions import INTER_OCULAR_UNITS, to_rotvec_pose
from feat_pose_plugin.pose.frame_sizes import frame_sizes_of
from feat_pose_plugin.pose.landmark_models import find_landmark_model
from feat_pose_plugin.pose.landmarks import read_landmarks
from feat_pose_plugin.pose.reference_face import load_reference_face, load_rigid_face
from feat_pose_plugin.pose.rotations import rotvec_to_matrix
from feat_pose_plugin.pose.tag import read_tag
from feat_pose_plugin.show.poses import in_feat

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX_COLUMNS = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]
NOSE_TIP = 30
# In distances of the outer eye corners; longer where the face points, which is seen from its end.
_AXES = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.5]])


class Heads(NamedTuple):
    """Heads in a picture.

    Attributes:
        rows: ``[n]`` of the table.
        points: ``[n, 71, 2]`` pixels: the 68 points of the face, then the ends of the axes.
        depth: ``[n, 71]`` their distance from the camera's plane, in face units.
        size: ``[n]`` distance of the outer eye corners in pixels, of a face from the front.
    """

    rows: NDArray[np.intp]
    points: NDArray[np.float32]
    depth: NDArray[np.float32]
    size: NDArray[np.float32]


def find_heads(table: pd.DataFrame, size: tuple[int, int], convention: str | None) -> Heads:
    """Where the heads of a table are in pictures of a size (height, width)."""
    pose = in_feat(table, convention)
    # A plain DataFrame, because selecting from a Fex builds a Fex.
    plain = pd.DataFrame(table).rename(columns=lambda label: str(label).strip())
    _require_size(plain, size)
    tag = read_tag(pose)
    camera = find_camera(size)[None]
    values = to_rotvec_pose(torch.from_numpy(pose.to_numpy(np.float32)), "feat")
    rotation, translation = rotvec_to_matrix(values[:, :3]), values[:, 3:]
    if tag is not None and tag.translation_unit != "img2pose":
        translation = torch.full_like(translation, torch.nan)

    def to_camera(seen_at: Tensor) -> Tensor:
        turned = tag is not None and tag.rotation_frame == "camera"
        return rotation if turned else line_of_sight(seen_at, camera) @ rotation

    device = torch.device("cpu")
    face = load_reference_face(find_landmark_model("2d"), device).repeat(len(plain), 1, 1)
    if "x_0" in plain or "mesh_x_0" in plain:
        landmarks = read_landmarks(plain)
        rotation = to_camera(landmarks.points.mean(dim=1))
        for number, model in enumerate(landmarks.models):
            rows = landmarks.which == number
            face[rows] = load_reference_face(model, device)
            rigid = load_rigid_face(model, device)
            translation[rows] = rigid.locate(landmarks.points[rows], rotation[rows], camera)
    elif all(find_column(plain, name) is not None for name in BOX_COLUMNS):
        box = _boxes(plain)
        rotation = to_camera(box[:, :2] + box[:, 2:] / 2)
        translation = _fill_box(box, face @ rotation.mT, camera)
    elif translation.isfinite().any():
        rotation = to_camera(_project(translation, camera))
    else:
        raise PictureError(
            "nothing in the table says where the heads are. It needs landmark columns, or the "
            f"columns {', '.join(BOX_COLUMNS)}, or X, Y, Z in units of the reference face."
        )
    points = torch.cat([face, face[:, [NOSE_TIP]] + INTER_OCULAR_UNITS * _AXES], dim=1)
    points = points @ rotation.mT + translation[:, None]
    depth = points[..., 2]
    rows = points.isfinite().flatten(1).all(dim=1) & (depth > 0).all(dim=1)
    return Heads(
        rows=np.flatnonzero(rows.numpy()),
        points=_project(points, camera)[rows].numpy(),
        depth=depth[rows].numpy(),
        size=(camera[0, 0] * INTER_OCULAR_UNITS / depth.mean(dim=1))[rows].numpy(),
    )


def _boxes(table: pd.DataFrame) -> Tensor:
    """``[B, 4]`` float32 face boxes, NaN where there is none."""
    values = [to_doubles(table[name], PictureError) for name in BOX_COLUMNS]
    return torch.from_numpy(np.stack(values, axis=1)).float()


def _require_size(table: pd.DataFrame, size: tuple[int, int]) -> None:
    """Refuse a table about frames of another size."""
    sizes = frame_sizes_of(table)
    known = torch.empty(0, 2) if sizes is None else sizes[sizes.isfinite().all(dim=1)]
    wrong = known[(known != known.new_tensor(size)).any(dim=1)]
    if len(wrong):
        height, width = wrong[0].tolist()
        raise FrameSizeError(
            f"the table is about frames of height {height:g} and width {width:g}, and this one has "
            f"{size[0]} and {size[1]}. Pass the picture or video that the landmarks are from."
        )


def _project(points: Tensor, camera: Tensor) -> Tensor:
    """``[..., 3]`` points in the camera's axes to ``[..., 2]`` pixels."""
    pixels: Tensor = camera[0, 0] * points[..., :2] / points[..., 2:] + camera[0, 1:]
    return pixels


def _fill_box(box: Tensor, turned: Tensor, camera: Tensor) -> Tensor:
    """``[B, 3]``, where turned faces stand that are as wide as their boxes and touch the bottom.

    Detectors draw a face's box from the hairline to the chin, and the landmarks begin at the brows.
    ``box`` is ``[B, 4]`` x, y, width and height in pixels, ``turned`` ``[B, 68, 3]`` in the
    camera's axes; both sides of a face are taken to be equally far away.
    """
    across, down = turned[..., 0], turned[..., 1]
    ends = torch.stack([across.argmin(dim=1), across.argmax(dim=1), down.argmax(dim=1)], dim=1)
    left, right, chin = turned.gather(1, ends[..., None].expand(-1, -1, 3)).unbind(dim=1)
    focal, principal_x, principal_y = camera[0]
    sides = (left + right) / 2
    depth = focal * (right - left)[:, 0] / box[:, 2] - sides[:, 2]
    x = (box[:, 0] + box[:, 2] / 2 - principal_x) * (depth + sides[:, 2]) / focal - sides[:, 0]
    y = (box[:, 1] + box[:, 3] - principal_y) * (depth + chin[:, 2]) / focal - chin[:, 1]
    return torch.stack([x, y, depth], dim=1)
