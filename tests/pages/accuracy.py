"""The accuracy of `pose_mlp_synth`, measured anew in one run.

::

    python tests/pages/accuracy.py ../shared/data

writes every figure into the generated parts of docs/accuracy.md, docs/accuracy-details.md and
docs/trust-details.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import expected_error
import numpy as np
import pandas as pd
import real_detectors
import torch
import trust
import typer
from canonical_face import read_canonical_face
from documents import with_part
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
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.pose.backend import PoseBackend, Provenance
from feat_pose_plugin.pose.landmark_models import LandmarkKind
from feat_pose_plugin.pose.landmarks import outer_eye_distance, read_landmarks
from feat_pose_plugin.pose.registry import get_pose_backend
from feat_pose_plugin.pose.rotations import geodesic_angle, rotvec_to_matrix
from feat_pose_plugin.training.face_model import FaceModel, read_face_model
from feat_pose_plugin.training.recipes import RECIPES, Synthesis
from feat_pose_plugin.training.synthetic_faces import synthesize

DOCS = Path(__file__).parents[2] / "docs"
BEGIN = "<!-- begin: written by tests/pages/accuracy.py -->"
END = "<!-- end: written by tests/pages/accuracy.py -->"
THIS = "python tests/pages/accuracy.py ../shared/data"

NETWORKS: tuple[LandmarkKind, LandmarkKind] = ("3d", "2d")
AFLW2000_LANDMARKS = ("landmarks", "landmarks_reannotated")
# The intervals of the mean over the axes and of the geodesic error are enough for a page.
AXIS_INTERVALS = [f"{axis}_{end}" for axis in ("pitch", "yaw", "roll") for end in ("low", "high")]
TURNED_LANDMARKS = {
    "landmarks_pfld": "pfld",
    "landmarks_mobilefacenet": "mobilefacenet",
    "landmarks_projected": "3d",
}

YAW_BANDS_DEG = (0, 30, 60, 95)
SYNTHETIC_FACES = 20_000
SYNTHETIC_BATCH = 2_000  # jaw bands of all faces at once would fill the memory
# A run with seed 0 draws its faces from generators with seeds 0, 1, 2, ..., one for each step.
UNSEEN_SEED = 1_000_000


def _only_jaw(recipe: Synthesis, *, contour: float, fixed_contour: float) -> Synthesis:
    return replace(recipe, contour_share=contour, fixed_contour_share=fixed_contour)


JAW_HABITS = {
    "visible contour (2d)": _only_jaw(RECIPES["2d"], contour=1, fixed_contour=0),
    "fixed contour of the head (3d)": _only_jaw(RECIPES["3d"], contour=0, fixed_contour=1),
    "Multi-PIE, set back (3d)": _only_jaw(RECIPES["3d"], contour=0, fixed_contour=0),
}


PAGES = {
    DOCS / "accuracy.md": (
        *("real_pictures", "real_zeros", "real_video", "expected_error"),
        *("aflw2000", "turn_gains", "official_v2", "layouts"),
    ),
    DOCS / "accuracy-details.md": (
        *("aflw2000_by_yaw", "published", "noise", "constants", "turn_errors"),
        *("jaw_habits", "canonical_face"),
    ),
    DOCS / "trust-details.md": (
        *("translation", "moved_heads", "residual_ranks", "limits", "flags"),
    ),
}
"""Which tables each page shows."""


@dataclass(frozen=True)
class Table:
    """Figures that belong together.

    Attributes:
        title: What they say.
        data: What was measured on, and how much of it.
        convention: Of the angles.
        commands: What gives them.
        rows: The figures, degrees unless the title says otherwise. Column ``network`` names the
            network of a row. ``*_low`` and ``*_high`` are the 95 % interval of ``*``, ``*_error``
            is its standard error.
        decimals: With how many the page shows them.
    """

    title: str
    data: str
    convention: str
    commands: tuple[str, ...]
    rows: pd.DataFrame
    decimals: int = 2


def measure(data: Path, backend: PoseBackend) -> dict[str, Table]:
    """All tables, in the order of the page.

    Args:
        data: The folder of measured data.
        backend: A backend with a network for each landmark type.
    """
    aflw2000 = data / "aflw2000_dev.npz"
    official = data / "pyfeat_pose_mlp_v2_dev.csv"
    turned = data / "turned_faces_dev.npz"
    return {
        **_real_detectors(data / "real", backend),
        "expected_error": _expected_error(data, backend),
        **_aflw2000(aflw2000, backend),
        "published": _published(),
        "noise": _noise(aflw2000, backend),
        "official_v2": _official_v2(official, backend),
        "constants": _constants(aflw2000, official, backend),
        **_turns(turned, backend),
        "jaw_habits": _jaw_habits(data / "ict_facekit_face.npz", backend),
        "canonical_face": _canonical_face(backend),
        "layouts": _layouts(data / "pyfeat_paths_dev.npz", backend),
        **_translation(aflw2000, backend),
        **_trust(data, backend),
    }


def _real_detectors(folder: Path, backend: PoseBackend) -> dict[str, Table]:
    return {
        "real_pictures": Table(
            "Error on photographs, and share of a turn that is read",
            "AFLW2000-3D's photographs, faces that all detectors found; eight scanned heads for "
            "the shares (yaw by 15, 30, 45 degrees, pitch by 10, 20, 30; 1 is in full)",
            "300w-lp",
            (THIS,),
            real_detectors.picture_errors(folder, backend),
        ),
        "real_zeros": Table(
            "Pitch of a face that looks at the camera, less ours on mobilefacenet's landmarks",
            "Pointing'04, seven persons; eight scanned heads",
            "300w-lp, + looks up",
            (THIS,),
            real_detectors.pitch_zeros(folder, backend),
        ),
        "real_video": Table(
            "Jitter from frame to frame, and what an open mouth does to pitch",
            "five clips, 878 frames",
            "300w-lp",
            (THIS,),
            real_detectors.video(folder, backend),
        ),
    }


def _expected_error(data: Path, backend: PoseBackend) -> Table:
    return Table(
        "`PoseError`: expected / true geodesic error by fifths of the faces, from what is said to "
        "err least to what is said to err most",
        "AFLW2000-3D's photographs, all faces that the detector found; of `3d` the re-annotated "
        f"points. Fitted on one half, judged on the other, {2 * expected_error.HALVES} times; rank "
        "correlation and the most extreme ratio of any fifth",
        "none, geodesic angles",
        (THIS,),
        expected_error.expected_errors(data, backend),
    )


def _aflw2000(path: Path, backend: PoseBackend) -> dict[str, Table]:
    methods: list[tuple[PoseBackend, LandmarkKind, str]] = [
        (backend, "3d", "3d"),
        (ict_sqpnp(), "3d", "-"),
        (img2pose_sqpnp(), "3d", "-"),
    ]
    parts = []
    for method, landmark_model, network in methods:
        for key in AFLW2000_LANDMARKS:
            reference = read_reference(path, landmarks=key)
            result = evaluate(method, reference, landmark_model=landmark_model)
            parts.append(
                _labelled(
                    result.figures.reset_index(),
                    method=method.provenance.name,
                    network=network,
                    landmarks=key,
                )
            )
    rows = pd.concat(parts, ignore_index=True).drop(columns=AXIS_INTERVALS)
    overall = rows["yaw_range"] == "all"
    by_yaw = ~overall & (rows["network"] != "-")
    data = f"{path.name}, {len(result.faces)} faces"
    command = (
        f"feat-pose evaluate ../shared/data/{path.name} --landmarks LANDMARKS --landmark-model "
        "NETWORK"
    )
    return {
        "aflw2000": Table(
            "AFLW2000-3D",
            data,
            "300w-lp",
            (command, THIS),
            rows[overall].drop(columns="yaw_range"),
        ),
        "aflw2000_by_yaw": Table(
            "AFLW2000-3D by |yaw| of the reference",
            data,
            "300w-lp",
            (command,),
            rows[by_yaw].drop(columns="method").rename(columns={"yaw_range": "|yaw|"}),
        ),
    }


def _published() -> Table:
    mae = {"img2pose": 3.91, "6DRepNet": 3.97, "SynergyNet": 3.35, "OPAL": 3.27}
    rows = pd.DataFrame({"method": list(mae), "mae": list(mae.values())})
    return Table(
        "AFLW2000-3D, as other methods were published (from images, by another protocol)",
        "AFLW2000-3D, as each publication chose its faces",
        "300w-lp",
        (),
        _labelled(rows, network="-"),
    )


def _noise(path: Path, backend: PoseBackend) -> Table:
    rows = []
    for key in AFLW2000_LANDMARKS:
        reference = read_reference(path, landmarks=key)
        for percent in (0, 1, 2, 4):
            noisy = evaluate(backend, with_noise(reference, percent), landmark_model="3d")
            row = {"network": "3d", "landmarks": key, "noise percent": percent}
            rows.append(row | noisy.figures.loc["all"].to_dict())
    return Table(
        "AFLW2000-3D with noise on the landmarks, in percent of the distance of the outer eye "
        "corners",
        f"{path.name}, {len(reference.rotation)} faces",
        "300w-lp",
        (THIS,),
        pd.DataFrame(rows).astype({"faces": int}).drop(columns=AXIS_INTERVALS),
    )


def with_noise(reference: Reference, percent: float) -> Reference:
    """The same faces with normal noise on each coordinate, in percent of the outer eye distance."""
    points = reference.landmarks.points
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(0)).to(points)
    scale = percent / 100 * outer_eye_distance(points)[:, None, None]
    noisy = replace(reference.landmarks, points=points + scale * noise)
    return replace(reference, landmarks=noisy)


def _official_v2(path: Path, backend: PoseBackend) -> Table:
    reference = read_reference(path, convention="img2pose", groups="source")
    assert reference.groups is not None
    result = evaluate(backend, reference, landmark_model="mobilefacenet")
    errors = result.faces[[f"{axis}_error" for axis in ("rx", "ry", "rz")]]
    clips = errors.groupby(reference.groups[result.faces.index]).mean()
    columns = {
        "mean": errors.mean(),
        "mean_error": clips.sem(),
        "around it": (errors - errors.mean()).abs().mean(),
        "mean absolute": errors.abs().mean(),
    }
    rows = pd.DataFrame(columns).rename_axis("angle about").reset_index()
    rows["angle about"] = ["x (pitch)", "y (turn to the side)", "z (tilt)"]
    return Table(
        "Ours less py-feat's official v2 network, on video",
        f"{path.name}, {len(errors)} frames of {len(clips)} clips, mobilefacenet's landmarks",
        "img2pose",
        (THIS,),
        rows,
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
            constant = calibrate(method, reference, landmark_model=landmark_model)
            zero = constant.turn
            row: dict[str, object] = {
                "method": method.provenance.name,
                "landmark model": landmark_model,
                "reference": name,
                "faces": zero.faces,
            }
            for axis, value, error, spread in zip(
                "xyz",
                zero.rotation_vector_deg,
                zero.standard_error_deg,
                zero.spread_deg,
                strict=True,
            ):
                row |= {axis: value, f"{axis}_error": error, f"{axis} spread": spread}
            rows.append(
                row
                | {
                    "pitch alone": constant.pitch_deg,
                    "pitch alone_error": constant.pitch_standard_error_deg,
                }
            )
    return Table(
        "The constant C from a method's zero of the head to a reference's, "
        "R_reference = R_estimated C, and what is left around it",
        f"{aflw2000.name}, {official.name}",
        "estimated img2pose; reference 300w-lp and img2pose",
        (
            f"feat-pose calibrate ../shared/data/{aflw2000.name} --landmark-model 3d --landmarks "
            "LANDMARKS",
            f"feat-pose calibrate ../shared/data/{official.name} --convention img2pose --groups "
            "source",
            THIS,
        ),
        pd.DataFrame(rows),
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
            f"{data}, each against its own picture at 0",
            "img2pose, about the axis of the turn",
            (command,),
            gains.reset_index(),
        ),
        "turn_errors": Table(
            "Turned photographs: geodesic error of the turn over the yaw sweep to 50 degrees",
            data,
            "none, geodesic angles",
            (command,),
            errors.reset_index(),
        ),
    }


def _jaw_habits(path: Path, backend: PoseBackend) -> Table:
    face = read_face_model(path)
    rows = []
    for habit, recipe in JAW_HABITS.items():
        points, known = synthetic_faces(face, recipe, SYNTHETIC_FACES)
        yaw = torch.asin(known[:, 0, 2].clamp(-1, 1)).abs().rad2deg()
        for network in NETWORKS:
            estimated = estimate_rotations(backend, read_landmarks(points, network), None)
            error = geodesic_angle(estimated, known).rad2deg()
            row = {"jaw": habit, "network": network, "all": error.mean().item()}
            for low, high in pairwise(YAW_BANDS_DEG):
                row[f"yaw {low}-{high}"] = error[(yaw >= low) & (yaw < high)].mean().item()
            rows.append(row)
    return Table(
        "Synthetic faces by the habit of the jaw: mean geodesic error",
        f"{SYNTHETIC_FACES} faces of {path.name} for each habit, by the recipe of the type in "
        "brackets, the jaw apart",
        "none, geodesic angles",
        (THIS,),
        pd.DataFrame(rows),
    )


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
    angles = [
        (yaw, pitch, roll)
        for yaw in range(-60, 61, 10)
        for pitch in range(-30, 31, 10)
        for roll in range(-30, 31, 10)
    ]
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
            row = {
                "layout": layout,
                "network": "3d",
                "camera": camera,
                "geodesic_mean": error.mean().item(),
                "largest": error.max().item(),
            }
            row |= {
                f"offset {axis}": v
                for axis, v in zip("xyz", offset.rotation_vector_deg, strict=True)
            }
            rows.append(row)
    return Table(
        "MediaPipe's canonical face under known turns, geodesic error around one constant offset",
        f"canonical_face_model.pt of py-feat, {len(angles)} turns, every 10 degrees to 60 of yaw "
        "and 30 of pitch and roll",
        "img2pose; the offset is a constant C as in the table above",
        (THIS,),
        pd.DataFrame(rows),
    )


def _layouts(path: Path, backend: PoseBackend) -> Table:
    with np.load(path) as file:
        size = tuple(file["frame_size"].tolist())
        read = {
            "mobilefacenet": read_landmarks(file["landmarks_mobilefacenet"], "mobilefacenet"),
            "mesh": read_landmarks(file["mesh_detectorv2"], "detectorv2"),
            "68-point block": read_landmarks(file["landmarks_detectorv2_block"]),
        }
    angles = {
        key: matrix_to_angles(estimate_rotations(backend, landmarks, size), "img2pose").numpy()
        for key, landmarks in read.items()
    }
    first, *others = angles
    rows = []
    for key in others:
        apart = angles[key] - angles[first]
        mean = apart.mean(axis=0)
        around = np.abs(apart - mean).mean(axis=0)
        row: dict[str, object] = {"Detectorv2's": key}
        row |= {f"mean {axis}": value for axis, value in zip("xyz", mean, strict=True)}
        row |= {f"around it {axis}": value for axis, value in zip("xyz", around, strict=True)}
        rows.append(row)
    return Table(
        "One head, one pose: Detectorv2's landmarks less mobilefacenet's on the same frames, "
        "angles about x, y and z",
        f"{path.name}, {len(apart)} video frames",
        "img2pose",
        (THIS,),
        pd.DataFrame(rows),
    )


def _translation(aflw2000: Path, backend: PoseBackend) -> dict[str, Table]:
    errors = trust.translation_errors(aflw2000, backend)
    height, width = trust.WIDE_FRAME
    return {
        "translation": Table(
            "Mean absolute error of X, Y, Z on AFLW2000-3D, in units of img2pose's reference face",
            f"{aflw2000.name}, 985 faces; target: X, Y, Z by PnP of `landmarks` with img2pose's "
            "reference face in the full frame",
            "img2pose",
            (THIS,),
            errors,
            decimals=3,
        ),
        "moved_heads": Table(
            "One head moved over a wide frame without turning: change of the answer from that in "
            "the middle",
            f"the reference face at 64 places of a {width} x {height} frame, corners included",
            "none, geodesic angles",
            (THIS,),
            trust.moved_heads(backend),
        ),
    }


def _trust(data: Path, backend: PoseBackend) -> dict[str, Table]:
    face = read_face_model(data / "ict_facekit_face.npz")
    limits = []
    for network, name in {"2d": "2d", "3d": "3d", "mesh": "mediapipe"}.items():
        points, _ = synthetic_faces(face, RECIPES[network], SYNTHETIC_FACES)
        limits.append({"network": network, **trust.eyes_limit(points, name, backend)})
    return {
        "residual_ranks": Table(
            "AUROC of the residual: landmarks that went wrong against those they were made of",
            "aflw2000_dev.npz, 985 faces; turned_faces_dev.npz, 759 pictures; percent of the "
            "distance of the outer eye corners in the picture",
            "none",
            (THIS,),
            trust.residual_ranks(data, backend),
        ),
        "limits": Table(
            "Limit of the flag `eyes`, and the share of training faces whose eyes are wider",
            f"{SYNTHETIC_FACES} faces of ict_facekit_face.npz by the recipe of each network",
            "none",
            (THIS,),
            pd.DataFrame(limits),
            decimals=3,
        ),
        "flags": Table(
            "Real faces that are flagged: median residual, and percent of the faces with a flag",
            "as named",
            "none",
            (THIS,),
            trust.flag_shares(data, backend),
        ),
    }


def _labelled(rows: pd.DataFrame, **labels: str) -> pd.DataFrame:
    """The rows with columns before them that hold the same in every row."""
    return rows.assign(**labels)[[*labels, *rows.columns]]


def page(tables: Mapping[str, Table], provenance: Provenance) -> str:
    """The generated part of the page, markers excluded."""
    weights = ", ".join(
        f"`{file.path.name}` (SHA-256 {file.sha256[:12]})" for file in provenance.weights.values()
    )
    parts = [f"Weights: {weights}."]
    for table in tables.values():
        commands = " and ".join(f"`{command}`" for command in table.commands)
        parts += [
            f"### {table.title}",
            f"Data: {table.data}. Convention: {table.convention}. By {commands or 'others'}.",
            _markdown(table.rows, table.decimals),
        ]
    return "\n\n".join(parts)


def _markdown(rows: pd.DataFrame, decimals: int) -> str:
    """Intervals in brackets, standard errors after a plus-minus."""
    aside = ("_low", "_high", "_error")
    shown = [name for name in rows.columns if not name.endswith(aside)]
    names = [name.replace("_", " ").replace("|", r"\|") for name in shown]
    lines = [names, ["---"] * len(shown)]
    lines += [[_cell(row, name, decimals) for name in shown] for _, row in rows.iterrows()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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


def write_page(path: Path, tables: Mapping[str, Table], provenance: Provenance) -> None:
    """Replace the part of the page between the markers."""
    text = with_part(path, BEGIN, page(tables, provenance), END)
    with write_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def main(data: Path) -> None:
    """Measure the bundled weights and write the figures where they belong.

    Args:
        data: The folder of measured data.
    """
    torch.set_num_threads(1)  # small matrices: more threads are slower
    backend = get_pose_backend("pose_mlp_synth")
    tables = measure(data, backend)
    for path, names in PAGES.items():
        write_page(path, {name: tables[name] for name in names}, backend.provenance)


if __name__ == "__main__":
    typer.run(main)
