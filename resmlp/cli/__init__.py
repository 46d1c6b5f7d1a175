"""The verbs of the command line, one class each. Importing them loads nothing heavy."""

from resmlp.cli.base import Verb
from resmlp.cli.compress import Compress
from resmlp.cli.data import DataCheck
from resmlp.cli.embed import Embed
from resmlp.cli.evaluate import Eval
from resmlp.cli.export import Export
from resmlp.cli.inspect import Inspect
from resmlp.cli.listing import List
from resmlp.cli.mistakes import Mistakes
from resmlp.cli.plan import Plan
from resmlp.cli.predict import Predict
from resmlp.cli.profile import Profile
from resmlp.cli.push import Push
from resmlp.cli.reproduce import Reproduce
from resmlp.cli.serve import Serve
from resmlp.cli.train import Demo, Train
from resmlp.cli.translate import Translate

VERBS: dict[str, type[Verb]] = {
    "demo": Demo,
    "list": List,
    "train": Train,
    "eval": Eval,
    "predict": Predict,
    "translate": Translate,
    "embed": Embed,
    "inspect": Inspect,
    "mistakes": Mistakes,
    "profile": Profile,
    "plan": Plan,
    "serve": Serve,
    "reproduce": Reproduce,
    "data": DataCheck,
    "export": Export,
    "compress": Compress,
    "push": Push,
}

__all__ = ["VERBS", "Verb"]
