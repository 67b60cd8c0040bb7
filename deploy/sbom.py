"""`make sbom`: bills of materials in CycloneDX: build/sbom/wheel.cdx.json and build/sbom/image.cdx.json.

The wheel's lists everything that an installation with any extra may bring, in the versions and with the hashes that CI
proves (requirements/dev.txt). The image's lists what docker/Dockerfile puts together: NVIDIA's image by its digest,
whose own bill is NVIDIA's, ONNX Runtime's headers by their commit, our kernels, and the models that may be inside.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
SCHEMA = SchemaVersion.V1_6
IMAGE = re.compile(
    r"(?P<registry>[^/\s]+)/(?P<path>[\w./-]+)/(?P<name>[\w-]+):(?P<tag>[\w.-]+)@sha256:(?P<digest>[0-9a-f]{64})"
)


def write_wheel(path: Path) -> None:
    """The wheel's bill, by CycloneDX's own reader of requirements.

    Raises:
        subprocess.CalledProcessError: it cannot; it has said why.
    """
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--mc-type", "library", "--spec-version", SCHEMA.to_version(), "--output-reproducible"]
    subprocess.run([*command, "--output-file", str(path), str(ROOT / "requirements/dev.txt")], check=True)


def image_bill(dockerfile: str, version: str, models: Path) -> Bom:
    """The image's bill.

    Args:
        dockerfile: its text.
        version: the project's.
        models: the repository that `MODELS=baked` puts inside.

    Raises:
        ValueError: the Dockerfile does not name what it is made of.
    """
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)", dockerfile, re.M))
    try:
        base = IMAGE.fullmatch(arguments["TRITON"])
        runtime, commit = arguments["ONNXRUNTIME_VERSION"], arguments["ONNXRUNTIME_COMMIT"]
    except KeyError as error:
        raise ValueError(f"the Dockerfile has no argument {error}") from None
    if base is None:
        raise ValueError(f"the Dockerfile names no image with its digest: {arguments['TRITON']}")
    digest = HashType(alg=HashAlgorithm.SHA_256, content=base["digest"])
    where = {"repository_url": f"{base['registry']}/{base['path']}", "tag": base["tag"]}
    bom = Bom()
    bom.metadata.component = root = Component(
        name="neurips16-triton",
        version=f"{version}-{base['tag'].removesuffix('-py3')}",
        type=ComponentType.CONTAINER,
        bom_ref="image",
    )
    parts = [
        Component(
            name=base["name"],
            version=base["tag"],
            type=ComponentType.CONTAINER,
            hashes=[digest],
            purl=PackageURL("oci", None, base["name"], f"sha256:{base['digest']}", where),
            bom_ref="triton",
        ),
        Component(
            name="onnxruntime",
            version=runtime,
            type=ComponentType.LIBRARY,
            description="its headers, which the kernels are compiled against",
            purl=PackageURL("github", "microsoft", "onnxruntime", commit),
            bom_ref="onnxruntime",
        ),
        Component(name="libneurips16_ops", version=version, type=ComponentType.LIBRARY, bom_ref="kernels"),
    ]
    for path in sorted(models.glob("*/*/model.onnx")):
        model, number = path.parts[-3:-1]
        content = HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(path.read_bytes()).hexdigest())
        kind = ComponentType.MACHINE_LEARNING_MODEL
        reference = f"model {model} {number}"
        parts.append(Component(name=model, version=number, type=kind, hashes=[content], bom_ref=reference))
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(root, parts)
    bom.register_dependency(parts[2], [parts[1]])
    return bom


def main() -> None:
    """Write both, and hold the image's against the schema, as the other's writer does by itself."""
    folder = ROOT / "build/sbom"
    folder.mkdir(parents=True, exist_ok=True)
    write_wheel(folder / "wheel.cdx.json")
    project = (ROOT / "pyproject.toml").read_text()
    version = re.findall(r'^version = "(.+)"', project, re.M)[0]
    bom = image_bill(DOCKERFILE.read_text(), version, ROOT / "serving/models")
    text = make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=2)
    if fault := JsonStrictValidator(SCHEMA).validate_str(text):
        sys.exit(f"sbom: the image's bill is not of the schema: {fault}")
    (folder / "image.cdx.json").write_text(text)
    sys.stdout.write(f"{folder}/wheel.cdx.json\n{folder}/image.cdx.json: {len(bom.components)} components\n")


if __name__ == "__main__":
    main()
