"""R-FCN: the detector."""

from neurips16.export.systems.rfcn import models as models  # it registers the system
