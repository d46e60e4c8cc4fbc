"""Checkpoints, read, verified and written: py-feat's format, and a little more in the card.

A checkpoint is ``NAME.safetensors`` (the state dict of :class:`PoseMLP`) and ``NAME.json`` beside
it, the model card. Its ``architecture`` holds ``hidden``, ``dropout`` and
``output_normalization.mean`` and ``.std``, as py-feat writes them. Ours also say ``input``
(``"upright"``: faces are turned upright first) and ``output`` (``"rotation_vector"``; without it,
the Euler angles of convention ``img2pose``). Only these two formats are ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, deserialize
from safetensors.torch import save
from torch import Tensor, nn

from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.files import write_whole
from feat_pose_plugin.mlp.model import FEATURES, FEATURES_WITH_DEPTH, OUTPUTS, PoseMLP
from feat_pose_plugin.pose.reading import parse_json, read_bytes

Output = Literal["euler_angles", "rotation_vector"]

# Far above any network of this kind, far below what could exhaust a machine.
_LARGEST_LAYER = 8192
_MOST_LAYERS = 8
_LARGEST_JSON = 1 << 20  # bytes
_LARGEST_WEIGHTS = 64 << 20
_FARTHEST = 1e3  # a landmark from the middle of its face, in distances of the outer eye corners
_LARGEST_NUMBER = 1e17  # in a network: sums of squares stay finite in float32


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
        upright: Whether the network expects faces that are upright in the picture.
        output: What the first three outputs are: ``"euler_angles"`` of convention ``img2pose``, or
            a ``"rotation_vector"``; radians.
    """

    path: Path
    sha256: str
    model: PoseMLP
    mean: Tensor
    std: Tensor
    card: Mapping[str, object]
    upright: bool
    output: Output


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify ``NAME.safetensors`` and the JSON file beside it.

    v2 (LayerNorm) or v1, and whether points have depth, is read off the tensors: v2 has a 1-D
    ``net.1.weight``, and ``net.0.weight`` has 136 or 204 columns.

    Raises:
        WeightsError: A file is missing or unreadable, the card lacks a field or holds one of the
            wrong type or size, or tensors differ from the architecture in name, shape or dtype,
            are not finite, or are so large that a pose might not be.
    """
    card_path = path.with_suffix(".json")
    try:
        card = parse_json(read_bytes(card_path, _LARGEST_JSON))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{card_path} cannot be read as JSON: {error}. A checkpoint is NAME.safetensors with "
            "NAME.json beside it; get both again."
        ) from error
    try:
        data = read_bytes(path, _LARGEST_WEIGHTS)
        found = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors: {error}. The file is damaged or no "
            "checkpoint; get it again."
        ) from error
    shapes = {key: tuple(tensor["shape"]) for key, tensor in found.items()}
    with_depth = shapes.get("net.0.weight", ())[1:] == (FEATURES_WITH_DEPTH,)
    fields = _architecture(card_path, card)
    with torch.device("meta"):  # no memory until the tensors of the file are in place
        model = PoseMLP(
            fields["hidden"],
            float(fields["dropout"]),
            layer_norm=len(shapes.get("net.1.weight", ())) == 1,
            features=FEATURES_WITH_DEPTH if with_depth else FEATURES,
        )
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = {}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != shapes.get(key):
            raise WeightsError(
                f"{path}: tensor {key!r} has shape {shapes.get(key, 'none: it is missing')}, but "
                f"the architecture in {card_path.name} wants "
                f"{expected.get(key, 'no such tensor')}. The two files do not belong together."
            )
        tensor = found[key]
        if tensor["dtype"] != "F32":
            raise WeightsError(f"{path}: tensor {key!r} has dtype {tensor['dtype']}, not F32.")
        state[key] = torch.frombuffer(tensor["data"], dtype=torch.float32).reshape(shapes[key])
        if not state[key].isfinite().all():
            raise WeightsError(f"{path}: tensor {key!r} holds values that are not finite.")
    model.load_state_dict(state, assign=True)
    model.requires_grad_(False).eval()
    mean, std = (torch.tensor(fields[key], dtype=torch.float32) for key in ("mean", "std"))
    largest = _largest_number(model, mean, std)
    if not largest <= _LARGEST_NUMBER:
        raise WeightsError(
            f"{path}: with these weights a number of the network can grow to {largest:.3g}, and "
            "the pose to infinity or NaN. They are damaged or no trained network; get them again."
        )
    sha256 = hashlib.sha256(data).hexdigest()
    upright = fields["input"] == "upright"
    return Checkpoint(path, sha256, model, mean, std, card, upright, fields["output"])


def write_checkpoint(
    path: Path,
    model: PoseMLP,
    mean: Tensor,
    std: Tensor,
    card: Mapping[str, object],
    *,
    upright: bool = False,
    output: Output = "euler_angles",
) -> None:
    """Write both files of a checkpoint; with the defaults py-feat loads it too.

    ``mean`` and ``std`` are those of the training targets, ``[6]``. ``card`` are further fields of
    the JSON file; ``architecture`` and the hash of the weights are filled in.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    weights = save(state)
    architecture = {
        "hidden": list(model.hidden),
        "dropout": model.dropout,
        "layer_norm": model.layer_norm,
        "input": "upright" if upright else "centred",
        "output": output,
        "output_normalization": {"mean": mean.tolist(), "std": std.tolist()},
    }
    filled = {"architecture": architecture, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    # Nested, so that a full disk leaves both files as they were.
    with write_whole(path.with_suffix(".json")) as card_part, write_whole(path) as part:
        card_part.write_text(json.dumps({**card, **filled}, indent=2) + "\n", encoding="utf-8")
        part.write_bytes(weights)


def _largest_number(model: PoseMLP, mean: Tensor, std: Tensor) -> float:
    """What no number exceeds while a pose is estimated, by the triangle inequality."""
    most = torch.full((model.features,), _FARTHEST, dtype=torch.float64)
    seen = [most]
    for layer in model.net:  # the others make no number larger
        if isinstance(layer, nn.Linear):
            most = layer.weight.double().abs() @ most + layer.bias.double().abs()
        elif isinstance(layer, nn.LayerNorm):
            most = layer.weight.double().abs() * len(most) ** 0.5 + layer.bias.double().abs()
        seen.append(most)
    seen.append(most * std + mean.abs())
    return float(torch.cat(seen).max())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= torch.finfo(torch.float32).max


def _are_six(value: Any) -> bool:
    return isinstance(value, list) and len(value) == OUTPUTS and all(map(_is_number, value))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_layers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= _MOST_LAYERS
        and all(type(units) is int and 0 < units <= _LARGEST_LAYER for units in value)
    )


_EXPECTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "architecture": (_is_object, "an object"),
    "output_normalization": (_is_object, "an object"),
    "hidden": (_are_layers, f"1 to {_MOST_LAYERS} integers from 1 to {_LARGEST_LAYER}"),
    "dropout": (lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to below 1"),
    "mean": (_are_six, "six finite numbers"),
    "std": (
        lambda value: _are_six(value) and min(torch.tensor(value)) > 0,
        "six finite numbers above 0",
    ),
    "input": (lambda value: value in ("centred", "upright"), "'centred' or 'upright'"),
    "output": (lambda value: value in get_args(Output), "'euler_angles' or 'rotation_vector'"),
}


def _architecture(path: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """All that a card says of the network, each field verified."""
    fields: dict[str, Any] = {"input": "centred", "output": "euler_angles"}
    fields["architecture"] = card.get("architecture", "missing")
    for name, (is_right, expected) in _EXPECTED.items():
        found = fields.get(name, "missing")
        if not is_right(found):
            raise WeightsError(
                f"{path}: {name!r} is {str(found)[:200]}; expected {expected}. Get both files of "
                "the checkpoint again, or update feat-pose-plugin."
            )
        if isinstance(found, dict):
            fields |= found
    return fields
