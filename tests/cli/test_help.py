"""The help of the command: every option said in one style, and the page of it fresh."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import command_page
import pytest
import typer
from command import feat_pose, refused

from feat_pose_plugin.cli import app
from feat_pose_plugin.cli.options import ANGLES, CONVENTIONS, LANDMARK_MODELS, PANELS
from feat_pose_plugin.pose.conventions import CONVENTIONS as ALL_CONVENTIONS
from feat_pose_plugin.pose.landmark_models import available_landmark_models

COMMANDS = dict(command_page.commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_and_what_stands_for_its_value(name):
    for parameter in COMMANDS[name].params:
        assert parameter.help[0].isupper(), parameter.name
        assert parameter.help[-1] == ".", parameter.name
        is_flag = getattr(parameter, "is_flag", False)
        assert is_flag or command_page.value_of(parameter), parameter.name
    shown = " ".join(feat_pose(*name.split()[1:], "-h").stdout.split())
    for parameter in COMMANDS[name].params:
        assert parameter.opts[-1] in shown or parameter.metavar in shown


def test_what_writes_a_file_has_force():
    for name, command in COMMANDS.items():
        writes = any(each.metavar in ("OUT", "NAME.safetensors") for each in command.params)
        assert not writes or "force" in {each.name for each in command.params}, name


def test_each_command_is_in_a_panel():
    text = feat_pose("--help").stdout
    assert [text.index(f"\n{panel}:") for panel in PANELS] == sorted(
        text.index(f"\n{panel}:") for panel in PANELS
    )
    for name in typer.main.get_command(app).commands:
        assert f"\n  {name} " in text
    module = [sys.executable, "-m", "feat_pose_plugin", "-h"]
    said = subprocess.run(module, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[1:] == text.splitlines()[1:]
    assert said.startswith("Usage: feat-pose ")


def test_all_names_are_listed():
    said = {name.split(" (")[0] for name in CONVENTIONS.split(", ")}
    aliases = {"degrees", "feat-degrees"}
    assert said | aliases == {*ALL_CONVENTIONS} | aliases
    with_angles = {name for name, each in ALL_CONVENTIONS.items() if each.has_angles}
    assert {name.split(" (")[0] for name in ANGLES.split(", ")} | aliases == with_angles | aliases
    models = {name.split(" (")[0] for name in LANDMARK_MODELS.split(", ")}
    assert models == {"auto", *(model.name for model in available_landmark_models())}


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
    command = Path(sys.executable).with_name("feat-pose")
    result = subprocess.run([command], env=variables, capture_output=True, text=True, check=False)
    assert result.stdout.split() == names, result.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("estmate", "a.csv"), "estimate"),
        (("plot", "a.csv", "-o", "a.png", "--orientatoin"), "--orientation"),
        (("convert", "a.csv", "-o", "b.csv", "--to", "img2pos"), "img2pose"),
        (("estimate", "a.csv", "-o", "b.csv", "--model", "pose_mlp_sinth"), "pose_mlp_synth"),
        (("estimate", "clip.mp4", "-o", "b.csv"), "feat-pose detect clip.mp4 -o b.csv"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(arguments, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("Pitch,Roll,Yaw\n0,0,0\n")
    refused(feat_pose(*arguments), 2, meant)


def test_an_error_fits_the_terminal(tmp_path):
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 60))
    command = [sys.executable, "-m", "feat_pose_plugin", "estimate", "no.csv", "no.csv", "-o", "x"]
    subprocess.run(command, stderr=writer, cwd=tmp_path, check=False)
    os.close(writer)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    lines = said.splitlines()
    assert lines[0].startswith("Error: several tables need an existing folder")
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
