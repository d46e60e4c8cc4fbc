"""The command ``feat-pose``.

Options and messages only. Whatever is slow to import is imported inside the commands.
"""

# In the order of the help.
from feat_pose_plugin.cli import tables, motion, models, doctor, pictures  # noqa: F401, I001
from feat_pose_plugin.cli import demo, training, evaluation  # noqa: F401
from feat_pose_plugin.cli.application import app as app
