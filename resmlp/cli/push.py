"""`resmlp push`."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Verb
from resmlp.config.pretrained import published
from resmlp.hub.resolve import is_published, kind_of
from resmlp.utils.checks import demand
from resmlp.utils.errors import notice


@dataclass(frozen=True, kw_only=True)
class Push(Verb):
    """publish a trained network on the Hugging Face hub, for resmlp, timm and transformers, with a model card"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a .safetensors file, or published weights"""
    repo: Annotated[Positional[str], arg(metavar="ORG/NAME")]
    """where on the hub; made where there is none"""
    private: bool = False
    """only for you and your organization"""
    license: str | None = None
    """the hub's word for the license of the weights: apache-2.0, mit, cc-by-4.0, other ..."""
    out: Path | None = None
    """write the folder here to look at it, and upload nothing"""

    def run(self) -> dict[str, Any]:
        """Write the folder, upload it, and return where it is."""
        from resmlp.exporters.publish import check_names, check_token, push, write_for_hub

        check_names(self.repo, self.license)
        kind = kind_of(self.model)
        demand(kind not in ("segmenter", "translator"), f"{self.model} is a {kind}", "a classifier can be published")
        if self.out is None:
            check_token()
        with TemporaryDirectory(prefix="resmlp-push-") as aside:
            folder = self.out or Path(aside) / "model"
            license = self.license or (published(self.model).license if is_published(self.model) else None)
            files = write_for_hub(self.model, folder, self.repo, license)
            url = None if self.out else push(folder, self.repo, self.private)
        if license is None:
            notice("the model card states no license, so that nobody may use it: --license apache-2.0, say")
        if not self.json:
            print(f"{url or self.out}: {', '.join(files)}")
        return {"repo": self.repo, "url": url, "files": files}
