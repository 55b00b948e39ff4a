"""A small event camera that looks at images: whole recordings (`recording.py`), or many at once as
count frames (`frames.py`).
"""

from tmkt.camera.recording import Camera, record

__all__ = ["Camera", "record"]
