"""Read a still picture of unknown origin: not larger than a frame of a video may be."""

import cv2
import numpy as np

from unreel.errors import InputError


def read_picture(path: str) -> np.ndarray:
    """A picture as BGR, uint8 (H, W, 3). Raises InputError for one that can't be read, or of too many pixels.

    OpenCV looks at the size in the header first; `unreel/__init__.py` sets its limit.
    """
    try:
        picture = cv2.imread(path, cv2.IMREAD_COLOR)
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):
            raise InputError("a picture of too many pixels; scale it down") from error
        raise InputError("not a picture that can be read") from error
    if picture is None:
        raise InputError("not a picture that can be read")
    return picture
