"""`resmlp push`."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.checks import demand
from resmlp.errors import notice
from resmlp.published import published
from resmlp.sources import is_published, kind_of
from resmlp.verbs.base import Verb


@dataclass(frozen=True, kw_only=True)
class Push(Verb):
    """publish a trained network on the Hugging Face hub, for resmlp, timm and transformers, with a model card"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a .safetensors file, or published weights"""
    repo: Annotated[Positional[str], arg(metavar="ORG/NAME")]
    """where on the hub; made where there is none"""
    private: bool = False
    """only for you and your organisation"""
    licence: str | None = None
    """the hub's word for the licence of the weights: apache-2.0, mit, cc-by-4.0, other ..."""
    out: Path | None = None
    """write the folder here to look at it, and upload nothing"""

    def run(self) -> dict[str, Any]:
        """Write the folder, upload it, and return where it is."""
        from resmlp.deploy.publish import check_names, check_token, push, write_for_hub

        check_names(self.repo, self.licence)
        kind = kind_of(self.model)
        demand(kind not in ("segmenter", "translator"), f"{self.model} is a {kind}", "a classifier can be published")
        if self.out is None:
            check_token()
        with TemporaryDirectory(prefix="resmlp-push-") as aside:
            folder = self.out or Path(aside) / "model"
            licence = self.licence or (published(self.model).licence if is_published(self.model) else None)
            files = write_for_hub(self.model, folder, self.repo, licence)
            url = None if self.out else push(folder, self.repo, self.private)
        if licence is None:
            notice("the model card states no licence, so that nobody may use it: --licence apache-2.0, say")
        if not self.json:
            print(f"{url or self.out}: {', '.join(files)}")
        return {"repo": self.repo, "url": url, "files": files}
