"""``python -m feat_pose_plugin`` is the command ``feat-pose``."""

from feat_pose_plugin.cli import app

if __name__ == "__main__":
    app(prog_name="feat-pose")
