"""What a sound file holds, where libsndfile takes a header's word for it.

libsndfile reads as many frames as it thinks there are: of an MP3 without a count as many as its first frame suggests,
of chained Ogg the first stream, of a FLAC that was written as a stream none. And it shortens a WAV to what is there.
So the file is looked through, and handed over in parts that say truly how long they are.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_XING_FLAGS_AND_COUNT = 8
_UNKNOWN_SIZE = 0x7FFFF000  # from there on, the size of a WAV or AU says that its writer did not know
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_KBPS = {  # by version is 1 and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBPS[(False, 3)] = _KBPS[(False, 2)]
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class CutOffError(ValueError):
    """A file ends before what it promises."""


class Part(io.RawIOBase):
    """Pieces of a file as one file."""

    def __init__(self, *pieces: memoryview) -> None:
        self.pieces, self.size, self._place = pieces, sum(map(len, pieces)), 0

    def readinto(self, buffer) -> int:  # noqa: D102  # as io.RawIOBase has it
        start, read = 0, 0
        for piece in self.pieces:
            if start <= self._place < start + len(piece) and read < len(buffer):
                got = piece[self._place - start : self._place - start + len(buffer) - read]
                memoryview(buffer)[read : read + len(got)] = got
                read, self._place = read + len(got), self._place + len(got)
            start += len(piece)
        return read

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        self._place = max(0, offset + (0, self._place, self.size)[whence])
        return self._place

    def tell(self) -> int:  # noqa: D102
        return self._place

    def readable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True


def sound_parts(data: memoryview) -> tuple[list[Part], bool]:
    """A file as parts that libsndfile reads to their ends, one after the other.

    Returns:
        The parts; and whether the numbers of frames that libsndfile will tell of them are only an upper bound.

    Raises:
        CutOffError: the file ends before what its container promises.
    """
    start = _after_id3(data)
    head = bytes(data[start : start + 12])
    if head.startswith(b"OggS"):
        return _ogg(data[start:]), False
    if head.startswith(b"fLaC") and len(data) >= start + 26 and not _flac_samples(data[start:]):
        fields = bytearray(data[start : start + 26])
        fields[21] |= 0x0F
        fields[22:26] = b"\xff" * 4
        return [Part(memoryview(bytes(fields)), data[start + 26 :])], True
    if head[:2] and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _mp3(data), False
    promised = _promised_end(data)
    if promised is not None and promised > len(data):
        raise CutOffError(f"it has {len(data)} of the {promised} bytes that it promises")
    return [Part(data)], False


def _after_id3(data: memoryview, place: int = 0) -> int:
    """Where what follows the ID3v2 tags at a place begins."""
    while bytes(data[place : place + 3]) == b"ID3" and len(data) >= place + 10:
        size = 0
        for byte in data[place + 6 : place + 10]:
            size = size << 7 | (byte & 0x7F)
        place += 10 + size + (10 if data[place + 5] & 0x10 else 0)
    return place


def _flac_samples(data: memoryview) -> int:
    return (data[21] & 0x0F) << 32 | int.from_bytes(data[22:26], "big")


def _ogg(data: memoryview) -> list[Part]:
    """The links of a chain: a link begins with first pages of streams, after pages that are none."""
    starts, place, was_first = [0], 0, True
    while bytes(data[place : place + 4]) == b"OggS":
        if len(data) < place + 27 or len(data) < place + 27 + data[place + 26]:
            raise CutOffError("its last page is not whole")
        is_first = bool(data[place + 5] & 2)
        if is_first and not was_first:
            starts.append(place)
        was_first = is_first
        place += 27 + data[place + 26] + sum(data[place + 27 : place + 27 + data[place + 26]])
    if place > len(data):
        raise CutOffError("its last page is not whole")
    return [Part(data[first:last]) for first, last in zip(starts, [*starts[1:], len(data)], strict=True)]


@dataclass(frozen=True)
class _Frame:
    place: int
    length: int
    kind: tuple[int, int, int, bool]  # version, layer, rate, mono: what is decoded together
    count_at: int  # where a count of frames would stand in it

    def counted(self, data: memoryview) -> int | None:
        """The count of a frame that holds one in place of sound, 0 where it does not say; None of a frame of sound."""
        at = self.place + self.count_at
        if bytes(data[at : at + 4]) in (b"Xing", b"Info"):
            return int.from_bytes(data[at + 8 : at + 12], "big") if data[at + 7] & 1 else 0
        vbri = self.place + 36
        return int.from_bytes(data[vbri + 14 : vbri + 18], "big") if bytes(data[vbri : vbri + 4]) == b"VBRI" else None


def _frame(data: memoryview, place: int) -> _Frame | None:
    if len(data) < place + 4 or data[place] != 0xFF or data[place + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[place + 1] >> 3 & 3, 4 - (data[place + 1] >> 1 & 3)
    bits, rate = data[place + 2] >> 4, data[place + 2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    hz, bps, padding = _RATES_HZ[version][rate], 1000 * _KBPS[(version == 3, layer)][bits], data[place + 2] >> 1 & 1
    if layer == 1:
        length = (12 * bps // hz + padding) * 4
    else:
        length = (72 if layer == 3 and version != 3 else 144) * bps // hz + padding
    mono = data[place + 3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(place, length, (version, layer, rate, mono), 4 + side)


def _frames(data: memoryview) -> Iterator[_Frame]:
    """The frames of an MP3, past tags and what else lies between them."""
    place, last = 0, None
    while place < len(data):
        place = _after_id3(data, place)
        frame = _frame(data, place)
        if frame is not None:
            after = place + frame.length
            sure = last is not None and frame.kind == last.kind
            if sure or _frame(data, _after_id3(data, after)) is not None or after >= len(data):
                yield frame
                last, place = frame, after
                continue
        place, last = place + 1, None


def _mp3(data: memoryview) -> list[Part]:
    frames = list(_frames(data))
    runs: list[list[_Frame]] = []  # of frames that are decoded together
    promised = 0
    for frame in frames:
        if (count := frame.counted(data)) is not None:
            promised += count
        elif runs and runs[-1][0].kind == frame.kind:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    sounding = sum(map(len, runs))
    if promised - sounding > 1:
        raise CutOffError(f"it has {sounding} of the {promised} frames that it promises")
    counts = [count for frame in frames if (count := frame.counted(data)) is not None]
    if len(runs) <= 1 and counts and counts == [promised] and abs(promised - sounding) <= 1:
        return [Part(data)]  # it says so itself, and to the sample
    return [Part(_count(data, run), *_pieces(data, run)) for run in runs] or [Part(data)]


def _pieces(data: memoryview, run: list[_Frame]) -> Iterator[memoryview]:
    """The bytes of frames; those that touch one another together."""
    start = end = run[0].place
    for frame in run:
        if frame.place != end:
            yield data[start:end]
            start = frame.place
        end = frame.place + frame.length
    yield data[start:end]


def _count(data: memoryview, run: list[_Frame]) -> memoryview:
    """A frame that says how many follow."""
    first = run[0].place
    header = bytearray(data[first : first + 4])
    header[1] |= 1  # no checksum
    for bits in range(1, 15):
        header[2] = bits << 4 | header[2] & 0x0C
        frame = _frame(memoryview(bytes(header)), 0)
        if frame is not None and frame.length >= frame.count_at + 4 + _XING_FLAGS_AND_COUNT:
            break
    assert frame is not None
    content = bytearray(header.ljust(frame.length, b"\0"))
    content[frame.count_at : frame.count_at + 12] = b"Xing" + struct.pack(">II", 1, len(run))
    return memoryview(bytes(content))


def _promised_end(data: memoryview) -> int | None:
    """Where the samples end by what the header says; None where it does not."""
    head = bytes(data[:12])
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return _chunk_end(data, b"data", ">" if head[:4] == b"RIFX" else "<", wide=head[:4] == b"RF64")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _chunk_end(data, b"SSND", ">")
    if head[:4] in (b".snd", b"dns.") and len(data) >= 12:
        offset, size = struct.unpack_from(">II" if head[:4] == b".snd" else "<II", data, 4)
        return None if size >= _UNKNOWN_SIZE else offset + size
    if bytes(data[:16]) == _W64 and bytes(data[24:28]) == b"wave":
        place = 40
        while len(data) >= place + 24:
            (size,) = struct.unpack_from("<Q", data, place + 16)  # of the chunk with its head of 24 bytes
            if bytes(data[place : place + 4]) == b"data":
                return place + size
            place += max(24, size + 7 & ~7)
        return None
    if head[:4] == b"caff":
        place = 8
        while len(data) >= place + 12:
            (size,) = struct.unpack_from(">q", data, place + 4)
            if bytes(data[place : place + 4]) == b"data":
                return None if size < 0 else place + 12 + size
            place += 12 + max(0, size)
    return None


def _chunk_end(data: memoryview, name: bytes, order: str, *, wide: bool = False) -> int | None:
    place, long_size = 12, None
    while len(data) >= place + 8:
        (size,) = struct.unpack_from(f"{order}I", data, place + 4)
        kind = bytes(data[place : place + 4])
        if wide and kind == b"ds64" and len(data) >= place + 24:
            (long_size,) = struct.unpack_from(f"{order}Q", data, place + 16)
        if kind == name:
            if long_size is not None and size == 0xFFFFFFFF:
                size = long_size
            elif size >= _UNKNOWN_SIZE:
                return None
            return place + 8 + size
        place += 8 + size + (size & 1)
    return None
