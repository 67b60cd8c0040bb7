"""The system: a data module, a network with its loss, and the name that `neurips16 train` finds it by."""

from collections.abc import Sequence
from pathlib import Path

import lightning
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from neurips16.training.system import System, SystemModule


class StripesData(lightning.LightningDataModule):
    """Pictures in a folder for each class.

    Args:
        folder: holds ``CLASS/*.png``, all of one size.
        batch_size: pictures of a batch.
    """

    def __init__(self, folder: str, batch_size: int = 32):
        super().__init__()
        self.batch_size = batch_size
        self.classes = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
        found = [(path, label) for label, name in enumerate(self.classes) for path in Path(folder, name).glob("*.png")]
        images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in found])
        self.images, self.labels = torch.from_numpy(images), torch.tensor([label for _, label in found])

    def train_dataloader(self) -> DataLoader:
        """Shuffled batches of images uint8 [N, H, W, 3] and labels [N]."""
        return DataLoader(TensorDataset(self.images, self.labels), self.batch_size, shuffle=True)


class Stripes(SystemModule):
    """Two convolutions and a linear layer.

    Args:
        classes: their names; the data say.
        width: channels of the first convolution.
        learning_rate: of Adam.
    """

    system = "stripes"

    def __init__(self, classes: Sequence[str], width: int = 8, learning_rate: float = 0.003):
        super().__init__()
        self.save_hyperparameters()
        self.hparams.classes = list(classes)
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2), nn.ReLU(), nn.Conv2d(width, 2 * width, 5, stride=2), nn.ReLU()
        )
        self.head = nn.Linear(2 * width, len(classes))

    def logits(self, image: Tensor) -> Tensor:
        """Of images uint8 [N, H, W, 3], of any size from 16 on: [N, classes]."""
        pixels = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.head(self.features(pixels).mean((2, 3)))

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities [N, classes], which is what is served."""
        return self.logits(image).softmax(1)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        images, labels = batch
        loss = F.cross_entropy(self.logits(images), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), self.hparams.learning_rate)


SYSTEM = System(
    name="stripes",
    module=Stripes,
    data=StripesData,
    links=(("classes", "classes"),),
    presets=Path(__file__).parent / "presets",
)
