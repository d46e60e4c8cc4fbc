"""Checkpoints: what is written is what is read, and nothing unsound is."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from feat_pose_plugin.errors import WeightsError
from feat_pose_plugin.mlp.checkpoint import read_checkpoint, write_checkpoint
from feat_pose_plugin.mlp.model import PoseMLP, normalise
from feat_pose_plugin.testing import project_face


@pytest.fixture
def checkpoint(make_checkpoint) -> Path:
    return make_checkpoint(hidden=(8, 4))


def refused(path: Path, *named: str) -> str:
    """Reading raises a WeightsError that names the file and all of ``named``."""
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    for name in (path.stem, *named):
        assert name in message
    return message


def edit_card(path: Path, keys: str, value: object) -> None:
    """Set a field of the JSON file, ``a.b.c``; an ellipsis removes it."""
    file = path.with_suffix(".json")
    card = json.loads(file.read_text())
    *parents, last = keys.split(".")
    fields = card
    for parent in parents:
        fields = fields[parent]
    if value is ...:
        del fields[last]
    else:
        fields[last] = value
    file.write_text(json.dumps(card))


def edit_tensors(path: Path, change) -> None:
    state = load_file(path)
    change(state)
    save_file(state, path)


# What is right


@pytest.mark.parametrize("layer_norm", [True, False])
def test_what_was_written_is_read(layer_norm, tmp_path):
    model = PoseMLP((256, 128, 64), 0.25, layer_norm)
    mean, std = torch.randn(6), torch.rand(6) + 0.1
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, model, mean, std, {"licence": "MIT"})
    read = read_checkpoint(path)
    assert (read.path, read.card["licence"]) == (path, "MIT")
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(read.mean, mean)
    assert torch.equal(read.std, std)
    assert (read.model.hidden, read.model.dropout) == ((256, 128, 64), 0.25)
    assert read.model.layer_norm is layer_norm
    assert not read.model.training
    assert not any(parameter.requires_grad for parameter in read.model.parameters())
    features = normalise(project_face(torch.randn(5, 3)))
    torch.testing.assert_close(read.model(features), model.eval()(features), atol=1e-5, rtol=0)


def test_whole_numbers_are_numbers(checkpoint):
    edit_card(checkpoint, "architecture.dropout", 0)
    edit_card(checkpoint, "architecture.output_normalization.mean", [0] * 6)
    edit_card(checkpoint, "architecture.output_normalization.std", [1] * 6)
    assert read_checkpoint(checkpoint).std.tolist() == [1] * 6


def test_writing_replaces_both_files(checkpoint, tmp_path):
    write_checkpoint(checkpoint, PoseMLP((4,)), torch.zeros(6), torch.ones(6), {})
    assert read_checkpoint(checkpoint).model.hidden == (4,)
    assert len(list(tmp_path.iterdir())) == 2


def test_disk_that_is_full_leaves_both_files_as_they_were(checkpoint, tmp_path):
    # A process may write 4096 bytes to a file: enough for the card, not for the weights.
    script = f"""
import resource, signal, torch
from pathlib import Path
from feat_pose_plugin.mlp.checkpoint import write_checkpoint
from feat_pose_plugin.mlp.model import PoseMLP
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
write_checkpoint(Path({str(checkpoint)!r}), PoseMLP(), torch.zeros(6), torch.ones(6), {{}})
"""
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "File too large" in run.stderr
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


# Files


def test_missing_files_are_named(checkpoint, tmp_path):
    refused(tmp_path / "nowhere.safetensors", "nowhere.json")
    for suffix in (".json", ".safetensors"):
        file = checkpoint.with_suffix(suffix)
        content = file.read_bytes()
        file.unlink()
        refused(checkpoint, file.name)
        file.write_bytes(content)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_truncated_file(kept, checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
    refused(checkpoint, "safetensors", "get it again")


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_pickle_is_never_loaded(checkpoint, tmp_path):
    mark = tmp_path / "exploded"
    checkpoint.write_bytes(pickle.dumps(Bomb(mark)))
    refused(checkpoint, "safetensors")
    torch.save({"net.0.weight": Bomb(mark)}, checkpoint)
    refused(checkpoint, "safetensors")
    assert not mark.exists()
    checkpoint.unlink()
    checkpoint.mkdir()
    refused(checkpoint, "no file")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_flipped_bits_are_refused_or_still_a_sound_checkpoint(checkpoint, data):
    whole = checkpoint.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    broken = checkpoint.with_name("broken.safetensors")
    broken.write_bytes(damaged)
    broken.with_suffix(".json").write_bytes(checkpoint.with_suffix(".json").read_bytes())
    try:
        read = read_checkpoint(broken)
    except WeightsError:
        return
    assert all(tensor.isfinite().all() for tensor in read.model.state_dict().values())
    assert read.sha256 != hashlib.sha256(whole).hexdigest()


# Tensors


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("net.0.bias"), ["'net.0.bias'", "missing"]),
        (lambda state: state.pop("net.1.weight"), ["net.1"]),  # half of a LayerNorm
        (lambda state: state.update(extra=torch.zeros(2)), ["'extra'", "(2,)"]),
        (
            lambda state: state.update({"net.0.weight": torch.zeros(8, 135)}),
            ["'net.0.weight'", "(8, 135)", "(8, 136)"],
        ),
        (lambda state: state.update({"net.8.bias": torch.zeros(7)}), ["'net.8.bias'", "(6,)"]),
        (
            lambda state: state.update({"net.0.bias": state["net.0.bias"].double()}),
            ["'net.0.bias'", "F64", "F32"],
        ),
        (lambda state: state.update({"net.0.bias": state["net.0.bias"].int()}), ["I32"]),
        (lambda state: state["net.4.weight"][1, 2].fill_(torch.nan), ["'net.4.weight'", "finite"]),
        (lambda state: state["net.8.bias"][5].fill_(-torch.inf), ["'net.8.bias'", "finite"]),
        (lambda state: state.clear(), ["missing"]),
    ],
)
def test_wrong_tensor_is_named(change, named, checkpoint):
    edit_tensors(checkpoint, change)
    refused(checkpoint, *named)


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("key", ["net.0.weight", "net.0.bias", "net.1.weight", "net.4.bias"])
def test_finite_weights_that_overflow(key, layer_norm, make_checkpoint):
    checkpoint = make_checkpoint(hidden=(8, 4), layer_norm=layer_norm)
    if key not in load_file(checkpoint):
        key = "net.3.weight"
    edit_tensors(checkpoint, lambda state: state[key].fill_(1e37))
    refused(checkpoint, "can grow to", "infinity or NaN")


def test_a_scale_that_overflows(checkpoint):
    edit_card(checkpoint, "architecture.output_normalization.std", [1.0] * 5 + [1e38])
    refused(checkpoint, "can grow to")


def test_the_tensors_say_what_the_network_is(make_checkpoint):
    v1 = make_checkpoint("v1.safetensors", hidden=(8, 4), layer_norm=False)
    assert not read_checkpoint(v1).model.layer_norm
    edit_card(v1, "architecture.layer_norm", True)  # a remark
    assert not read_checkpoint(v1).model.layer_norm


def test_shapes_that_disagree_with_the_card(checkpoint):
    edit_card(checkpoint, "architecture.hidden", [16, 4])
    refused(checkpoint, "'net.0.bias'", "(8,)", "(16,)", "do not belong together")
    edit_card(checkpoint, "architecture.hidden", [8, 4, 4])
    refused(checkpoint, "do not belong together")


# The card


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"3", b"null", b"[" * 100_000, b"\xef\xbb\xbf{}", b"\xff\xfe\x00"],
)
def test_card_that_is_no_json_object(content, checkpoint):
    checkpoint.with_suffix(".json").write_bytes(content)
    refused(checkpoint, checkpoint.with_suffix(".json").name, "JSON")


def test_card_beyond_all_measure(checkpoint):
    checkpoint.with_suffix(".json").write_text(" " * (1 << 20) + "{}")
    refused(checkpoint, "larger")


NO_LAYERS = [8, [], ["8", "4"], [8.0, 4.0], [True, 4], [0, 4], [-8, 4], [10**12, 4], [8] * 10_000]
NO_SHARES = ["0.1", None, False, 1, -0.1, float("nan")]
NOT_SIX = [None, 1.0, "0 0 0 0 0 0", [1.0] * 5, [1.0] * 7, ["1"] * 6, [True] * 6, [[1.0]] * 6]
NOT_SIX += [[1.0] * 5 + [odd] for odd in (float("nan"), float("inf"), 1e39, 10**400)]
WRONG = {
    "architecture": [..., []],
    "architecture.hidden": [..., *NO_LAYERS],
    "architecture.dropout": [..., *NO_SHARES],
    "architecture.input": ["sideways"],
    "architecture.output": ["degrees", None],
    "architecture.output_normalization": [..., [0, 1]],
    "architecture.output_normalization.mean": [..., *NOT_SIX],
    "architecture.output_normalization.std": [
        *(..., *NOT_SIX),
        *([1.0] * 5 + [odd] for odd in (0.0, -1.0, 1e-60)),
    ],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_wrong_field_of_the_card_is_named(field, value, checkpoint):
    edit_card(checkpoint, field, value)
    message = refused(checkpoint, field.rpartition(".")[2], checkpoint.with_suffix(".json").name)
    assert len(message) < 1000


# The normaliser


def test_features_are_68_x_then_68_y_about_the_centroid_in_eye_distances():
    points = project_face(torch.zeros(1, 3))
    x, y = points[0].double().unbind(dim=1)
    eyes = torch.hypot(x[36] - x[45], y[36] - y[45])
    expected = torch.cat([x - x.mean(), y - y.mean()]) / eyes
    torch.testing.assert_close(normalise(points)[0].double(), expected, atol=1e-6, rtol=0)


@given(st.floats(0.05, 50), st.floats(-5000, 5000), st.floats(-5000, 5000))
def test_features_know_neither_position_nor_size(scale, right, down):
    points = project_face(torch.tensor([[0.2, -0.4, 0.1]])).double()
    moved = points * scale + torch.tensor([right, down])
    torch.testing.assert_close(normalise(moved), normalise(points), atol=1e-5, rtol=0)
