"""Pictures with labelled boxes: reads PASCAL VOC's layout (XML) and COCO's (JSON).

VOC: ``ImageSets/Main/SPLIT.txt``, ``Annotations/NAME.xml``, ``JPEGImages/NAME.jpg``, in the folder itself or in several
folders of it (VOCdevkit's VOC2007 and VOC2012, whose pictures are then taken together). Its coordinates count pixels
from 1, both ends inside. COCO: ``annotations/instances_SPLIT.json``, with a year where there is but one
(``instances_SPLIT2017.json``), and the pictures in ``SPLIT/`` or ``images/``; its boxes are (x, y, width, height).
Here a box is its edges: see `training/systems/rfcn/boxes.py`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from defusedxml import ElementTree

from neurips16.training.data.pictures import open_picture
from neurips16.training.errors import DataError

_log = logging.getLogger(__name__)
_YEAR = re.compile(r"_?[0-9]{4}")


@dataclass(frozen=True)
class Picture:
    """One picture and what is on it."""

    path: Path
    boxes: np.ndarray  # float32 [G, 4]
    labels: np.ndarray  # int64 [G], numbers of classes from 0
    ignored: np.ndarray  # bool [G]: VOC's "difficult" and COCO's crowds, neither trained on nor asked for


@dataclass(frozen=True)
class DetectionSet:
    """The pictures of one split, and what was left out of their annotations."""

    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    dropped: int = field(default=0)  # boxes without width or height


def read_detection_set(folder: str | Path, split: str, classes: Sequence[str] | None = None) -> DetectionSet:
    """The pictures of a split of a data set in either layout.

    Args:
        folder: of the data set.
        split: "train", "val", "trainval", "test", … as the data set names them; "all" for every picture.
        classes: their names in order; None takes those that the split has, in VOC by alphabet, in COCO by number.

    Raises:
        DataError: the folder has neither layout, or a file of it is not as the layout says.
    """
    folder = Path(folder)
    if roots := _voc_roots(folder):
        found = _read_voc(roots, split, classes)
    elif (folder / "annotations").is_dir():
        found = _read_coco(folder, split, classes)
    else:
        raise DataError(
            f"{folder} has neither ImageSets/Main (PASCAL VOC, also one folder further down) nor annotations (COCO)"
        )
    if found.dropped:
        _log.warning("%s, split %s: %d boxes without width or height were dropped", folder, split, found.dropped)
    return found


def read_image(path: str | Path) -> np.ndarray:
    """A picture as uint8 [H, W, 3] in RGB.

    Raises:
        DataError: it cannot be read.
    """
    return np.asarray(open_picture(path))


def _voc_roots(folder: Path) -> list[Path]:
    inner = sorted(folder.iterdir()) if folder.is_dir() else []
    return [root for root in (folder, *inner) if (root / "ImageSets/Main").is_dir()]


def _read_voc(roots: Iterable[Path], split: str, classes: Sequence[str] | None) -> DetectionSet:
    found: list[tuple[Path, list[tuple[str, list[float], bool]]]] = []
    seen: list[str] = []
    for root in roots:
        annotations = root / "Annotations"
        if split == "all":
            names = sorted(path.stem for path in annotations.glob("*.xml"))
        else:
            index = root / "ImageSets/Main" / f"{split}.txt"
            if not index.is_file():
                splits = ", ".join(sorted(p.stem for p in index.parent.glob("*.txt"))) or "none"
                raise DataError(f"{root} has no split {split!r}; it has: {splits}")
            names = index.read_text().split()
        seen += names
        found += [(root / "JPEGImages" / f"{name}.jpg", _read_xml(annotations / f"{name}.xml")) for name in names]
    if not seen:
        raise DataError(f"the split {split!r} is empty")
    order = list(classes) if classes is not None else sorted({name for _, objects in found for name, _, _ in objects})
    pictures, dropped = [], 0
    for path, objects in found:
        rows = [
            (name, box, difficult) for name, box, difficult in objects if box[2] > box[0] + 1 and box[3] > box[1] + 1
        ]
        dropped += len(objects) - len(rows)
        pictures.append(_picture(path, rows, order))
    return DetectionSet(tuple(order), tuple(pictures), dropped)


def _read_xml(path: Path) -> list[tuple[str, list[float], bool]]:
    """The objects of one annotation: name, edges, difficult."""
    try:
        root = ElementTree.parse(path).getroot()
        objects = []
        for node in root.iter("object"):
            left, top, right, bottom = (float(node.findtext(f"bndbox/{key}", "")) for key in _CORNERS)
            difficult = node.findtext("difficult", "0").strip() == "1"
            box = _finite([left - 1, top - 1, right, bottom])
            objects.append((node.findtext("name", "").strip(), box, difficult))
        return objects
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is no annotation of PASCAL VOC: {error}") from error


_LARGEST = float(np.finfo(np.float32).max)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _read_coco(folder: Path, split: str, classes: Sequence[str] | None) -> DetectionSet:
    files = _coco_files(folder / "annotations", split)
    order = list(classes) if classes is not None else None
    pictures: dict[Path, Picture] = {}  # several files list one where trainval lies beside its parts
    dropped = 0
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            names = {c["id"]: c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])}
            order = order or list(names.values())
            rows: dict[int, list[tuple[str, list[float], bool]]] = {image["id"]: [] for image in content["images"]}
            for entry in content["annotations"]:
                x, y, width, height = map(float, entry["bbox"])
                box = _finite([x, y, x + width, y + height])
                if width > 0 and height > 0:
                    rows[entry["image_id"]].append((names[entry["category_id"]], box, bool(entry.get("iscrowd", 0))))
                else:
                    dropped += 1
            images = _coco_images(folder, file.stem.removeprefix("instances_"))
            for image in content["images"]:
                path = images / image["file_name"]
                pictures.setdefault(path, _picture(path, rows[image["id"]], order))
        except (OSError, ArithmeticError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise DataError(f"{file} is no annotation file of COCO: {type(error).__name__}: {error}") from error
    return DetectionSet(tuple(order or ()), tuple(pictures.values()), dropped)


def _coco_files(annotations: Path, split: str) -> list[Path]:
    """The file of a split, by its exact name or with a year; a split must not take another's pictures."""
    known = {path.stem.removeprefix("instances_"): path for path in sorted(annotations.glob("instances_*.json"))}
    names = [name for name in known if split in ("all", name)]
    if not names:
        names = [name for name in known if _YEAR.fullmatch(name.removeprefix(split)) and name.startswith(split)]
    if not names:
        raise DataError(
            f"{annotations} has no instances_{split}.json, with or without a year; its splits are: "
            f"{', '.join(known) or 'none'}"
        )
    if len(names) > 1 and split != "all":
        raise DataError(f"{annotations} has the split {split!r} of several years: name one of {', '.join(names)}")
    return [known[name] for name in names]


def _finite(box: list[float]) -> list[float]:
    if not all(abs(edge) <= _LARGEST for edge in box):  # false of NaN, too
        raise ValueError(f"the box {box} is not finite")
    return box


def _coco_images(folder: Path, name: str) -> Path:
    places = [folder / name, folder / "images" / name, folder / "images"]
    return next((place for place in places if place.is_dir()), folder)


def _picture(path: Path, rows: list[tuple[str, list[float], bool]], classes: Sequence[str]) -> Picture:
    if unknown := sorted({name for name, _, _ in rows} - set(classes)):
        raise DataError(f"{path}: the classes are {', '.join(classes)}; got {', '.join(map(repr, unknown))}")
    return Picture(
        path,
        np.array([box for _, box, _ in rows], np.float32).reshape(-1, 4),
        np.array([classes.index(name) for name, _, _ in rows], np.int64),
        np.array([ignored for _, _, ignored in rows], bool),
    )
