"""``feat-pose doctor`` on whole and on broken installations, each a process of its own."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import feat_pose_plugin
from feat_pose_plugin.cli import app
from feat_pose_plugin.cli.demo import find_demo_tables
from feat_pose_plugin.cli.doctor import EXTRAS
from feat_pose_plugin.mlp.pose_mlp import BUNDLED
from feat_pose_plugin.mlp.weights import PATH_VARIABLE, load_checkpoint

PACKAGE = Path(feat_pose_plugin.__file__).parent
COMMAND = Path(sys.executable).with_name("feat-pose")


def doctor(folder: Path, prelude: str = "", **variables: str) -> tuple[dict[str, str], int]:
    """What the command says of each thing, and its exit status.

    Args:
        folder: Comes before all others on the path of modules.
        prelude: Code that runs when Python starts.
        **variables: Environment variables.
    """
    (folder / "sitecustomize.py").write_text(prelude)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [COMMAND, "doctor"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": path, "HF_HOME": str(folder)} | variables,
    )
    assert result.stderr == ""
    said: dict[str, str] = {}
    name = ""
    width = result.stdout.index(feat_pose_plugin.__version__)
    for line in result.stdout.splitlines():
        name = line[:width].strip() or name
        said[name] = f"{said.get(name, '')}{line[width:]}\n"
    said = {name: text.strip() for name, text in said.items()}
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
    for kind in ("2d", "3d"):
        sha256 = load_checkpoint(BUNDLED / f"pose_mlp_synth_{kind}.safetensors").sha256[:12]
        assert sha256 in said[f"weights {kind}"]
    assert "pose_mlp_synth" in said["pose models"]
    assert said["official weights"].startswith("no, WeightsNotFoundError")
    assert "HF_HUB_OFFLINE is set" in said["official weights"]  # no connection
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
    known = metadata.metadata("feat-pose-plugin").get_all("Provides-Extra")
    for extra, package in zip(EXTRAS, ("dask", "onnx", "av"), strict=True):
        if extra in known:  # an editable install may be older than the extra
            cure = f'{package} is missing: pip install "feat-pose-plugin[{extra}]"'
            assert cure in said[f"extra {extra}"]


def test_without_its_own_metadata_or_packaging_the_rest_is_said(tmp_path: Path) -> None:
    said, status = doctor(tmp_path, blocked("packaging.requirements"))
    assert status == 0
    assert said["packages"].startswith("no, ModuleNotFoundError")
    assert said["extra dask"].startswith("no, ModuleNotFoundError")


def test_official_weights_that_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "pose_mlp_v2.safetensors"
    path.write_bytes(b"no weights")
    shutil.copy(
        (BUNDLED / "pose_mlp_synth_2d.safetensors").with_suffix(".json"), path.with_suffix(".json")
    )
    said, status = doctor(tmp_path, **{PATH_VARIABLE: str(path)})
    assert status == 0
    assert said["official weights"].startswith(f"no, WeightsError: {path}")


@pytest.mark.parametrize("damage", ["other weights", "gone"])
def test_bundled_weights_that_are_not_what_they_should_be(damage: str, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "feat_pose_plugin")
    path = tmp_path / "feat_pose_plugin" / "mlp" / "bundled" / "pose_mlp_synth_3d.safetensors"
    if damage == "other weights":
        shutil.copy((BUNDLED / "pose_mlp_synth_2d.safetensors"), path)
    else:
        path.unlink()
    said, status = doctor(tmp_path)
    assert status == 1
    assert said["weights 3d"].startswith("no, WeightsError")
    assert path.name in said["weights 3d"]


def test_weights_that_estimate_nonsense(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "feat_pose_plugin")
    card = tmp_path / "feat_pose_plugin" / "mlp" / "bundled" / "pose_mlp_synth_3d.json"
    content = json.loads(card.read_text())
    content["architecture"]["output_normalization"]["mean"][1] += torch.pi / 2
    card.write_text(json.dumps(content))
    said, status = doctor(tmp_path)
    assert status == 1
    assert said["estimates"].startswith("no, BackendError: a turn of 20 degrees is read as ")


def test_an_error_of_the_machine_names_the_doctor(no_official_weights: None) -> None:
    table = str(find_demo_tables()[0])
    result = CliRunner().invoke(app, ["estimate", table, "-o", "out.csv", "--model", "pose_mlp"])
    assert result.exit_code == 1
    assert result.stderr.endswith("`feat-pose doctor` says what is here and what is missing.\n")
    assert "doctor" not in CliRunner().invoke(app, ["estimate", "no.csv", "-o", "out.csv"]).stderr


def test_a_defect_asks_for_the_doctor(tmp_path: Path) -> None:
    broken = (
        "import feat_pose_plugin.pose.estimate\ndel feat_pose_plugin.pose.estimate.estimate_pose\n"
    )
    (tmp_path / "sitecustomize.py").write_text(broken)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [COMMAND, "demo", "-o", tmp_path / "demo"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "Report it with what `feat-pose doctor` prints." in result.stderr
