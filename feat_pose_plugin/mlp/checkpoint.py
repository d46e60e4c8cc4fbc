"""py-feat's checkpoint format, read, verified and written.

A checkpoint is ``NAME.safetensors`` (the state dict of :class:`PoseMLP`) and ``NAME.json`` beside
it (``architecture.hidden``, ``architecture.dropout``, ``architecture.output_normalization.mean``
and ``.std``, and whatever else the model card says). Only these two formats are ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from safetensors import SafetensorError, deserialize
from safetensors.torch import save
from torch import Tensor, nn

from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.mlp.model import FEATURES, OUTPUTS, PoseMLP
from feat_pose_plugin.pose.reading import parse_json, read_bytes

# Far above any network of this kind (the largest published one has 0.2 million parameters), far
# below what could exhaust a machine.
_LARGEST_LAYER = 8192
_MOST_LAYERS = 8
_LARGEST_JSON = 1 << 20  # bytes
_LARGEST_WEIGHTS = 64 << 20
_FARTHEST = 1e3  # a landmark from the middle of its face, in distances of the outer eye corners
_LARGEST_NUMBER = 1e17  # in a network: sums of squares stay finite in float32

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """Verified weights in memory.

    Attributes:
        path: The safetensors file.
        sha256: Hash of the safetensors file, hexadecimal.
        model: The network, on the CPU, in eval mode, without gradients.
        mean: ``[6]`` float32 added to the standardised output after ``std`` scaled it.
        std: ``[6]`` float32.
        card: The whole JSON file.
    """

    path: Path
    sha256: str
    model: PoseMLP
    mean: Tensor
    std: Tensor
    card: Mapping[str, object]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Args:
        path: The ``.safetensors`` file; the ``.json`` file lies beside it.

    Returns:
        The checkpoint. v2 (LayerNorm) or v1 is read off the tensors: v2 has a 1-D
        ``net.1.weight``.

    Raises:
        WeightsError: A file is missing or unreadable, the metadata lack a field or hold one of
            the wrong type or size, or tensors differ from the architecture in name, shape or
            dtype, are not finite, or are so large that a pose might not be.
    """
    card = _read_json(path.with_suffix(".json"))
    try:
        data = read_bytes(path, _LARGEST_WEIGHTS)
        found = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors: {error}. The file is damaged or no "
            "checkpoint; get it again."
        ) from error
    shapes = {key: tuple(tensor["shape"]) for key, tensor in found.items()}
    model, mean, std = _architecture(path, card, len(shapes.get("net.1.weight", ())) == 1)
    _verify_shapes(path, shapes, model)
    state = {}
    for key, tensor in found.items():
        if tensor["dtype"] != "F32":
            raise WeightsError(f"{path}: tensor {key!r} has dtype {tensor['dtype']}, not F32.")
        state[key] = torch.frombuffer(tensor["data"], dtype=torch.float32).reshape(shapes[key])
        if not state[key].isfinite().all():
            raise WeightsError(f"{path}: tensor {key!r} holds values that are not finite.")
    model.load_state_dict(state, assign=True)
    model.requires_grad_(False).eval()
    largest = _largest_number(model, mean, std)
    if not largest <= _LARGEST_NUMBER:
        raise WeightsError(
            f"{path}: with these weights numbers of a network can grow to {largest:.3g}, and so a "
            "pose to infinity or NaN. They are no trained network, or damaged; get them again."
        )
    return Checkpoint(path, hashlib.sha256(data).hexdigest(), model, mean, std, card)


def write_checkpoint(
    path: Path, model: PoseMLP, mean: Tensor, std: Tensor, card: Mapping[str, object]
) -> None:
    """Write a checkpoint that this package and py-feat both load.

    Args:
        path: The ``.safetensors`` file to write; the ``.json`` file is written beside it.
        model: The network.
        mean: ``[6]`` mean of the training targets in convention ``img2pose``.
        std: ``[6]`` standard deviation of the training targets, positive.
        card: Further fields of the JSON file; ``architecture`` is filled in.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    architecture = {
        "hidden": list(model.hidden),
        "dropout": model.dropout,
        "layer_norm": model.layer_norm,
        "output_normalization": {"mean": mean.tolist(), "std": std.tolist()},
    }
    text = json.dumps({**card, "architecture": architecture}, indent=2) + "\n"
    # Nested, so that a full disk leaves both files as they were.
    with write_whole(path.with_suffix(".json")) as card_part, write_whole(path) as part:
        card_part.write_text(text, encoding="utf-8")
        part.write_bytes(save(state))


def _largest_number(model: PoseMLP, mean: Tensor, std: Tensor) -> float:
    """What no number exceeds while a pose is estimated, by the triangle inequality."""
    most = torch.full((FEATURES,), _FARTHEST, dtype=torch.float64)
    seen = [most]
    for layer in model.net:  # the others make no number larger
        if isinstance(layer, nn.Linear):
            most = layer.weight.double().abs() @ most + layer.bias.double().abs()
        elif isinstance(layer, nn.LayerNorm):
            most = layer.weight.double().abs() * len(most) ** 0.5 + layer.bias.double().abs()
        seen.append(most)
    seen.append(most * std + mean.abs())
    return float(torch.cat(seen).max())


def _read_json(path: Path) -> dict[str, object]:
    try:
        data = read_bytes(path, _LARGEST_JSON)
        return parse_json(data)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as JSON: {error}. A checkpoint is NAME.safetensors with "
            "NAME.json beside it; get both again."
        ) from error


def _architecture(
    path: Path, card: Mapping[str, object], layer_norm: bool
) -> tuple[PoseMLP, Tensor, Tensor]:
    architecture = _field(path, card, "architecture", dict)
    hidden = _field(path, architecture, "hidden", list)
    sound = 0 < len(hidden) <= _MOST_LAYERS and all(
        type(units) is int and 0 < units <= _LARGEST_LAYER for units in hidden
    )
    if not sound:
        raise WeightsError(
            f"{path.with_suffix('.json')}: architecture.hidden is {str(hidden)[:200]}; expected 1 "
            f"to {_MOST_LAYERS} integers from 1 to {_LARGEST_LAYER}."
        )
    dropout = _field(path, architecture, "dropout", (int, float))
    if isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise WeightsError(
            f"{path.with_suffix('.json')}: architecture.dropout is {dropout!r}; expected a number "
            "from 0 to below 1."
        )
    normalization = _field(path, architecture, "output_normalization", dict)
    mean, std = (_six_numbers(path, normalization, key) for key in ("mean", "std"))
    if not (std > 0).all():
        raise WeightsError(
            f"{path.with_suffix('.json')}: output_normalization.std is {std.tolist()}; all six "
            "must be above 0."
        )
    with torch.device("meta"):  # no memory until the tensors of the file are in place
        model = PoseMLP(hidden, float(dropout), layer_norm)
    return model, mean, std


def _field(
    path: Path, fields: Mapping[str, object], key: str, kind: type[T] | tuple[type[T], ...]
) -> T:
    value = fields.get(key)
    if not isinstance(value, kind):
        found = "missing" if key not in fields else f"a {type(value).__name__}"
        raise WeightsError(
            f"{path.with_suffix('.json')}: {key!r} is {found}. A model card holds "
            "architecture.hidden, architecture.dropout and architecture.output_normalization "
            "with mean and std."
        )
    return value


def _six_numbers(path: Path, fields: Mapping[str, object], key: str) -> Tensor:
    values = cast("list[object]", _field(path, fields, key, list))
    sound = len(values) == OUTPUTS and all(
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= torch.finfo(torch.float32).max
        for value in values
    )
    if not sound:
        raise WeightsError(
            f"{path.with_suffix('.json')}: output_normalization.{key} is {str(values)[:200]}; "
            f"expected {OUTPUTS} finite numbers."
        )
    return torch.tensor(values, dtype=torch.float32)


def _verify_shapes(path: Path, found: Mapping[str, tuple[int, ...]], model: PoseMLP) -> None:
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise WeightsError(
                f"{path}: tensor {key!r} has shape {found.get(key, 'none: it is missing')}, but "
                f"the architecture in {path.with_suffix('.json').name} wants "
                f"{expected.get(key, 'no such tensor')}. The two files do not belong together."
            )
