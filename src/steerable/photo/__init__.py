"""Photographs: finding the face, cutting out the picture a generator can speak of, and pasting what was edited back in.

photo = st.read_images("me.jpg")                                  # [1 3 h w], of any size
crop = st.aligned(photo)                                          # where FFHQ would have cut, with its matrix
me = st.invert("optimize", g, crop.cut(photo))
edited = st.render(g, me, [smile.at(2)])
st.write(st.paste(photo, crop, edited, plain=st.render(g, me)), "out.jpg")
"""

from .alignment import CROPS, aligned, by_face, centered, cropped
from .crop import Crop, Portrait
from .faces import Detector, Sighting, YuNet
from .pasting import paste

__all__ = [
    "CROPS",
    "Crop",
    "Detector",
    "Portrait",
    "Sighting",
    "YuNet",
    "aligned",
    "by_face",
    "centered",
    "cropped",
    "paste",
]
