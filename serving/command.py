"""`neurips16 serve`, `neurips16 sign` and `neurips16 doctor`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

PEM = "PEM file"


class ModelControl(Enum):
    """What becomes of the set of models after the start, in Triton's words."""

    NONE = "none"
    POLL = "poll"
    EXPLICIT = "explicit"


def serve(
    repository: Annotated[list[Path], typer.Argument(help="Model repositories: MODEL/VERSION/model.onnx in each.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond loopback it needs --tls-cert and --tls-key.")
    ] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gRPC service; 0: a free one.")] = 8001,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the HTTP service; 0: a free one. HTTP is off unless it is given; all but the health "
            "checks needs the admin token, in the header neurips16-admin.",
        ),
    ] = None,
    metrics_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the metrics; 0: a free one.")] = 8002,
    http_host: Annotated[
        str | None,
        typer.Option(
            help="Address of the HTTP service, which has no TLS; with --http-port. Else --host if that is loopback.",
        ),
    ] = None,
    metrics_host: Annotated[
        str | None,
        typer.Option(
            help="Address of the metrics, in plain text and for everybody: names of models, counts and times. Else "
            "--host if that is loopback, or no metrics.",
        ),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="The server's certificate.", metavar=PEM)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, unencrypted.", metavar=PEM)] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Let in only clients whose certificate this authority signed.", metavar=PEM)
    ] = None,
    insecure_plaintext: Annotated[
        bool,
        typer.Option(
            "--insecure-plaintext",
            help="Serve beyond loopback without TLS: anybody on the network can read and change requests, answers and "
            "the admin token.",
        ),
    ] = False,
    admin_token_file: Annotated[
        Path | None,
        typer.Option(
            help="The token for model control, shared memory, trace and log settings, sent as the header "
            "triton-grpc-protocol-neurips16-admin. Else that in NEURIPS16_ADMIN_TOKEN, or a fresh one.",
        ),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Load only this model. May be repeated.")] = None,
    model_control: Annotated[
        ModelControl,
        typer.Option(
            help="After the start: none keeps the models; poll loads what is new or has changed in the repositories; "
            "explicit: whoever has the admin token loads and unloads."
        ),
    ] = ModelControl.NONE,
    versions: Annotated[
        int,
        typer.Option(
            min=0,
            help="How many of the newest versions of each model are served, 0 for all; a config.pbtxt of your own says "
            "it itself.",
        ),
    ] = 1,
    verify: Annotated[
        Path | None,
        typer.Option(
            help="Serve only models that were signed with this key's private one, by `neurips16 sign`, and are as they "
            "were then. What an admin loads later, with files of the call's own, is the admin's.",
            metavar=PEM,
        ),
    ] = None,
    allow_op_library: Annotated[
        list[str] | None,
        typer.Option(
            help="A library of operators, beside ours, that a model's configuration may name. It is a program. May be "
            "repeated.",
            metavar="PATH",
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            help="Memory that the server may allocate, like 8G. Beyond it the server ends and is started again. A few "
            "megabytes on the wire can be gigabytes once they are decompressed: set it, or the container's.",
            metavar="SIZE",
        ),
    ] = None,
    timeout_s: Annotated[float, typer.Option(min=1, help="How long the models may take to load.")] = 600.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the server's whole log.")] = False,
) -> None:
    """Serve model repositories with Triton, until Ctrl-C or SIGTERM."""
    from neurips16.serving.errors import SecurityError
    from neurips16.serving.signature import read_public_key
    from neurips16.serving.triton.admin_token import given_token
    from neurips16.serving.triton.foreground import Service
    from neurips16.serving.triton.memory_limit import parse_size

    if (tls_cert is None) != (tls_key is None) or (tls_client_ca is not None and tls_cert is None):
        raise SecurityError("--tls-cert and --tls-key go together, and --tls-client-ca with them: give what is missing")
    if http_host is not None and http_port is None:
        raise SecurityError("--http-host says where HTTP listens, and there is none: give --http-port with it")
    try:
        limit = None if memory_limit is None else parse_size(memory_limit)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--memory-limit") from error
    tls = None
    if tls_cert is not None and tls_key is not None:
        from neurips16.serving.triton.tls import ServerTLS

        tls = ServerTLS(tls_cert.absolute(), tls_key.absolute(), tls_client_ca and tls_client_ca.absolute())
    service = Service(
        repository,
        host=host,
        ports=(grpc_port, http_port, metrics_port),
        http_host=http_host,
        metrics_host=metrics_host,
        tls=tls,
        insecure_plaintext=insecure_plaintext,
        admin_token=given_token(admin_token_file),
        models=model or None,
        model_control=model_control.value,
        memory_limit=limit,
        op_libraries=allow_op_library or [],
        keep_versions=versions or None,
        verify=None if verify is None else read_public_key(verify),
        timeout_s=timeout_s,
        verbose=verbose,
    )
    service.run()


def sign(
    repository: Annotated[Path, typer.Argument(help="The model repository.")],
    key: Annotated[Path, typer.Option(help="The private key, Ed25519, unencrypted.", metavar=PEM)],
) -> None:
    """Sign every model of a repository as it is, for `neurips16 serve --verify`.

    `openssl genpkey -algorithm ed25519 -out key.pem` makes a key, `openssl pkey -in key.pem -pubout -out public.pem`
    its public part.
    """
    from neurips16.serving.signature import read_private_key, sign_repository

    typer.echo(f"signed {', '.join(sign_repository(repository, read_private_key(key)))}")


def doctor() -> None:
    """Check what of serving is installed here, and whether it works."""
    from neurips16.serving.doctor import examine

    if not examine(typer.echo):
        raise typer.Exit(1)
