"""`resmlp push`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from resmlp.cli.base import Verb, print_text


@dataclass(frozen=True, kw_only=True)
class Push(Verb):
    """publish a trained network on the Hugging Face hub, for resmlp, timm and transformers, with a model card"""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """a run folder, a .safetensors file, or published weights"""
    repo: Annotated[Positional[str], arg(metavar="ORG/NAME")]
    """the repository on the hub; created if missing"""
    private: bool = False
    """visible to you and your organization only"""
    license: str | None = None
    """license of the weights, as an identifier of the hub: apache-2.0, mit, cc-by-4.0, other ..."""
    out: Path | None = None
    """write the files into this new folder, and upload nothing"""

    def run(self) -> dict[str, Any]:
        """Write the files and upload them."""
        from resmlp.exporters.publish import push

        result = push(self.model, self.repo, private=self.private, license=self.license, out=self.out)
        if not self.json:
            print_text(result)
        return result.to_dict()
