"""Distillation: a network that answers as a teacher does, by py-feat's own recipe.

A clip is a table with 68 landmarks and a teacher's six pose columns in each row, as py-feat writes
one for a video. The recipe is that of py-feat's pose_mlp_v2, but for two points. Frames of one clip
are never divided between training and validation: neighbouring frames are all but copies, and
would make the validation error too small. And the last epoch is kept, not the one that validates
best, so that the validation clips choose nothing.

All rows are held in memory, 568 bytes each: a million need 0.6 GB.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss
from tqdm import tqdm

from feat_pose_plugin.errors import ConventionError, TrainingError
from feat_pose_plugin.mlp.checkpoint import write_checkpoint
from feat_pose_plugin.mlp.model import OUTPUTS, PoseMLP, normalise
from feat_pose_plugin.pose.conventions import FEAT_FACEPOSE_COLUMNS_6D, find_convention
from feat_pose_plugin.pose.convert import convert_pose, pose_numbers
from feat_pose_plugin.pose.landmarks import read_landmarks, usable_rows
from feat_pose_plugin.pose.tag import check_tag, read_tag
from feat_pose_plugin.tables.selection import keep_rows
from feat_pose_plugin.tables.stream import naming, read_table
from feat_pose_plugin.training.card import start_card
from feat_pose_plugin.training.symmetric import mirror_features

if TYPE_CHECKING:
    import pandas as pd

_MIRROR_POSE = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
_TEACHERS = ("feat", "img2pose")
_CONSTANT_STD = 1e-6  # radians or units; an axis that varies less never changes


@dataclass(frozen=True)
class Distillation:
    """Settings of a run; the defaults are py-feat's for its v2 network."""

    hidden: tuple[int, ...] = (512, 256, 128)
    layer_norm: bool = True  # v2 blocks; v1 blocks otherwise
    dropout: float = 0.15
    # Rows are kept with a higher score, and with |rx| and |ry| below: what is turned further is a
    # slip of the teacher for the most part.
    face_score_above: float = 0.8
    turned_below_deg: float = 75.0
    jitter_sd: float = 0.015  # noise on each coordinate in training, inter-ocular distances
    validation_share: float = 0.1  # of the clips, at least one on either side
    epochs: int = 30  # how often each row, and its mirror image, is seen
    batch: int = 1024
    learning_rate: float = 1e-3  # at first; it falls to zero along a cosine
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if not self.hidden or min(self.epochs, self.batch, *self.hidden) < 1:
            raise TrainingError(
                f"{self} trains nothing: epochs, batch and the units of each hidden layer must be "
                "at least 1."
            )


RECIPES: Mapping[str, Distillation] = MappingProxyType(
    {
        "v1": Distillation(hidden=(256, 128, 64), layer_norm=False, dropout=0.0),
        "v2": Distillation(),
    }
)
"""Settings for each of py-feat's architectures."""


class Distilled(NamedTuple):
    """The clips that were trained on, those that were validated on, and the errors on the latter.

    ``errors`` has an entry for each epoch: the mean absolute difference to the teacher, rotation in
    degrees, translation in the teacher's units. The last one is that of the weights written.
    """

    training_clips: tuple[Path, ...]
    validation_clips: tuple[Path, ...]
    errors: tuple[dict[str, float], ...]


class _Rows(NamedTuple):
    """Rows to learn from: ``[n, 136]`` normalised landmarks and ``[n, 6]`` the teacher's pose."""

    features: Tensor
    pose: Tensor


def train_distill(
    clips: Sequence[Path],
    output: Path,
    *,
    settings: Distillation = RECIPES["v2"],
    convention: str = "feat",
    seed: int = 0,
    progress: bool = False,
) -> Distilled:
    """Train a network on a teacher's answers and write it as a checkpoint.

    Args:
        clips: Tables, CSV or Parquet by suffix, with landmarks of any layout that
            :func:`~feat_pose_plugin.estimate_pose` knows, ``FaceScore``, and the teacher's
            ``Pitch, Roll, Yaw, X, Y, Z``. All frames of a video belong in one table.
        output: The ``.safetensors`` file to write; the model card goes beside it.
        settings: Network, filters and schedule; py-feat's for v2 by default. See :data:`RECIPES`.
        convention: What the pose columns mean, ``"feat"`` or ``"img2pose"``. The network learns
            the Euler angles and X, Y, Z of ``img2pose`` either way, as py-feat's own network does.
        seed: Everything random follows from it; the same clips then give the same file.
        progress: Whether to show progress bars and print the errors of each epoch.

    Returns:
        The two sides of the split, and the errors of each epoch.

    Raises:
        TrainingError: A table lacks ``FaceScore`` or a pose column, fewer than two clips have rows
            to keep, or the folder of the output is not there.
        TableError: A table cannot be read.
        LandmarkError: A table has no landmarks, or part of them, or text among them.
        ConventionError: The convention is another, a table says that its poses are in another, or
            a column holds text.
    """
    if find_convention(convention).name not in _TEACHERS:
        known = " or ".join(repr(known) for known in _TEACHERS)
        raise ConventionError(f"a teacher's pose must be in {known}, got {convention!r}.")
    if not output.parent.is_dir():
        raise TrainingError(f"{output.parent} is no folder; make it first, or choose another.")
    kept: dict[Path, _Rows] = {}
    left_out: Counter[str] = Counter()
    for clip in tqdm(clips, unit="clip", disable=not progress):
        with naming(clip):
            rows, reasons = _select_rows(read_table(clip), settings, convention)
        left_out.update(reasons)
        if len(rows.pose):
            kept[clip] = rows
    if len(kept) < 2:
        raise TrainingError(
            f"{len(kept)} clips have rows to train on (rows left out: {dict(left_out)}), and at "
            "least 2 are needed, one to train on and one to validate on."
        )
    data = [torch.cat(rows, dim=1).numpy().tobytes() for rows in kept.values()]
    digests = sorted(hashlib.sha256(each).digest() for each in data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sides = _split(list(kept), settings.validation_share)
        training, validation = (
            _Rows(*map(torch.cat, zip(*(kept.pop(clip) for clip in side), strict=True)))
            for side in sides
        )
        mean, std = _mean_and_std(training.pose)
        model = PoseMLP(settings.hidden, settings.dropout, settings.layer_norm)
        errors = _fit(model, training, validation, mean, std, settings, progress)
    card = start_card(output, settings, seed)
    card["data"] = {
        "teacher_convention": convention,
        "training": {"clips": len(sides[0]), "rows": len(training.pose)},
        "validation": {"clips": len(sides[1]), "rows": len(validation.pose)},
        "rows_left_out": dict(left_out),
        "sha256": hashlib.sha256(b"".join(digests)).hexdigest(),
    }
    card["figures"] = {"validation_error_by_epoch": errors}
    write_checkpoint(output, model, mean, std, card)
    return Distilled(*sides, tuple(errors))


def _select_rows(
    table: pd.DataFrame, settings: Distillation, convention: str
) -> tuple[_Rows, dict[str, int]]:
    """Rows to train on, and how many others there are, each under the first reason that applies."""
    check_tag(read_tag(table), convention, "the table")
    table = table.rename(columns=lambda name: str(name).strip())
    wanted = [*FEAT_FACEPOSE_COLUMNS_6D, "FaceScore"]
    missing = ", ".join(name for name in wanted if name not in table)
    if missing:
        raise TrainingError(
            f"there is no column {missing}. A clip to learn from holds 68 landmarks, "
            f"{', '.join(wanted)} in each row."
        )
    points = read_landmarks(table).points.float()  # of whatever format, the same bytes
    values = pose_numbers(table, list(wanted)).float()
    pose, score = convert_pose(values[:, :OUTPUTS], convention, "img2pose"), values[:, -1]
    reasons = {
        "landmarks_not_usable": ~usable_rows(points),
        "pose_missing": ~pose.isfinite().all(dim=1),
        "face_score_too_low": ~(score > settings.face_score_above),
        "turned_too_far": (pose[:, :2].rad2deg().abs() >= settings.turned_below_deg).any(dim=1),
    }
    keep, left_out = keep_rows(reasons)
    return _Rows(normalise(points[keep]), pose[keep]), left_out


def _split(clips: list[Path], share: float) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Clips to train on and clips to validate on, in random order."""
    count = min(max(round(share * len(clips)), 1), len(clips) - 1)
    shuffled = [clips[place] for place in torch.randperm(len(clips))]
    return tuple(shuffled[count:]), tuple(shuffled[:count])


def _mean_and_std(pose: Tensor) -> tuple[Tensor, Tensor]:
    """``[6]`` mean and standard deviation of the pose of rows and of their mirror images."""
    exact = pose.double()
    mean = torch.where(_MIRROR_POSE < 0, 0.0, exact.mean(dim=0))
    std = (exact.square().mean(dim=0) - mean.square()).clamp_min(0).sqrt()
    std[std < _CONSTANT_STD] = 1
    return mean.float(), std.float()


def _fit(
    model: PoseMLP,
    training: _Rows,
    validation: _Rows,
    mean: Tensor,
    std: Tensor,
    settings: Distillation,
    progress: bool,
) -> list[dict[str, float]]:
    """Train the model in place; the validation errors after each epoch."""
    rows = len(training.pose)
    steps = settings.epochs * math.ceil(2 * rows / settings.batch)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    errors = []
    with tqdm(total=steps, unit="step", disable=not progress) as bar:
        for epoch in range(settings.epochs):
            model.train()
            # Row i mirrored has the number rows + i.
            for numbers in torch.split(torch.randperm(2 * rows), settings.batch):
                features, pose = (part[numbers % rows] for part in training)
                mirrored = numbers[:, None] >= rows
                features = torch.where(mirrored, mirror_features(features), features)
                pose = torch.where(mirrored, pose * _MIRROR_POSE, pose)
                jitter = settings.jitter_sd * torch.randn_like(features)
                loss = smooth_l1_loss(model(features + jitter), (pose - mean) / std)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                bar.update()
            errors.append(_errors(model, validation, mean, std))
            if progress:
                shown = ", ".join(f"{axis} {error:.3f}" for axis, error in errors[-1].items())
                tqdm.write(f"epoch {epoch + 1}/{settings.epochs}: {shown}")
    return errors


@torch.no_grad()
def _errors(model: PoseMLP, validation: _Rows, mean: Tensor, std: Tensor) -> dict[str, float]:
    """Mean absolute difference to the teacher, degrees and its units."""
    model.eval()
    found = torch.cat([model(part) for part in torch.split(validation.features, 4096)]) * std + mean
    error = (found - validation.pose).abs().mean(dim=0)
    error[:3] = error[:3].rad2deg()
    return dict(zip(("rx_deg", "ry_deg", "rz_deg", "tx", "ty", "tz"), error.tolist(), strict=True))
