"""What the imports load, and that the public names are what they claim to be."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import feat_pose_plugin

HEAVY = {
    "feat",
    "torch",
    "pandas",
    "numpy",
    "pyarrow",
    "matplotlib",
    "huggingface_hub",
    "scipy",
    "dask",
    "av",
    "PIL",
}
ROOT = Path(__file__).parent.parent


def modules_loaded_by(code: str) -> set[str]:
    probe = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=120
    )
    return {name.partition(".")[0] for name in result.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import feat_pose_plugin; dir(feat_pose_plugin)",
        "import feat_pose_plugin.cli",
        "from feat_pose_plugin.cli import app; app(['--help'])",
        "from feat_pose_plugin.cli import app; app(['estimate', '--help'])",
        "from feat_pose_plugin.cli import app; app(['convert', '--help'])",
        "from feat_pose_plugin.cli import app; app(['plot', '--help'])",
        "from feat_pose_plugin.cli import app; app(['overlay', '--help'])",
    ],
)
def test_light_imports_load_nothing_heavy(code: str) -> None:
    loaded = modules_loaded_by(code)
    assert "feat_pose_plugin" in loaded
    assert loaded & HEAVY == set()


def test_estimating_and_the_demo_import_neither_feat_nor_dask(tmp_path: Path) -> None:
    loaded = modules_loaded_by(
        f"from feat_pose_plugin.cli import app; app(['demo', '-o', '{tmp_path / 'demo'}'])"
    )
    assert "torch" in loaded
    assert loaded & {"feat", "dask", "distributed"} == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        feat_pose_plugin.no_such_name  # noqa: B018


def test_version_project_file_and_changelog_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert released[0] == project["version"] == feat_pose_plugin.__version__
    assert released == sorted(released, key=lambda v: [*map(int, v.split("."))], reverse=True)
