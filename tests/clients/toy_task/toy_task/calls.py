from __future__ import annotations

from neurips16.clients.protocol.operation import Emit, Operation


def spell(text: str, *, separator: str = "-") -> Operation[str]:
    """Emits each letter, and returns them with something between.

    Args:
        text: what to spell.
        separator: what is between the letters.
    """
    for letter in text:
        yield Emit(letter)
    return separator.join(text)
