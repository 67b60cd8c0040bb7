"""How much one file may become when it is decoded: a few kilobytes can stand for gigabytes, or for days of sound.

A limit is what the caller gives, else what the environment says (``NEURIPS16_MAX_IMAGE_BYTES``,
``NEURIPS16_MAX_SOUND_SECONDS``), else what is here.
"""

from __future__ import annotations

import os

from neurips16.clients.protocol.errors import InvalidInputError

# Of memory while an image is decoded; 76 million pixels of a photo, whose 230 MB fit in a message.
MAX_IMAGE_BYTES = 512 << 20
MAX_SOUND_S = 3600.0
IMAGE_VARIABLE, SOUND_VARIABLE = "NEURIPS16_MAX_IMAGE_BYTES", "NEURIPS16_MAX_SOUND_SECONDS"
VARIABLES = (IMAGE_VARIABLE, SOUND_VARIABLE)


def max_image_bytes(given: int | None = None) -> int:
    """The limit of an image, in bytes of memory.

    Raises:
        InvalidInputError: the limit is no number over 0.
    """
    return int(_number(IMAGE_VARIABLE, given, MAX_IMAGE_BYTES))


def max_sound_s(given: float | None = None) -> float:
    """The limit of a sound, in seconds.

    Raises:
        InvalidInputError: the limit is no number over 0.
    """
    return _number(SOUND_VARIABLE, given, MAX_SOUND_S)


def limit_files(*, image_bytes: int | None = None, sound_s: float | None = None) -> None:
    """Set limits, those that are given, for this process and the processes that it starts: for a command's options.

    Raises:
        InvalidInputError: a limit is no number over 0.
    """
    if image_bytes is not None:
        os.environ[IMAGE_VARIABLE] = str(max_image_bytes(image_bytes))
    if sound_s is not None:
        os.environ[SOUND_VARIABLE] = str(max_sound_s(sound_s))


def _number(name: str, given: float | None, default: float) -> float:
    text = str(given) if given is not None else os.environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0 or (name == IMAGE_VARIABLE and number == float("inf")):
        raise InvalidInputError(f"{name}, or the option or argument in its place, is a number over 0, got {text!r}")
    return number
