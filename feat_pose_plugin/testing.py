"""The contract of a pose backend as checks that run: test your own backend with them.

::

    from feat_pose_plugin.testing import check_pose_backend

    check_pose_backend(MyBackend())

Each rule is a function of its own in :data:`RULES`, so that a test framework can name it::

    @pytest.mark.parametrize("rule", RULES)
    def test_contract(rule):
        rule(MyBackend())

The checks need no weights, no data and no test framework.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from feat_pose_plugin.errors import BackendError
from feat_pose_plugin.pose.backend import FrameSize, PoseBackend, Provenance
from feat_pose_plugin.pose.landmark_models import LandmarkKind, LandmarkModel
from feat_pose_plugin.pose.landmarks import MIRROR_68, OUTER_EYE_CORNERS
from feat_pose_plugin.pose.rotations import geodesic_angle, matrix_to_rotvec, rotvec_to_matrix

# fmt: off
FACE_68 = torch.tensor([
    (-7.36, -3.68, -3.66), (-7.28, -1.49, -3.93), (-6.94, 0.46, -4.53), (-6.56, 2.36, -5.17),
    (-5.72, 4.49, -6.13), (-4.30, 6.21, -7.35), (-3.05, 6.91, -8.77), (-1.54, 7.26, -10.27),
    (0.00, 7.57, -10.43), (1.54, 7.26, -10.27), (3.05, 6.91, -8.77), (4.30, 6.21, -7.35),
    (5.72, 4.49, -6.13), (6.56, 2.36, -5.17), (6.94, 0.46, -4.53), (7.28, -1.49, -3.93),
    (7.36, -3.68, -3.66), (-5.82, -5.20, -7.91), (-4.93, -5.98, -8.99), (-3.79, -6.26, -9.83),
    (-2.41, -6.19, -10.48), (-1.17, -5.91, -10.73), (1.17, -5.91, -10.73), (2.41, -6.19, -10.48),
    (3.79, -6.26, -9.83), (4.93, -5.98, -8.99), (5.82, -5.20, -7.91), (0.00, -3.74, -10.73),
    (0.00, -2.63, -11.52), (0.00, -1.61, -12.31), (0.00, -0.41, -13.07), (-1.25, 1.14, -10.87),
    (-0.60, 1.14, -11.42), (0.00, 1.20, -11.57), (0.60, 1.14, -11.42), (1.25, 1.14, -10.87),
    (-4.46, -3.43, -8.60), (-3.87, -3.87, -9.36), (-2.78, -3.94, -9.53), (-1.84, -3.25, -9.20),
    (-2.73, -3.08, -9.41), (-3.86, -3.07, -9.23), (1.84, -3.25, -9.20), (2.78, -3.94, -9.53),
    (3.87, -3.87, -9.36), (4.46, -3.43, -8.60), (3.86, -3.07, -9.23), (2.73, -3.08, -9.41),
    (-2.53, 3.52, -10.19), (-1.70, 2.78, -11.22), (-0.73, 2.42, -11.73), (0.00, 2.48, -11.84),
    (0.73, 2.42, -11.73), (1.70, 2.78, -11.22), (2.53, 3.52, -10.19), (1.80, 4.06, -10.90),
    (1.03, 4.30, -11.39), (0.00, 4.38, -11.55), (-1.03, 4.30, -11.39), (-1.80, 4.06, -10.90),
    (-2.21, 3.49, -10.13), (-1.00, 3.30, -11.09), (0.00, 3.32, -11.28), (1.00, 3.30, -11.09),
    (2.21, 3.49, -10.13), (1.07, 3.38, -11.04), (0.00, 3.40, -11.25), (-1.07, 3.38, -11.04),
])
# fmt: on
"""``[68, 3]`` float32 cm: a mean face that looks at the camera, in the camera's axes (x right,
y down, z away from the camera).

The 68 landmarks of ICT-FaceKit's neutral face (https://github.com/USC-ICT/ICT-FaceKit, MIT
licence, copyright 2020 USC Institute for Creative Technologies), y and z negated, rounded to 0.1
mm.
"""

FRAME_SIZE = (720, 1280)
"""Height and width of the video frame that :func:`project_face` fills, pixels."""

_DISTANCE = 150.0  # cm; a face of 200 pixels


def project_face(rotvec: Tensor) -> Tensor:
    """Landmarks of :data:`FACE_68`, turned, as a camera sees them.

    The head stands in the middle of a frame of :data:`FRAME_SIZE`, at 150 cm from a camera with
    img2pose's focal length, ``height + width`` pixels.

    Args:
        rotvec: ``[B, 3]`` rotation vectors, radians, camera axes (x right, y down, z away from
            the camera); 0 looks at the camera.

    Returns:
        ``[B, 68, 2]`` float32 pixels: projected points of the head (kind ``"3d"``).
    """
    return _project(rotvec, "3d")


def _project(rotvec: Tensor, kind: LandmarkKind) -> Tensor:
    """As :func:`project_face`; of a mesh ``[B, 68, 3]``, with the depth in pixels."""
    height, width = FRAME_SIZE
    centre = torch.tensor([width / 2, height / 2])
    points = FACE_68 @ rotvec_to_matrix(rotvec.to(torch.float32)).mT
    flat, depth = points[..., :2], points[..., 2:]
    focal = height + width
    pixels = flat / (depth + _DISTANCE) * focal + centre
    return torch.cat([pixels, depth / _DISTANCE * focal], dim=-1) if kind == "mesh" else pixels


def check_pose_backend(backend: PoseBackend) -> None:
    """Check a backend against every rule of :data:`RULES`.

    Args:
        backend: The backend, ready to estimate.

    Raises:
        BackendError: The first rule that is broken, and how; an exception of the backend itself
            is its cause.
    """
    for rule in RULES:
        try:
            rule(backend)
        except Exception as error:
            raise BackendError(
                f"{type(backend).__qualname__} breaks {rule.__name__}: {error}"
            ) from error


def check_provenance(backend: PoseBackend) -> None:
    """It is a PoseBackend that says what it runs; hashes of weights are those of the files."""
    _require(isinstance(backend, PoseBackend), "it is no feat_pose_plugin.PoseBackend.")
    provenance = getattr(backend, "provenance", None)
    if not isinstance(provenance, Provenance):
        raise BackendError(f"provenance must be a Provenance, got {provenance!r}.")
    _require(bool(provenance.name), "provenance.name is empty.")
    _require(bool(provenance.licence), "provenance.licence is empty.")
    for weights in provenance.weights.values():
        found = hashlib.sha256(weights.path.read_bytes()).hexdigest()
        _require(
            found == weights.sha256,
            f"provenance says {weights.path} has SHA-256 {weights.sha256}, it has {found}.",
        )


def check_result(backend: PoseBackend) -> None:
    """``[B, 6]`` float32 without gradient on the device of the input, which stays as it is."""
    every = torch.cat([_unusable(_kind_of(backend)), _faces(_kind_of(backend))])
    devices = ["cpu"] + [kind for kind in ("cuda", "mps") if getattr(torch, kind).is_available()]
    for device, count in product(devices, (0, 1, len(every))):
        landmarks = every[:count].to(device, copy=True)
        pose: object = _ask(backend, landmarks)
        if not isinstance(pose, Tensor):
            raise BackendError(f"estimate returned {type(pose).__qualname__}, not a Tensor.")
        asked = ([count, 6], torch.float32, landmarks.device, False)
        found = (list(pose.shape), pose.dtype, pose.device, pose.requires_grad)
        for what, wanted, got in zip(_PROPERTIES, asked, found, strict=True):
            _require(got == wanted, f"the {what} of {count} faces is {got}, not {wanted}.")
        _require_equal(landmarks.cpu(), every[:count], "estimate changed its landmarks in place")


def check_translation(backend: PoseBackend) -> None:
    """``has_translation`` says whether ``tx, ty, tz`` of a face of known frame size are known."""
    known = _ask(backend, _faces(_kind_of(backend)), FRAME_SIZE)[:, 3:].isfinite()
    _require(
        bool(known.all() if backend.has_translation else not known.any()),
        f"has_translation is {backend.has_translation}, and {int(known.all(dim=1).sum())} of "
        f"{len(known)} faces have tx, ty, tz.",
    )


def check_usable_rows(backend: PoseBackend) -> None:
    """Rows with NaN, infinity or coinciding eye corners are NaN six times; good rows are not.

    Of all kinds that it reads, with and without the frame size.
    """
    for kind, size in product(sorted(backend.reads), (None, FRAME_SIZE)):
        pose = _ask(backend, torch.cat([_unusable(kind), _faces(kind)]), size, kind)
        for row, what in enumerate(_UNUSABLE):
            _require(
                bool(pose[row].isnan().all()),
                f"landmarks with {what} must give six NaN, gave {pose[row].tolist()}.",
            )
        _require(
            bool(pose[len(_UNUSABLE) :, :3].isfinite().all()),
            f"rx, ry, rz of faces are not finite ({kind=}, frame_size={size}).",
        )


def check_rows_independent(backend: PoseBackend) -> None:
    """A face has one pose, whatever else is in the batch and however it lies in memory."""
    faces = _faces(_kind_of(backend))
    pose = _ask(backend, faces)
    strided = faces.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    alone = torch.cat([_ask(backend, face[None]) for face in faces])
    _require_equal(_ask(backend, faces), pose, "the same landmarks, passed twice, differ")
    _require_equal(_ask(backend, faces.flip(0)).flip(0), pose, "the order of rows matters")
    _require_equal(_ask(backend, strided), pose, "a copy that is not contiguous differs")
    _require_equal(alone, pose, "a row alone gave another answer than in a batch")
    for unusable, kind in zip(_unusable(_kind_of(backend)), _UNUSABLE, strict=True):
        mixed = torch.cat([unusable[None], faces, unusable[None]])
        _require_equal(_ask(backend, mixed)[1:-1], pose, f"neighbours with {kind} change a row")


def check_position_and_size(backend: PoseBackend) -> None:
    """Without a frame size, rotation does not depend on where and how large the face is."""
    faces = _faces(_kind_of(backend))
    rotation = _ask(backend, faces)[:, :3]
    for scale, shift in ((0.2, -100.0), (1.0, 1500.0), (4.0, 0.0)):
        difference = (_ask(backend, faces * scale + shift)[:, :3] - rotation).abs().max()
        _require(
            bool(difference <= 1e-3),
            f"landmarks times {scale} plus {shift} pixels turned the answer by "
            f"{difference:.3g} radians.",
        )


def check_known_turns(backend: PoseBackend) -> None:
    """Turns of 10, 20 and 30 degrees about each axis come back, by name, sign and size.

    The answer changes from the frontal one by the turn, within 20 percent and 2 degrees. Of all
    kinds that are read but 2d, unless this is the only one, because the face is not of this kind.
    """
    for kind in sorted(backend.reads - {"2d"}) or ["2d"]:
        frontal = _rotations(_ask(backend, _project(torch.zeros(1, 3), kind), FRAME_SIZE, kind))
        for axis, name in enumerate(("rx (a nod)", "ry (a turn to the side)", "rz (a tilt)")):
            turns = torch.zeros(6, 3)
            turns[:, axis] = torch.tensor([-30.0, -20, -10, 10, 20, 30])
            seen = _ask(backend, _project(turns.deg2rad(), kind), FRAME_SIZE, kind)
            for turn, found in zip(turns, _rotations(seen) @ frontal.mT, strict=True):
                what = f"{kind}: a turn of {turn[axis]:.0f} degrees in {name}"
                _require_turn(found[None], turn[None], what)


def check_mirror_image(backend: PoseBackend) -> None:
    """The mirror image of a face has ry and rz of the other sign, as near as a known turn."""
    faces = _project(torch.tensor([[10.0, 25.0, -15.0]]).deg2rad(), _kind_of(backend))
    # A lopsided mouth, lest the face be its own mirror image.
    faces[:, 48:, :2] += torch.tensor([4.0, 2.0])
    mirrored = faces[:, list(MIRROR_68)]
    mirrored[..., 0] = FRAME_SIZE[1] - mirrored[..., 0]
    expected = _ask(backend, faces, FRAME_SIZE)[:, :3] * torch.tensor([1.0, -1.0, -1.0])
    found = _rotations(_ask(backend, mirrored, FRAME_SIZE))
    _require_turn(found, expected.rad2deg(), "the mirror image of a face")


RULES: tuple[Callable[[PoseBackend], None], ...] = (
    check_provenance,
    check_result,
    check_usable_rows,
    check_rows_independent,
    check_translation,
    check_position_and_size,
    check_known_turns,
    check_mirror_image,
)
"""Every rule of the contract. A rule returns nothing, or raises if the backend breaks it."""

_PROPERTIES = ("shape", "dtype", "device", "requires_grad")
_UNUSABLE = ("one NaN", "NaN only", "infinity", "eye corners that coincide", "zeros only")


def _kind_of(backend: PoseBackend) -> LandmarkKind:
    """The kind of landmarks to try what must hold of any."""
    kinds: tuple[LandmarkKind, ...] = ("3d", "2d", "mesh")
    return next(kind for kind in kinds if kind in backend.reads)


def _faces(kind: LandmarkKind) -> Tensor:
    """``[27, 68, 2|3]`` faces turned every way, none of them symmetric."""
    angles = torch.tensor([-0.4, 0.1, 0.5])
    return _project(torch.cartesian_prod(angles, angles, angles), kind)


def _unusable(kind: LandmarkKind) -> Tensor:
    """A face for each of ``_UNUSABLE``."""
    right, left = OUTER_EYE_CORNERS
    faces = _faces(kind)[: len(_UNUSABLE)]
    faces[0, 5, 1] = torch.nan
    faces[1] = torch.nan
    faces[2, 30, 0] = torch.inf
    faces[3, right] = faces[3, left]
    faces[4] = 0
    return faces


def _ask(
    backend: PoseBackend,
    landmarks: Tensor,
    frame_size: FrameSize | None = None,
    kind: LandmarkKind | None = None,
) -> Tensor:
    model = LandmarkModel("of a test", kind or _kind_of(backend))
    return backend.estimate(landmarks, frame_size=frame_size, landmark_model=model)


def _rotations(pose: Tensor) -> Tensor:
    return rotvec_to_matrix(pose[:, :3])


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise BackendError(message)


def _require_equal(found: Tensor, expected: Tensor, message: str) -> None:
    if not torch.allclose(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True):
        most = (found - expected).abs().nan_to_num().max()
        raise BackendError(f"{message} (by {most:.3g}).")


def _require_turn(matrix: Tensor, degrees: Tensor, what: str) -> None:
    """``matrix [1, 3, 3]`` is the turn ``degrees [1, 3]`` within 20 percent and 2 degrees."""
    error = geodesic_angle(matrix, rotvec_to_matrix(degrees.deg2rad())).rad2deg().item()
    wanted, found = (
        "(" + ", ".join(f"{angle:.1f}" for angle in angles[0].tolist()) + ")"
        for angles in (degrees, matrix_to_rotvec(matrix).rad2deg())
    )
    _require(
        error <= 0.2 * degrees.norm().item() + 2,
        f"{what} should read (rx, ry, rz) = {wanted} degrees and reads {found}, {error:.1f} "
        "degrees away.",
    )
