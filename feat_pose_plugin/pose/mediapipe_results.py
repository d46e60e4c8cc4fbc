"""Results of MediaPipe, as they come. MediaPipe is not imported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feat_pose_plugin.errors import LandmarkError

# Of the result of Tasks (FaceLandmarker, HolisticLandmarker) and of Solutions (FaceMesh).
_FACES = ("face_landmarks", "multi_face_landmarks")
_VERTICES = 468  # and ten more of the irises, from which no pose is read


def mesh_of_results(source: object) -> NDArray[np.float32]:
    """``[B, 468, 3]`` x as share of the width of the picture, y of its height, z of its width.

    Of a ``FaceLandmarkerResult``, a result of ``FaceMesh`` or ``Holistic``, a list of landmarks of
    a face (``NormalizedLandmarkList`` too), or a list of such; a LandmarkError of anything else. A
    result without a face is one row of NaN.
    """
    faces = _faces(source, type(source))
    return np.stack(faces) if faces else np.empty((0, _VERTICES, 3), np.float32)


def _faces(source: object, whole: type) -> list[NDArray[np.float32]]:
    for name in _FACES:
        if hasattr(source, name):
            found = getattr(source, name)
            return _faces(found, whole) if found else [np.full((_VERTICES, 3), np.nan, np.float32)]
    points = getattr(source, "landmark", source)
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise LandmarkError(
            "landmarks must be a torch tensor, a NumPy array, a pandas DataFrame or a result of "
            f"MediaPipe, got {whole.__module__}.{whole.__qualname__}."
        )
    if not points or not hasattr(points[0], "x"):
        return [face for part in points for face in _faces(part, whole)]
    if len(points) < _VERTICES:
        raise LandmarkError(
            f"a face of MediaPipe has 468 or 478 landmarks, got {len(points)}. Pass the result of "
            "FaceLandmarker, FaceMesh or Holistic."
        )
    return [np.array([(p.x, p.y, p.z) for p in points[:_VERTICES]], np.float32)]
