"""Simulated event cameras that look at images.

`recording.py` makes whole recordings, `frames.py` many at once as count frames.
"""

from tmkt.camera.recording import Camera, record

__all__ = ["Camera", "record"]
