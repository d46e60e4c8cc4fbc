"""The command ``feat-pose``.

Options and messages only. Whatever is slow to import is imported inside the commands.
"""

from feat_pose_plugin.cli import tables, detect, motion  # isort: skip
from feat_pose_plugin.cli import models, pictures, training, evaluation  # isort: skip
from feat_pose_plugin.cli.application import app

__all__ = ["app", "detect", "evaluation", "models", "motion", "pictures", "tables", "training"]
