"""Several labels for each image: mean average precision, and F1 at the threshold of the model."""

from resmlp.evaluation.evaluator import Evaluator, Scores
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


def mean_average_precision(evaluator: Evaluator) -> Scores:
    """Mean average precision, macro F1, and the average precision of each class; a class without images has none."""
    from resmlp.metrics.multilabel import average_precisions, macro_f1, mean_of_known

    predictor, images = evaluator.predictor, evaluator.images
    threshold, names = predictor.threshold, predictor.classes
    if threshold is None:
        what = f"--protocol map: {evaluator.source} gives one label for each image"
        raise UserError(what, "--protocol top1 evaluates it; resmlp train multilabel trains on several labels")
    number = {name: i for i, name in enumerate(names)}
    unknown = [name for name in images.classes if name not in number]
    known = f"it knows {', '.join(names[:5])}, ..."
    demand(not unknown, f"the model knows no class {', '.join(unknown[:5])}", known)

    def scores() -> Scores:
        import numpy as np

        outputs = evaluator.outputs()
        targets = np.zeros((len(outputs.index), len(names)), bool)
        for row, i in enumerate(outputs.index.tolist()):
            targets[row, [number[images.classes[label]] for label in images.labels_of(i)]] = True
        finite = outputs.value.isfinite().all(1)
        probabilities = outputs.value.sigmoid().where(finite[:, None], 0).numpy()
        precisions = average_precisions(probabilities, targets)
        yield "map", mean_of_known(precisions)
        yield "f1", macro_f1(probabilities, targets, threshold)
        yield "threshold", threshold
        yield "images", len(targets)
        yield "unreadable", list(outputs.unreadable)
        if bad := int((~finite).sum()):
            yield "not_finite", bad
        yield "per_class", dict(zip(names, precisions))

    return scores()
