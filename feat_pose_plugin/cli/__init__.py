"""The command ``feat-pose``.

Options and messages only. Whatever is slow to import is imported inside the commands.
"""

# In the order of the help.
from feat_pose_plugin.cli import pose, look, demo, measure, train, machine  # noqa: F401, I001
from feat_pose_plugin.cli.application import app as app
