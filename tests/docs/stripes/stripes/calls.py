"""The call: an operation, which every client can run."""

from neurips16.clients.media.image_reading import ImageSource
from neurips16.clients.protocol.operation import Operation
from neurips16.clients.tasks.classify_image.calls import classify_image


def name_stripes(image: ImageSource) -> Operation[str]:
    """Which way the stripes of an image run.

    Args:
        image: a file's path, its bytes, or an array uint8 [H, W, 3].
    """
    (likeliest,) = yield from classify_image(image, model="stripes", top_k=1)
    return likeliest.label
