"""The verbs of the command line, one class each. Importing them loads nothing heavy."""

from resmlp.verbs.base import Verb
from resmlp.verbs.compress import Compress
from resmlp.verbs.data import DataCheck
from resmlp.verbs.embed import Embed
from resmlp.verbs.evaluate import Eval
from resmlp.verbs.export import Export
from resmlp.verbs.inspect import Inspect
from resmlp.verbs.listing import List
from resmlp.verbs.predict import Predict
from resmlp.verbs.profile import Profile
from resmlp.verbs.push import Push
from resmlp.verbs.reproduce import Reproduce
from resmlp.verbs.train import Demo, Train
from resmlp.verbs.translate import Translate

VERBS: dict[str, type[Verb]] = {
    "demo": Demo,
    "list": List,
    "train": Train,
    "eval": Eval,
    "predict": Predict,
    "translate": Translate,
    "embed": Embed,
    "inspect": Inspect,
    "profile": Profile,
    "reproduce": Reproduce,
    "data": DataCheck,
    "export": Export,
    "compress": Compress,
    "push": Push,
}

__all__ = ["VERBS", "Verb"]
