"""Parameters without influence: their gradient is 0 but for rounding."""

from torch import Tensor


def null_gradient(parameter: Tensor | None, rows: slice = slice(None)) -> None:
    """Make the gradient of `rows` of a parameter, which is a rounding error, exactly 0. None is ignored.

    A later layer removes such a bias: the softmax that of the keys, BatchNorm that of a convolution. Adam divides a
    gradient by its usual size, so rounding errors would become full steps, other ones on each number of processes. A
    deep copy of the parameter has its own gradient again.
    """
    if parameter is not None:
        parameter.register_hook(lambda gradient: _zeroed(gradient, rows))


def _zeroed(gradient: Tensor, rows: slice) -> Tensor:
    result = gradient.clone()
    result[rows] = 0
    return result
