"""Checkpoints: both files damaged, and cards and headers that say odd things."""

from __future__ import annotations

import hashlib
import json
import struct
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from fuzz.choices import Choices, damage, expand
from fuzz.common import FACE, scratch
from safetensors.torch import load, save

from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.mlp.checkpoint import read_checkpoint, write_checkpoint
from feat_pose_plugin.mlp.folded import FoldedPoseNetwork
from feat_pose_plugin.mlp.model import PoseMLP
from feat_pose_plugin.mlp.network import PoseNetwork

ODD = [
    *(None, True, -1, 0, 0.5, 1e999, float("nan"), 10**400, "8", "", [], {}, [[]], [8] * 9),
    *([8192] * 8, [3], [4, 3], [True, 3], [0.0] * 6, [1.0] * 6, [1e39] * 6, [float("nan")] * 6),
]
WORDS = {
    0x80: b'{"architecture": {"hidden": [4, 3], "dropout": 0.1, "output_normalization": '
    b'{"mean": [0, 0, 0, 0, 0, 0], "std": [1, 1, 1, 1, 1, 1]}}}',
    0x81: b"[" * 10_000,
    0x82: b'{"a":' * 10_000,
    0x83: b'"architecture":',
    0x84: b'"hidden": [4, 3],',
    0x85: b'"dropout": 0.1,',
    0x86: b'"output_normalization": {"mean": [0,0,0,0,0,0], "std": [1,1,1,1,1,1]}',
    0x87: b"9" * 5000,
    0x88: b"\xef\xbb\xbf",
}
KEYS = ["hidden", "dropout", "output_normalization", "mean", "std", "architecture"]


def checkpoint(data: bytes) -> None:
    choices = Choices(data)
    weights, card = choices.pick(_checkpoints())
    match choices.byte() % 5:
        case 0:
            weights = damage(weights, choices)
        case 1:
            card = damage(card, choices)
        case 2:
            card = expand(choices.rest(), WORDS)
        case 3:
            card = json.dumps(_odd_card(json.loads(card), choices)).encode()
        case 4:
            weights = _odd_header(weights, choices)
    path = scratch() / "x.safetensors"
    path.write_bytes(weights)
    path.with_suffix(".json").write_bytes(card)
    try:
        read = read_checkpoint(path)
    except WeightsError:
        return
    assert read.sha256 == hashlib.sha256(weights).hexdigest()
    assert read.card == json.loads(card)
    assert list(read.model.hidden) == read.card["architecture"]["hidden"]
    expected = load(weights)
    found = read.model.state_dict()
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), f"{key} is not what the file says"
        assert tensor.isfinite().all()
    assert PoseNetwork(read)(FACE[None]).isfinite().all()
    if read.model.layer_norm:
        folded = FoldedPoseNetwork(read)
        for faces in (FACE[None], FACE.expand(3, -1, -1)):
            assert folded(faces).isfinite().all()


def _odd_card(card: dict, choices: Choices) -> dict:
    architecture = card["architecture"]
    for _ in range(choices.byte() % 3 + 1):
        key, value = choices.pick(KEYS), deepcopy(choices.pick(ODD))
        if key in ("mean", "std") and isinstance(architecture["output_normalization"], dict):
            architecture["output_normalization"][key] = value
        elif key == "architecture" and choices.byte() % 8 == 0:
            return {key: value}
        else:
            architecture[key] = value
    return card


def _odd_header(weights: bytes, choices: Choices) -> bytes:
    """The header rewritten: dtypes, shapes and places of tensors, or its length."""
    length = struct.unpack("<Q", weights[:8])[0]
    header, rest = json.loads(weights[8 : 8 + length]), weights[8 + length :]
    name = choices.pick(sorted(header))
    match choices.byte() % 6:
        case 0:
            header[name]["dtype"] = choices.pick(["F64", "I8", "BOOL", "F8_E4M3", "F4", "?", 3])
        case 1:
            shapes = [[], [0], [2**62, 2**62], [-1], [136, 4], [1.5], [0, 2**63], None, [1] * 500]
            header[name]["shape"] = choices.pick(shapes)
        case 2:
            header[name]["data_offsets"] = [choices.number(), choices.number()]
        case 3:
            header[choices.pick(["x", "__metadata__", "net.1.weight"])] = header.pop(name)
        case 4:
            lengths = [0, 1, 2**63, 2**64 - 1, 100_000_001, 2**32, len(weights)]
            return struct.pack("<Q", choices.pick(lengths)) + weights[8:]
        case 5:
            text = json.dumps(header)
            inner = choices.pick(['"a":' + "[" * 10_000, text[1:-1], '"__metadata__":{"a":1}', ""])
            text = text[:-1] + "," + inner + "}"
            return struct.pack("<Q", len(text)) + text.encode() + rest
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


@cache
def _checkpoints() -> list[tuple[bytes, bytes]]:
    torch.manual_seed(0)
    path = Path(scratch() / "seed.safetensors")
    found = []
    for layer_norm in (True, False):
        model = PoseMLP((4, 3), 0.1, layer_norm)
        write_checkpoint(path, model, torch.zeros(6), torch.ones(6), {"licence": "MIT"})
        found.append((path.read_bytes(), path.with_suffix(".json").read_bytes()))
    found.append((save({"net.0.bias": torch.tensor([torch.nan])}), found[0][1]))
    for file in (path, path.with_suffix(".json")):
        file.unlink()
    return found
