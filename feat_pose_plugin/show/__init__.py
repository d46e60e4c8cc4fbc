"""Pictures: plots, heads drawn on videos, reports."""
