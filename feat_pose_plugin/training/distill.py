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

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss
from tqdm import tqdm

from feat_pose_plugin.errors import ConventionError, LandmarkError, TrainingError
from feat_pose_plugin.mlp.checkpoint import write_checkpoint
from feat_pose_plugin.mlp.model import OUTPUTS, PoseMLP, normalise
from feat_pose_plugin.pose.conventions import FEAT_FACEPOSE_COLUMNS_6D, find_convention
from feat_pose_plugin.pose.convert import convert_pose
from feat_pose_plugin.pose.landmarks import read_landmarks, usable_rows
from feat_pose_plugin.pose.tag import check_tag, read_tag
from feat_pose_plugin.tables.selection import keep_rows
from feat_pose_plugin.tables.stream import read_table
from feat_pose_plugin.training.card import start_card
from feat_pose_plugin.training.symmetric import mirror_features

if TYPE_CHECKING:
    import pandas as pd

_MIRROR_POSE = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
_TEACHERS = ("feat", "img2pose")
_MOST_ROWS = 10_000_000
_CONSTANT_STD = 1e-6  # radians or units; an axis that varies less never changes


@dataclass(frozen=True)
class Distillation:
    """Settings of a run; the defaults are py-feat's for its v2 network.

    Attributes:
        hidden: Units of each hidden layer.
        layer_norm: True for v2 blocks, False for v1 blocks; see :class:`PoseMLP`.
        dropout: Probability of dropping a hidden unit.
        face_score_above: Rows are kept whose ``FaceScore`` is above this.
        turned_below_deg: Rows are kept whose ``|rx|`` and ``|ry|`` are below this: larger ones are
            slips of the teacher for the most part.
        jitter_sd: Standard deviation of the normal noise on each coordinate in training, in
            inter-ocular distances.
        validation_share: Share of the clips to validate on; at least one on either side.
        epochs: How often each row, and its mirror image, is seen.
        batch: Rows a step.
        learning_rate: Rate of AdamW at first; it falls to zero along a cosine.
        weight_decay: Of AdamW.
    """

    hidden: tuple[int, ...] = (512, 256, 128)
    layer_norm: bool = True
    dropout: float = 0.15
    face_score_above: float = 0.8
    turned_below_deg: float = 75.0
    jitter_sd: float = 0.015
    validation_share: float = 0.1
    epochs: int = 30
    batch: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        if not self.hidden or min(self.epochs, self.batch, *self.hidden) < 1:
            raise TrainingError(
                f"{self} trains nothing: epochs, batch and the units of each hidden layer must be "
                "at least 1."
            )
        if not (0 <= self.dropout < 1 and 0 < self.validation_share < 1 and self.jitter_sd >= 0):
            raise TrainingError(
                f"{self} is not possible: dropout must be from 0 to below 1, validation_share "
                "between 0 and 1, jitter_sd at least 0."
            )


RECIPES: Mapping[str, Distillation] = MappingProxyType(
    {
        "v1": Distillation(hidden=(256, 128, 64), layer_norm=False, dropout=0.0),
        "v2": Distillation(),
    }
)
"""Settings for each of py-feat's architectures."""


class AxisErrors(NamedTuple):
    """Mean absolute difference to the teacher, rotation in degrees, translation in its units."""

    rx_deg: float
    ry_deg: float
    rz_deg: float
    tx: float
    ty: float
    tz: float

    def __str__(self) -> str:
        rx, ry, rz, tx, ty, tz = (f"{error:.3f}" for error in self)
        return f"rx {rx}, ry {ry}, rz {rz} degrees; tx {tx}, ty {ty}, tz {tz}"


@dataclass(frozen=True)
class Distilled:
    """What a run did.

    Attributes:
        training_clips: The clips that were trained on.
        validation_clips: The clips that were validated on. In neither are clips of which no row
            could be kept, and second copies of a clip.
        errors: On the validation clips after each epoch; the last are those of the weights written.
    """

    training_clips: tuple[Path, ...]
    validation_clips: tuple[Path, ...]
    errors: tuple[AxisErrors, ...]


def train_distill(
    clips: Sequence[Path],
    output: Path,
    *,
    settings: Distillation | None = None,
    convention: str = "feat",
    seed: int = 0,
    progress: bool = False,
) -> Distilled:
    """Train a network on a teacher's answers and write it as a checkpoint.

    Args:
        clips: Tables, CSV or Parquet by suffix, with landmarks of any layout that
            :func:`~feat_pose_plugin.pose.landmarks.read_landmarks` knows, ``FaceScore``, and the
            teacher's ``Pitch, Roll, Yaw, X, Y, Z``. All frames of a video belong in one table.
        output: The ``.safetensors`` file to write; the model card goes beside it.
        settings: Network, filters and schedule; py-feat's for v2 if None. See :data:`RECIPES`.
        convention: What the pose columns mean, ``"feat"`` or ``"img2pose"``. The network learns
            the Euler angles and X, Y, Z of ``img2pose`` either way, as py-feat's own network does.
        seed: Everything random follows from it; the same clips then give the same file.
        progress: Whether to show progress bars and print the errors of each epoch.

    Returns:
        The two sides of the split, and the errors of each epoch.

    Raises:
        TrainingError: A table lacks ``FaceScore`` or a pose column or has text there, fewer than
            two clips have rows to keep, there are more than ten million rows, or the folder of the
            output is not there.
        TableError: A table cannot be read.
        LandmarkError: A table has no landmarks, or part of them, or text among them.
        ConventionError: The convention is another, or a table says that its poses are in another.
    """
    settings = settings or Distillation()
    if find_convention(convention).name not in _TEACHERS:
        known = " or ".join(repr(known) for known in _TEACHERS)
        raise ConventionError(f"a teacher's pose must be in {known}, got {convention!r}.")
    if not output.parent.is_dir():
        raise TrainingError(f"{output.parent} is no folder; make it first, or choose another.")
    kept, left_out, sha256 = _read_clips(clips, settings, convention, progress)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sides = _split(list(kept), settings.validation_share, left_out)
        training, validation = (
            _Rows(*map(torch.cat, zip(*(kept[clip] for clip in side), strict=True)))
            for side in sides
        )
        kept.clear()  # joined now; once is enough
        mean, std = _mean_and_std(training.pose)
        model = PoseMLP(settings.hidden, settings.dropout, settings.layer_norm)
        errors = _fit(model, training, validation, mean, std, settings, progress)
    card = start_card(output, settings, seed)
    card["data"] = {
        "teacher_convention": convention,
        "training": {"clips": len(sides[0]), "rows": len(training.pose)},
        "validation": {"clips": len(sides[1]), "rows": len(validation.pose)},
        "rows_left_out": left_out,
        "sha256": sha256,
    }
    card["figures"] = {"validation_error_by_epoch": [each._asdict() for each in errors]}
    write_checkpoint(output, model, mean, std, card)
    return Distilled(*sides, tuple(errors))


class _Rows(NamedTuple):
    """Rows to learn from: ``[n, 136]`` normalised landmarks and ``[n, 6]`` the teacher's pose."""

    features: Tensor
    pose: Tensor


def _read_clips(
    clips: Sequence[Path], settings: Distillation, convention: str, progress: bool
) -> tuple[dict[Path, _Rows], dict[str, int], str]:
    """The rows that the filters keep by clip, how many others there are and why, and a hash."""
    kept: dict[Path, _Rows] = {}
    left_out = Counter(copy_of_another_clip=0)
    digests: set[bytes] = set()
    count = 0
    for clip in tqdm(clips, unit="clip", disable=not progress):
        rows, reasons = _select_rows(read_table(clip), clip, settings, convention)
        left_out.update(reasons)
        digest = hashlib.sha256(torch.cat(rows, dim=1).numpy().tobytes()).digest()
        if digest in digests:
            left_out["copy_of_another_clip"] += len(rows.pose)
        elif len(rows.pose):
            kept[clip] = rows
            digests.add(digest)
            count += len(rows.pose)
        if count > _MOST_ROWS:
            raise TrainingError(
                f"the clips have more than {_MOST_ROWS} rows, which would not fit in memory. Pass "
                "fewer of them: more of the same people teach little."
            )
    if progress:
        tqdm.write(f"{count} rows of {len(kept)} clips; left out: {dict(left_out)}")
    return kept, dict(left_out), hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _select_rows(
    table: pd.DataFrame, clip: Path, settings: Distillation, convention: str
) -> tuple[_Rows, dict[str, int]]:
    """Rows to train on, and how many others there are, each under the first reason that applies."""
    check_tag(read_tag(table), convention, str(clip))
    table = table.rename(columns=lambda name: str(name).strip())
    wanted = [*FEAT_FACEPOSE_COLUMNS_6D, "FaceScore"]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise TrainingError(
            f"{clip} has no column {', '.join(missing)}. A clip to learn from holds 68 landmarks, "
            f"{', '.join(wanted)} in each row."
        )
    try:
        points = read_landmarks(table).points.float()  # of whatever format, the same bytes
        with np.errstate(over="ignore"):  # beyond float32 is infinity, and so no pose
            # A copy, because pandas may give an array that nobody may write to.
            numbers = table[wanted].to_numpy(np.float32, copy=True, na_value=np.nan)
    except LandmarkError as error:
        raise LandmarkError(f"{clip}: {error}") from error
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"{clip}: {error}. {', '.join(wanted)} must hold numbers, or nothing."
        ) from error
    values = torch.from_numpy(numbers)
    pose, score = convert_pose(values[:, :OUTPUTS], convention, "img2pose"), values[:, -1]
    reasons = {
        "landmarks_not_usable": ~usable_rows(points),
        "pose_missing": ~pose.isfinite().all(dim=1),
        "face_score_too_low": ~(score > settings.face_score_above),
        "turned_too_far": (pose[:, :2].rad2deg().abs() >= settings.turned_below_deg).any(dim=1),
    }
    keep, left_out = keep_rows(reasons)
    return _Rows(normalise(points[keep]), pose[keep]), left_out


def _split(
    clips: list[Path], share: float, left_out: Mapping[str, int]
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Clips to train on and clips to validate on, in random order."""
    if len(clips) < 2:
        raise TrainingError(
            f"{len(clips)} clips have rows to train on (rows left out: {dict(left_out)}), and at "
            "least 2 are needed, one to train on and one to validate on."
        )
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
) -> list[AxisErrors]:
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
                tqdm.write(f"epoch {epoch + 1}/{settings.epochs}: {errors[-1]}")
    return errors


@torch.no_grad()
def _errors(model: PoseMLP, validation: _Rows, mean: Tensor, std: Tensor) -> AxisErrors:
    model.eval()
    found = torch.cat([model(part) for part in torch.split(validation.features, 4096)]) * std + mean
    error = (found - validation.pose).abs().mean(dim=0)
    return AxisErrors(*error[:3].rad2deg().tolist(), *error[3:].tolist())
