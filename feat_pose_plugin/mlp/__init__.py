"""The shared network that turns 68 landmarks into pose."""
