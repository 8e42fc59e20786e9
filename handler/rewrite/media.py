"""What ai-toolkit trains on, by the suffixes that it knows."""

from __future__ import annotations

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".webm", ".mkv", ".wmv", ".m4v", ".flv"})
SOUNDS = frozenset({".mp3", ".wav", ".flac", ".aac", ".ogg", ".m4a"})
MEDIA = PICTURES | VIDEOS | SOUNDS
