"""DeepMath: conjecture encoder, premise encoder, ranker."""

from neurips16.export.systems.deepmath import models as models  # it registers the system
