"""A sound, in the formats that libsndfile reads."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import soundfile
from fuzz.harness import Harness

from neurips16.clients.media.audio import sound_blocks
from neurips16.clients.protocol.errors import ClientError
from neurips16.training.data.audio import read_waveform
from neurips16.training.errors import DataError

RATE_HZ = 22_050
BLOCKS = 8  # a client takes what comes as it comes


def read(data: bytes, folder: Path) -> object:
    """As the client does, and the data sets."""
    for _ in itertools.islice(sound_blocks(data, None, RATE_HZ), BLOCKS):
        pass
    path = folder / "sound"
    path.write_bytes(data)
    return read_waveform(path, RATE_HZ)


def seeds() -> list[bytes]:
    """One of each container; one whose header is all there is."""
    wave = np.sin(np.arange(800) / 8).astype(np.float32)
    made = []
    for kind in ("WAV", "WAV/FLOAT", "FLAC", "OGG", "AIFF", "MP3"):
        container, _, subtype = kind.partition("/")
        buffer = io.BytesIO()
        soundfile.write(buffer, wave, 44_100, format=container, subtype=subtype or None)
        made.append(buffer.getvalue())
    return [*made, made[0][:44], made[0].replace(b"\x44\xac\0\0", b"\0\0\0\0"), b""]


HARNESS = Harness(read, (ClientError, DataError), seeds)
