"""Several labels for each image: mean average precision, and F1 at the threshold of the model."""

from resmlp.evaluation.classification import class_numbers
from resmlp.evaluation.evaluator import Evaluator, Scores
from resmlp.utils.errors import UserError


def mean_average_precision(evaluator: Evaluator) -> Scores:
    """Mean average precision, macro F1, and the average precision of each class; a class without images has none."""
    from resmlp.data.images.label_sets import multi_hot
    from resmlp.metrics.multilabel import average_precisions, macro_f1, mean_of_known

    predictor, images = evaluator.predictor, evaluator.images
    threshold, names = predictor.threshold, predictor.classes
    if threshold is None:
        what = f"--protocol map: {evaluator.source} gives one label for each image"
        raise UserError(what, "--protocol top1 evaluates it; resmlp train multilabel trains on several labels")
    numbers = class_numbers(names, images.classes)

    def scores() -> Scores:
        import numpy as np

        outputs = evaluator.outputs()
        targets = np.zeros((len(outputs.index), len(names)), bool)
        targets[:, numbers] = multi_hot(images)[outputs.index].numpy()
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
