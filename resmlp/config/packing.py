"""Settings of the images that `resmlp data pack` packs."""

from dataclasses import dataclass

from resmlp.config.data import Data
from resmlp.config.label_table import LabelTable


@dataclass(frozen=True)
class PackData(LabelTable):
    """What PATH is."""

    source: str = "folder"
    """folder (class folders, archives, Parquet), or a data set in its own files, such as cifar10, as in `train`"""

    def at(self, root: str) -> Data:
        """The settings of data for the images at `root`."""
        return Data(source=self.source, root=root, labels=self.labels, columns=self.columns)
