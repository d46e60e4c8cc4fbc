"""Pictures of pose: plots, heads on photographs and videos, and a page about a table."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
"""What is read as such, by suffix."""
