"""The wheel and the sdist: what is in them, and that the wheel works where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import licences
import pytest

ROOT = Path(__file__).parent.parent
WEIGHTS = {
    f"feat_pose_plugin/{path}"
    for kind in ("2d", "3d", "mesh")
    for path in (
        f"mlp/bundled/pose_mlp_synth_{kind}.safetensors",
        f"mlp/bundled/pose_mlp_synth_{kind}.json",
        f"pose/reference_faces/{kind}.json",
    )
}


def tracked(*folders: str) -> set[str]:
    """What is under version control, and what would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no clone")
    return {name for name in listed.stdout.split() if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        found = {name for name in file.namelist() if ".dist-info/" not in name}
        about = {Path(name).name for name in file.namelist() if ".dist-info/" in name}
    assert found == tracked("feat_pose_plugin")
    assert found >= WEIGHTS | {"feat_pose_plugin/py.typed"}
    assert about == {"METADATA", "WHEEL", "entry_points.txt", "LICENSE", "RECORD"}
    assert wheel.stat().st_size < 3_000_000


def test_the_sdist_holds_what_is_needed_to_build_and_test(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        found = {member.name.partition("/")[2] for member in file.getmembers()}
    top = {"README.md", "CHANGELOG.md", "LICENSE", "mkdocs.yml", "pyproject.toml"}
    made = {"PKG-INFO", ".gitignore"}  # by hatchling
    assert found - made == tracked("feat_pose_plugin", "tests", "docs") | top


@pytest.mark.slow
@pytest.mark.parametrize("form", ["whl", "tar.gz"])
def test_installed_on_its_own_it_passes_the_demo(form: str, built: Path, tmp_path: Path) -> None:
    """Dependencies are those of this environment; nothing is downloaded."""
    (package,) = built.glob(f"*.{form}")
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    here = next(path for path in sys.path if path.endswith("site-packages"))
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--target", site]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *options, package], check=True)
    (site / "dependencies.pth").write_text(f"{here}\n")
    code = (
        "import feat_pose_plugin; print(feat_pose_plugin.__file__)\n"
        "from feat_pose_plugin.cli import app; app(['demo', '-o', 'demo'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = {"env": environment, "cwd": tmp_path, "check": True, "capture_output": True, "text": True}
    said = subprocess.run([tmp_path / "venv" / "bin" / "python", "-c", code], **run).stdout
    assert Path(said.splitlines()[0]).is_relative_to(site)
    assert said.count("wrote ") == 2


def test_each_dependency_has_a_lowest_version_which_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    for requirement in project["dependencies"]:
        name, _, version = requirement.partition(",")[0].replace("-", "_").partition(">=")
        assert any(
            f"{line.replace('-', '_')}.".startswith(f"{name}=={version}.") for line in tested
        ), requirement


def test_the_list_of_licences_names_all_dependencies() -> None:
    """Licences are as the installed versions put them; names and ranges are the project's."""
    said = licences.PART.read()

    def without_licence(text: str) -> list[str]:
        return [line.rpartition(" | ")[0] for line in text.splitlines()]

    assert without_licence(said) == without_licence(licences.text())
    assert "not installed" not in said
