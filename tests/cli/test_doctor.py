"""``feat-pose doctor`` on whole and on broken installations, each a process of its own."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import torch
from command import COMMAND, feat_pose

import feat_pose_plugin
from feat_pose_plugin.cli.machine import EXTRAS
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import PATH_VARIABLE, load_checkpoint

PACKAGE = Path(feat_pose_plugin.__file__).parent
WEIGHTS = BUNDLED / "pose_mlp_synth_2d.safetensors"


def run(folder: Path, *arguments: str, prelude: str = "", **variables: str):
    """The command where a folder comes before all others, and code runs when Python starts."""
    (folder / "sitecustomize.py").write_text(prelude)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "HF_HOME": str(folder)} | variables
    command = [COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def doctor(folder: Path, prelude: str = "", **variables: str) -> tuple[dict[str, str], int]:
    """What the command says of each thing, and its exit status."""
    result = run(folder, "doctor", prelude=prelude, **variables)
    assert result.stderr == ""
    said: dict[str, str] = {}
    name = ""
    width = result.stdout.index(feat_pose_plugin.__version__)
    for line in result.stdout.splitlines():
        name = line[:width].strip() or name
        said[name] = f"{said.get(name, '')}\n{line[width:]}".strip()
    return said, result.returncode


def blocked(*modules: str) -> str:
    """Code after which modules cannot be imported, though their metadata are there."""
    return f"import sys\nfor name in {modules!r}:\n    sys.modules[name] = None\n"


def test_it_says_what_is_here(no_official_weights: None, tmp_path: Path) -> None:
    heavy = blocked("feat", "dask", "matplotlib")  # none of them is needed for this
    said, status = doctor(tmp_path, heavy, OMP_NUM_THREADS="1")
    assert status == 0
    assert said["feat-pose-plugin"] == feat_pose_plugin.__version__
    assert said["Python"] == platform.python_version()
    assert said["platform"] == platform.platform()
    assert said["OMP_NUM_THREADS"].startswith("1;")
    for name in ("torch", "py-feat", "numpy", "pandas", "pyarrow"):
        assert f"{name} {metadata.version(name)}" in said["packages"].splitlines()
    assert "dask" not in said["packages"]
    for kind in ("2d", "3d", "mesh"):
        sha256 = load_checkpoint(BUNDLED / f"pose_mlp_synth_{kind}.safetensors").sha256[:12]
        assert sha256 in said[f"weights {kind}"]
    assert said["official weights"].startswith("not here. Only pose_mlp needs them")
    assert said["estimates"].startswith("yes")


@pytest.mark.parametrize("module", ["torch", "safetensors"])
def test_a_package_that_cannot_be_imported(module: str, tmp_path: Path) -> None:
    said, status = doctor(tmp_path, blocked(module))
    assert status == 1
    assert said["estimates"].startswith("no, ")
    assert module in said["estimates"]
    assert f"{module} {metadata.version(module)}" in said["packages"]


def test_packages_that_are_missing_or_too_old_and_what_brings_them(tmp_path: Path) -> None:
    gone = """
from importlib import metadata
version = metadata.version
def other(name):
    if name in ("dask", "onnx", "av", "py-feat"):
        raise metadata.PackageNotFoundError(name)
    return "1.0" if name == "torch" else version(name)
metadata.version = other
"""
    said, status = doctor(tmp_path, gone)
    assert status == 0
    assert 'py-feat is missing: pip install "py-feat>=' in said["packages"]
    assert re.search(
        r'torch 1.0 is not supported, >=(\S+) is: pip install "torch>=\1"', said["packages"]
    )
    for extra, package in zip(EXTRAS, ("dask", "onnx", "av"), strict=True):
        cure = f'{package} is missing: pip install "feat-pose-plugin[{extra}]"'
        assert cure in said[f"extra {extra}"]


def test_one_broken_piece_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "pose_mlp_v2.safetensors"
    path.write_bytes(b"no weights")
    shutil.copy(WEIGHTS.with_suffix(".json"), path.with_suffix(".json"))
    said, status = doctor(tmp_path, blocked("packaging.requirements"), **{PATH_VARIABLE: str(path)})
    assert status == 0
    assert said["packages"].startswith("no, ModuleNotFoundError")
    assert said["extra dask"].startswith("no, ModuleNotFoundError")
    assert said["official weights"].startswith(f"no, WeightsError: {path}")
    assert said["estimates"].startswith("yes")


@pytest.mark.parametrize(
    ("damage", "name", "error"),
    [
        ("other weights", "weights 3d", "no, WeightsError: .*pose_mlp_synth_3d.safetensors"),
        ("gone", "weights 3d", "no, WeightsError: .*pose_mlp_synth_3d.safetensors"),
        ("turned", "estimates", "no, BackendError: a turn of 20 degrees is read as "),
    ],
)
def test_bundled_weights_that_are_not_what_they_should_be(damage, name, error, tmp_path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "feat_pose_plugin")
    path = tmp_path / "feat_pose_plugin" / "mlp" / "bundled" / "pose_mlp_synth_3d.safetensors"
    if damage == "other weights":
        shutil.copy(WEIGHTS, path)
    elif damage == "gone":
        path.unlink()
    else:
        card = json.loads(path.with_suffix(".json").read_text())
        card["architecture"]["output_normalization"]["mean"][1] += torch.pi / 2
        path.with_suffix(".json").write_text(json.dumps(card))
    said, status = doctor(tmp_path)
    assert status == 1
    assert re.match(error, said[name])


def test_errors_of_ours_name_the_doctor_only_where_it_helps(tmp_path: Path) -> None:
    assert "doctor" not in feat_pose("estimate", "no.csv", "-o", "out.csv").stderr
    broken = "import feat_pose_plugin.pose.estimate as e\ndel e.estimate_pose\n"
    result = run(tmp_path, "demo", "-o", str(tmp_path / "demo"), prelude=broken)
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "Report it with what `feat-pose doctor` prints." in result.stderr
