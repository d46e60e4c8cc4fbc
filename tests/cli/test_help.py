"""The help of the command: every option said in one style, and the page of it fresh."""

from __future__ import annotations

import os
import subprocess
import sys

import command_page
import pytest
import typer
from command import COMMAND, feat_pose, on_terminal, refused

from feat_pose_plugin.cli import app
from feat_pose_plugin.cli.options import ANGLES, CONVENTIONS, LANDMARK_MODELS, PANELS
from feat_pose_plugin.pose.conventions import CONVENTIONS as ALL_CONVENTIONS
from feat_pose_plugin.pose.landmark_models import available_landmark_models

COMMANDS = dict(command_page.commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_and_what_stands_for_its_value(name):
    parameters = COMMANDS[name].params
    shown = " ".join(feat_pose(*name.split()[1:], "-h").stdout.split())
    for parameter in parameters:
        assert parameter.help[0].isupper(), parameter.name
        assert parameter.help[-1] == ".", parameter.name
        is_flag = getattr(parameter, "is_flag", False)
        assert is_flag or command_page.value_of(parameter), parameter.name
        assert parameter.opts[-1] in shown or parameter.metavar in shown
    writes = any(each.metavar in ("OUT", "NAME.safetensors") for each in parameters)
    assert not writes or "force" in {each.name for each in parameters}


def test_each_command_is_in_a_panel():
    text = feat_pose("--help").stdout
    places = [text.index(f"\n{panel}:") for panel in PANELS]
    assert places == sorted(places)
    for name in typer.main.get_command(app).commands:
        assert f"\n  {name} " in text
    module = [sys.executable, "-m", "feat_pose_plugin", "-h"]
    said = subprocess.run(module, capture_output=True, text=True, check=True).stdout
    assert said.startswith("Usage: feat-pose ")
    assert said.splitlines()[1:] == text.splitlines()[1:]


def test_all_names_are_listed():
    def listed(text: str) -> set[str]:
        return {name.split(" (")[0] for name in text.split(", ")} - {"degrees", "feat-degrees"}

    angles = {name for name, each in ALL_CONVENTIONS.items() if each.has_angles}
    assert listed(CONVENTIONS) == listed(", ".join(ALL_CONVENTIONS))
    assert listed(ANGLES) == listed(", ".join(angles))
    models = {model.name for model in available_landmark_models()}
    assert listed(LANDMARK_MODELS) == {"auto", *models}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("estim", ["estimate"]),
        ("convert --to im", ["img2pose"]),
        ("estimate --model pose_mlp_s", ["pose_mlp_synth"]),
        ("estimate --landmark-model mob", ["mobilefacenet", "mobilenet"]),
        ("estimate --rotation-frame c", ["camera"]),
    ],
)
def test_a_shell_completes(words, names):
    asked = {"COMP_WORDS": f"feat-pose {words}", "COMP_CWORD": str(len(words.split()))}
    variables = os.environ | asked | {"_FEAT_POSE_COMPLETE": "complete_bash"}
    result = subprocess.run([COMMAND], env=variables, capture_output=True, text=True, check=False)
    assert result.stdout.split() == names, result.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("estmate a.csv", "estimate"),
        ("plot a.csv -o a.png --orientatoin", "--orientation"),
        ("convert a.csv -o b.csv --to img2pos", "img2pose"),
        ("estimate a.csv -o b.csv --model pose_mlp_sinth", "pose_mlp_synth"),
        ("estimate clip.mp4 -o b.csv", "feat-pose detect clip.mp4 -o b.csv"),
        ("detect a.csv -o b.csv", "feat-pose estimate a.csv -o OUT"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(arguments, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("Pitch,Roll,Yaw\n0,0,0\n")
    refused(feat_pose(*arguments.split()), 2, meant)


def test_an_error_fits_the_terminal():
    lines = on_terminal("estimate", "no.csv", "no.csv", "-o", "x", columns=60).splitlines()
    assert lines[0].startswith("Error: several tables need an existing folder")
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
