"""The accuracy of `pose_mlp_synth`, measured anew in one run.

::

    python tests/pages/accuracy.py ../shared/data

writes every figure into the generated parts of docs/accuracy.md, docs/accuracy-details.md and
docs/trust-details.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import expected_error
import numpy as np
import pandas as pd
import real_detectors
import torch
import trust
import typer
from canonical_face import read_canonical_face
from documents import Part, table
from scipy.spatial.transform import Rotation
from sqpnp import ict_sqpnp, img2pose_sqpnp
from torch import Tensor

from feat_pose_plugin.evaluation import (
    Reference,
    calibrate,
    evaluate,
    head_zero,
    read_reference,
    read_turns,
    turn_errors,
    turn_gains,
)
from feat_pose_plugin.evaluation.angles import matrix_to_angles
from feat_pose_plugin.evaluation.estimates import estimate_rotations
from feat_pose_plugin.pose.backend import PoseBackend, Provenance
from feat_pose_plugin.pose.landmarks import outer_eye_distance, read_landmarks
from feat_pose_plugin.pose.registry import get_pose_backend
from feat_pose_plugin.pose.rotations import geodesic_angle, rotvec_to_matrix
from feat_pose_plugin.training.face_model import FaceModel, read_face_model
from feat_pose_plugin.training.recipes import RECIPES, Synthesis
from feat_pose_plugin.training.synthetic_faces import synthesize

THIS = "python tests/pages/accuracy.py ../shared/data"

AFLW2000_LANDMARKS = ("landmarks", "landmarks_reannotated")
# The intervals of the mean over the axes and of the geodesic error are enough for a page.
AXIS_INTERVALS = [f"{axis}_{end}" for axis in ("pitch", "yaw", "roll") for end in ("low", "high")]
TURNED_LANDMARKS = {
    "landmarks_pfld": "pfld",
    "landmarks_mobilefacenet": "mobilefacenet",
    "landmarks_projected": "3d",
}

YAW_BANDS_DEG = (0, 30, 60, 95)
PUBLISHED = {"img2pose": 3.91, "6DRepNet": 3.97, "SynergyNet": 3.35, "OPAL": 3.27}

SYNTHETIC_FACES = 20_000
SYNTHETIC_BATCH = 2_000  # jaw bands of all faces at once would fill the memory
# A run with seed 0 draws its faces from generators with seeds 0, 1, 2, ..., one for each step.
UNSEEN_SEED = 1_000_000

JAW_HABITS = {
    "visible contour (2d)": replace(RECIPES["2d"], contour_share=1, fixed_contour_share=0),
    "fixed contour of the head (3d)": replace(
        RECIPES["3d"], contour_share=0, fixed_contour_share=1
    ),
    "Multi-PIE, set back (3d)": replace(RECIPES["3d"], contour_share=0, fixed_contour_share=0),
}

PAGES = {
    "accuracy.md": (
        *("real_pictures", "real_zeros", "real_video", "expected_error"),
        *("aflw2000", "turn_gains", "official_v2", "layouts"),
    ),
    "accuracy-details.md": (
        *("aflw2000_by_yaw", "published", "noise", "constants", "turn_errors"),
        *("jaw_habits", "canonical_face"),
    ),
    "trust-details.md": ("translation", "moved_heads", "residual_ranks", "limits", "flags"),
}
"""Which tables each page shows."""


@dataclass(frozen=True)
class Table:
    """Figures that belong together.

    Attributes:
        title: What they say.
        rows: The figures, degrees unless the title says otherwise. Column ``network`` names the
            network of a row. ``*_low`` and ``*_high`` are the 95 % interval of ``*``, ``*_error``
            is its standard error.
        data: What was measured on, and how much of it.
        convention: Of the angles.
        commands: What gives them.
        decimals: With how many the page shows them.
    """

    title: str
    rows: pd.DataFrame
    data: str
    convention: str = "none, geodesic angles"
    commands: tuple[str, ...] = (THIS,)
    decimals: int = 2


def measure(data: Path, backend: PoseBackend) -> dict[str, Table]:
    """All tables, from the folder of measured data and a backend with all three networks."""
    aflw2000 = data / "aflw2000_dev.npz"
    official = data / "pyfeat_pose_mlp_v2_dev.csv"
    face = read_face_model(data / "ict_facekit_face.npz")
    return {
        "real_pictures": Table(
            "Error on photographs, and share of a turn that is read",
            real_detectors.picture_errors(data / "real", backend),
            "AFLW2000-3D's photographs, faces that all detectors found; eight scanned heads for "
            "the shares (yaw by 15, 30, 45 degrees, pitch by 10, 20, 30; 1 is in full)",
            "300w-lp",
        ),
        "real_zeros": Table(
            "Pitch of a face that looks at the camera, less ours on mobilefacenet's landmarks",
            real_detectors.pitch_zeros(data / "real", backend),
            "Pointing'04, seven persons; eight scanned heads",
            "300w-lp, + looks up",
        ),
        "real_video": Table(
            "Jitter from frame to frame, and what an open mouth does to pitch",
            real_detectors.video(data / "real", backend),
            "five clips, 878 frames",
            "300w-lp",
        ),
        "expected_error": Table(
            "`PoseError`: expected / true geodesic error by fifths of the faces, from what is said "
            "to err least to what is said to err most",
            expected_error.expected_errors(data, backend),
            "AFLW2000-3D's photographs, all faces that the detector found; of `3d` the "
            "re-annotated points. Fitted on one half, judged on the other, "
            f"{2 * expected_error.HALVES} times; "
            "rank correlation and the most extreme ratio of any fifth",
        ),
        **_aflw2000(aflw2000, backend),
        "published": Table(
            "AFLW2000-3D, as other methods were published (from images, by another protocol)",
            pd.DataFrame({"network": "-", "method": PUBLISHED.keys(), "mae": PUBLISHED.values()}),
            "AFLW2000-3D, as each publication chose its faces",
            "300w-lp",
            (),
        ),
        "noise": _noise(aflw2000, backend),
        "official_v2": _official_v2(official, backend),
        "constants": _constants(aflw2000, official, backend),
        **_turns(data / "turned_faces_dev.npz", backend),
        "jaw_habits": Table(
            "Synthetic faces by the habit of the jaw: mean geodesic error",
            _jaw_habits(face, backend),
            f"{SYNTHETIC_FACES} faces of ict_facekit_face.npz for each habit, by the recipe of the "
            "type in brackets, the jaw apart",
        ),
        "canonical_face": _canonical_face(backend),
        "layouts": _layouts(data / "pyfeat_paths_dev.npz", backend),
        "translation": Table(
            "Mean absolute error of X, Y, Z on AFLW2000-3D, in units of img2pose's reference face",
            trust.translation_errors(aflw2000, backend),
            f"{aflw2000.name}, 985 faces; target: X, Y, Z by PnP of `landmarks` with img2pose's "
            "reference face in the full frame",
            "img2pose",
            decimals=3,
        ),
        "moved_heads": Table(
            "One head moved over a wide frame without turning: change of the answer from that in "
            "the middle",
            trust.moved_heads(backend),
            "the reference face at 64 places of a 1920 x 1080 frame, corners included",
        ),
        "residual_ranks": Table(
            "AUROC of the residual: landmarks that went wrong against those they were made of",
            trust.residual_ranks(data, backend),
            "aflw2000_dev.npz, 985 faces; turned_faces_dev.npz, 759 pictures; percent of the "
            "distance of the outer eye corners in the picture",
            "none",
        ),
        "limits": Table(
            "Limit of the flag `eyes`, and the share of training faces whose eyes are wider",
            _limits(face, backend),
            f"{SYNTHETIC_FACES} faces of ict_facekit_face.npz by the recipe of each network",
            "none",
            decimals=3,
        ),
        "flags": Table(
            "Real faces that are flagged: median residual, and percent of the faces with a flag",
            trust.flag_shares(data, backend),
            "as named",
            "none",
        ),
    }


def _aflw2000(path: Path, backend: PoseBackend) -> dict[str, Table]:
    parts = []
    for method, network in ((backend, "3d"), (ict_sqpnp(), "-"), (img2pose_sqpnp(), "-")):
        for key in AFLW2000_LANDMARKS:
            result = evaluate(method, read_reference(path, landmarks=key), landmark_model="3d")
            labels = {"method": method.provenance.name, "network": network, "landmarks": key}
            parts.append(_labelled(result.figures.reset_index(), **labels))
    rows = pd.concat(parts, ignore_index=True).drop(columns=AXIS_INTERVALS)
    overall = rows["yaw_range"] == "all"
    by_yaw = rows[~overall & (rows["network"] != "-")]
    data = f"{path.name}, {len(result.faces)} faces"
    command = (
        f"feat-pose evaluate ../shared/data/{path.name} --landmarks LANDMARKS --landmark-model "
        "NETWORK"
    )
    return {
        "aflw2000": Table(
            "AFLW2000-3D",
            rows[overall].drop(columns="yaw_range"),
            data,
            "300w-lp",
            (command, THIS),
        ),
        "aflw2000_by_yaw": Table(
            "AFLW2000-3D by |yaw| of the reference",
            by_yaw.drop(columns="method").rename(columns={"yaw_range": "|yaw|"}),
            data,
            "300w-lp",
            (command,),
        ),
    }


def _noise(path: Path, backend: PoseBackend) -> Table:
    rows = []
    for key in AFLW2000_LANDMARKS:
        reference = read_reference(path, landmarks=key)
        for percent in (0, 1, 2, 4):
            noisy = evaluate(backend, _with_noise(reference, percent), landmark_model="3d")
            row = {"network": "3d", "landmarks": key, "noise percent": percent}
            rows.append(row | noisy.figures.loc["all"].to_dict())
    return Table(
        "AFLW2000-3D with noise on the landmarks, in percent of the distance of the outer eye "
        "corners",
        pd.DataFrame(rows).astype({"faces": int}).drop(columns=AXIS_INTERVALS),
        f"{path.name}, {len(reference.rotation)} faces",
        "300w-lp",
    )


def _with_noise(reference: Reference, percent: float) -> Reference:
    """The same faces with normal noise on each coordinate, in percent of the outer eye distance."""
    points = reference.landmarks.points
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(0)).to(points)
    scale = percent / 100 * outer_eye_distance(points)[:, None, None]
    noisy = replace(reference.landmarks, points=points + scale * noise)
    return replace(reference, landmarks=noisy)


def _official_v2(path: Path, backend: PoseBackend) -> Table:
    reference = read_reference(path, convention="img2pose", groups="source")
    result = evaluate(backend, reference, landmark_model="mobilefacenet")
    errors = result.faces[[f"{axis}_error" for axis in ("rx", "ry", "rz")]]
    clips = errors.groupby(reference.groups[result.faces.index]).mean()
    columns = {
        "angle about": ["x (pitch)", "y (turn to the side)", "z (tilt)"],
        "mean": errors.mean(),
        "mean_error": clips.sem(),
        "around it": (errors - errors.mean()).abs().mean(),
        "mean absolute": errors.abs().mean(),
    }
    return Table(
        "Ours less py-feat's official v2 network, on video",
        pd.DataFrame(columns),
        f"{path.name}, {len(errors)} frames of {len(clips)} clips, mobilefacenet's landmarks",
        "img2pose",
    )


def _constants(aflw2000: Path, official: Path, backend: PoseBackend) -> Table:
    references = {
        f"{aflw2000.name}, {key}": (read_reference(aflw2000, landmarks=key), "3d")
        for key in AFLW2000_LANDMARKS
    }
    video = read_reference(official, convention="img2pose", groups="source")
    references[f"{official.name}, by clip"] = (video, "mobilefacenet")
    rows = []
    for method in (backend, img2pose_sqpnp()):
        for name, (reference, landmark_model) in references.items():
            found = calibrate(method, reference, landmark_model=landmark_model)
            zero = found.turn
            row: dict[str, object] = {
                "method": method.provenance.name,
                "landmark model": landmark_model,
                "reference": name,
                "faces": zero.faces,
            }
            figures = (zero.rotation_vector_deg, zero.standard_error_deg, zero.spread_deg)
            for axis, *of_axis in zip("xyz", *figures, strict=True):
                row |= dict(zip((axis, f"{axis}_error", f"{axis} spread"), of_axis, strict=True))
            row["pitch alone"] = found.pitch_deg
            row["pitch alone_error"] = found.pitch_standard_error_deg
            rows.append(row)
    return Table(
        "The constant C from a method's zero of the head to a reference's, "
        "R_reference = R_estimated C, and what is left around it",
        pd.DataFrame(rows),
        f"{aflw2000.name}, {official.name}",
        "estimated img2pose; reference 300w-lp and img2pose",
        (
            f"feat-pose calibrate ../shared/data/{aflw2000.name} --landmark-model 3d --landmarks "
            "LANDMARKS",
            f"feat-pose calibrate ../shared/data/{official.name} --convention img2pose --groups "
            "source",
            THIS,
        ),
    )


def _turns(path: Path, backend: PoseBackend) -> dict[str, Table]:
    turns = read_turns(path, TURNED_LANDMARKS)
    gains = turn_gains(backend, turns).reset_index()
    gains = gains.rename(columns={"gain": "", "standard_error": "_error"})
    chosen = gains["sweep"].isin(["yaw", "pitch", "roll"]) & (gains["angle_deg"] % 10 == 0)
    gains = gains[chosen].pivot(
        index=["landmarks", "sweep"], columns="angle_deg", values=["", "_error"]
    )
    gains.columns = pd.Index([f"{angle:g}{suffix}" for suffix, angle in gains.columns])
    errors = turn_errors(backend, turns).rename(columns={"standard_error": "geodesic_mean_error"})
    data = f"{path.name}, {len(np.unique(turns.face))} faces"
    command = (
        f"feat-pose turns ../shared/data/{path.name} --landmarks LANDMARKS --landmark-model MODEL"
    )
    return {
        "turn_gains": Table(
            "Turned photographs: the share of a turn that is read, by its angle in degrees",
            gains.reset_index(),
            f"{data}, each against its own picture at 0",
            "img2pose, about the axis of the turn",
            (command,),
        ),
        "turn_errors": Table(
            "Turned photographs: geodesic error of the turn over the yaw sweep to 50 degrees",
            errors.reset_index(),
            data,
            commands=(command,),
        ),
    }


def _jaw_habits(face: FaceModel, backend: PoseBackend) -> pd.DataFrame:
    rows = []
    for habit, recipe in JAW_HABITS.items():
        points, known = synthetic_faces(face, recipe, SYNTHETIC_FACES)
        yaw = torch.asin(known[:, 0, 2].clamp(-1, 1)).abs().rad2deg()
        for network in ("3d", "2d"):
            estimated = estimate_rotations(backend, read_landmarks(points, network), None)
            error = geodesic_angle(estimated, known).rad2deg()
            row = {"jaw": habit, "network": network, "all": error.mean().item()}
            for low, high in pairwise(YAW_BANDS_DEG):
                row[f"yaw {low}-{high}"] = error[(yaw >= low) & (yaw < high)].mean().item()
            rows.append(row)
    return pd.DataFrame(rows)


def _limits(face: FaceModel, backend: PoseBackend) -> pd.DataFrame:
    rows = []
    for network, name in {"2d": "2d", "3d": "3d", "mesh": "mediapipe"}.items():
        points, _ = synthetic_faces(face, RECIPES[network], SYNTHETIC_FACES)
        rows.append({"network": network, **trust.eyes_limit(points, name, backend)})
    return pd.DataFrame(rows)


def synthetic_faces(face: FaceModel, recipe: Synthesis, count: int) -> tuple[Tensor, Tensor]:
    """Synthetic landmarks and their ``[count, 3, 3]`` float64 rotations."""
    generator = torch.Generator().manual_seed(UNSEEN_SEED)
    batches = [
        synthesize(face, recipe, SYNTHETIC_BATCH, generator)
        for _ in range(count // SYNTHETIC_BATCH)
    ]
    points, rotvec = (torch.cat(part) for part in zip(*batches, strict=True))
    return points, rotvec_to_matrix(rotvec.double())


def _canonical_face(backend: PoseBackend) -> Table:
    mesh, block = read_canonical_face()
    steps = [range(-end, end + 1, 10) for end in (60, 30, 30)]
    angles = list(product(*steps))
    known = torch.from_numpy(Rotation.from_euler("YXZ", angles, degrees=True).as_matrix())
    turned = (mesh - mesh.mean(dim=0)) @ known.mT
    rows = []
    for camera, distance_cm in {"far away": torch.inf, "at 50 cm": 50.0}.items():
        seen = turned[..., :2] / (1 + turned[..., 2:] / distance_cm)
        for layout, points in {
            "our 68 vertices": seen,
            "Detectorv2's block": seen[:, block],
        }.items():
            estimated = estimate_rotations(backend, read_landmarks(points), None)
            offset = head_zero(estimated, known)
            error = geodesic_angle(estimated @ offset.rotation, known).rad2deg()
            row = {"layout": layout, "network": "3d", "camera": camera}
            row |= {"geodesic_mean": error.mean().item(), "largest": error.max().item()}
            rows.append(row | _by_axis("offset", offset.rotation_vector_deg))
    return Table(
        "MediaPipe's canonical face under known turns, geodesic error around one constant offset",
        pd.DataFrame(rows),
        f"canonical_face_model.pt of py-feat, {len(angles)} turns, every 10 degrees to 60 of yaw "
        "and 30 of pitch and roll",
        "img2pose; the offset is a constant C as in the table above",
    )


def _layouts(path: Path, backend: PoseBackend) -> Table:
    with np.load(path) as file:
        size = tuple(file["frame_size"].tolist())
        read = {
            "mobilefacenet": read_landmarks(file["landmarks_mobilefacenet"], "mobilefacenet"),
            "mesh": read_landmarks(file["mesh_detectorv2"], "detectorv2"),
            "68-point block": read_landmarks(file["landmarks_detectorv2_block"]),
        }
    first, *others = (
        matrix_to_angles(estimate_rotations(backend, landmarks, size), "img2pose").numpy()
        for landmarks in read.values()
    )
    rows = []
    for key, angles in zip(list(read)[1:], others, strict=True):
        apart = angles - first
        mean = apart.mean(axis=0)
        around = np.abs(apart - mean).mean(axis=0)
        rows.append({"Detectorv2's": key} | _by_axis("mean", mean) | _by_axis("around it", around))
    return Table(
        "One head, one pose: Detectorv2's landmarks less mobilefacenet's on the same frames, "
        "angles about x, y and z",
        pd.DataFrame(rows),
        f"{path.name}, {len(first)} video frames",
        "img2pose",
    )


def _by_axis(name: str, values: Iterable[float]) -> dict[str, float]:
    return {f"{name} {axis}": value for axis, value in zip("xyz", values, strict=True)}


def _labelled(rows: pd.DataFrame, **labels: str) -> pd.DataFrame:
    """The rows with columns before them that hold the same in every row."""
    return rows.assign(**labels)[[*labels, *rows.columns]]


def page(tables: Mapping[str, Table], provenance: Provenance) -> str:
    """The generated part of a page."""
    weights = ", ".join(
        f"`{file.path.name}` (SHA-256 {file.sha256[:12]})" for file in provenance.weights.values()
    )
    parts = [f"Weights: {weights}."]
    for each in tables.values():
        commands = " and ".join(f"`{command}`" for command in each.commands)
        parts += [
            f"### {each.title}",
            f"Data: {each.data}. Convention: {each.convention}. By {commands or 'others'}.",
            _markdown(each.rows, each.decimals),
        ]
    return "\n\n".join(parts)


def _markdown(rows: pd.DataFrame, decimals: int) -> str:
    """Intervals in brackets, standard errors after a plus-minus."""
    shown = [name for name in rows.columns if not name.endswith(("_low", "_high", "_error"))]
    names = [name.replace("_", " ").replace("|", r"\|") for name in shown]
    cells = ([_cell(row, name, decimals) for name in shown] for _, row in rows.iterrows())
    return table(names, cells)


def _cell(row: pd.Series, name: str, decimals: int) -> str:
    value = row[name]
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return ""
    form = f"z.{decimals}f"
    text = f"{value:{form}}"
    if f"{name}_low" in row:
        text += f" [{row[f'{name}_low']:{form}}, {row[f'{name}_high']:{form}}]"
    if f"{name}_error" in row:
        text += f" ± {row[f'{name}_error']:{form}}"
    return text


def main(data: Path) -> None:
    """Measure the bundled weights and write the figures where they belong."""
    torch.set_num_threads(1)  # small matrices: more threads are slower
    backend = get_pose_backend("pose_mlp_synth")
    tables = measure(data, backend)
    for name, shown in PAGES.items():
        text = page({key: tables[key] for key in shown}, backend.provenance)
        Part(name, __file__).write(text)


if __name__ == "__main__":
    typer.run(main)
