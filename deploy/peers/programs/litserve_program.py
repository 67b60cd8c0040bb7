"""The model behind LitServe: raw bytes in and out, in worker processes with a session each."""

# Annotations are not put off here: LitServe looks at that of decode_request, and takes a string for a query's.
from typing import Annotated

import litserve
import numpy as np
from fastapi import Body, Response
from shared import DELAY_S, MAX_BATCH, SETUP, make_session, pack, run, unpack


class Model(litserve.LitAPI):
    """Batched where it is told to; LitServe stacks and takes apart by these methods."""

    def setup(self, device: str) -> None:
        """Called in the worker."""
        self.session = make_session()

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> np.ndarray:
        """One request's tensor."""
        return unpack(request)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Requests as one batch."""
        return np.concatenate(inputs)

    def predict(self, batch: np.ndarray) -> list[bytes]:
        """The answer of each."""
        outputs = run(self.session, batch)
        answers = [pack(outputs, row) for row in range(len(batch))]
        return answers if MAX_BATCH > 1 else answers[0]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """They are apart already."""
        return output

    def encode_response(self, output: bytes) -> Response:
        """One answer."""
        return Response(output, media_type="application/octet-stream")


if __name__ == "__main__":
    api = Model(max_batch_size=MAX_BATCH, batch_timeout=DELAY_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=SETUP["sessions"], **SETUP["choice"])
    server.run(host="127.0.0.1", port=SETUP["ports"][0], generate_client_file=False, log_level="warning")
