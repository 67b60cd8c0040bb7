"""Reading what was dropped on the page: regular files in the page's own folder, whatever a request names."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from neurips16.clients.protocol.errors import InvalidInputError

FOLDER_VARIABLE = "GRADIO_TEMP_DIR"  # Gradio's own, by which it is told where to keep files
MAX_FILE_BYTES = 64 << 20  # of what is dropped; it is read as a whole


def read_dropped(path: str, folder: str | Path | None = None) -> bytes:
    """The content of a file in the page's folder; examples that were clicked on are copied there, too.

    Args:
        path: what a request names, so anything.
        folder: the page's; None takes that of the page that this process serves.

    Raises:
        InvalidInputError: it is no regular file there, or too large. The text does not repeat the path.
    """
    folder = os.environ.get(FOLDER_VARIABLE) if folder is None else folder
    refused = InvalidInputError("the file was not dropped on this page: drop it, or record it, here")
    if not folder or not isinstance(path, str):
        raise refused
    try:
        real = os.path.realpath(path)  # links resolved: what remains of them below is another's doing
        if not Path(real).is_relative_to(os.path.realpath(folder)):
            raise refused
        # Opened without waiting: a pipe has no end to wait for.
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise refused from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refused
    with open(descriptor, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise InvalidInputError(f"the file has more than {MAX_FILE_BYTES >> 20} MiB: make it smaller")
    return content


def refuse_downloads() -> None:
    """Have Gradio fetch nothing: a request may name a file by its address on the web, and Gradio would get it.

    It has no option for this. Both functions by which it fetches are replaced, for the whole process.
    """
    from gradio import processing_utils

    def refuse(url: str, cache_dir: str) -> str:
        raise ValueError(f"this page fetches nothing, {url!r} was named: drop the file itself")

    async def refuse_later(url: str, cache_dir: str) -> str:
        return refuse(url, cache_dir)

    processing_utils.ssrf_protected_download = refuse
    processing_utils.async_ssrf_protected_download = refuse_later
