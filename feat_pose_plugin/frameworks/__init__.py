"""Detectors and scripts of other packages, given our pose."""
