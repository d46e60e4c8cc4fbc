"""Head pose from face landmarks, for py-feat and frameworks of its style.

The import itself loads neither feat, torch nor pandas. Each public name of ``__init__.pyi`` is
loaded when it is first used.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("feat-pose-plugin")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
