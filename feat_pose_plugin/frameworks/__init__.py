"""Our pose in the detectors and scripts of other packages."""
