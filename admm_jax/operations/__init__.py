"""The operations of the language, each whole in one file: its function, value, sign, printing, and rules.

A new one takes a file here and its lines below: the function, which the package exports, and the record. Outside the
package, `register` makes a record known, and `apply` makes its nodes.
"""

from admm_jax.expressions.build import apply as apply
from admm_jax.expressions.build import as_constant as as_constant
from admm_jax.expressions.node import as_expr as as_expr
from admm_jax.expressions.operation import Operation as Operation
from admm_jax.expressions.operation import register as register
from admm_jax.operations.absolute import ABS, abs
from admm_jax.operations.arithmetic import ADD, DIVIDE, MULTIPLY, NEGATIVE
from admm_jax.operations.convolution import CONV, CONV2D, CORR, CORR2D, conv, conv2d, corr, corr2d
from admm_jax.operations.diff import DIFF, diff
from admm_jax.operations.extremum import MAXIMUM, MINIMUM, maximum, minimum
from admm_jax.operations.gradient import GRADIENT, LAPLACIAN, gradient, laplacian
from admm_jax.operations.huber import HUBER, huber
from admm_jax.operations.inrange import INRANGE, inrange
from admm_jax.operations.kullback_leibler import KULLBACK_LEIBLER, kullback_leibler
from admm_jax.operations.linear import LINEAR, linear
from admm_jax.operations.mean import MEAN, mean
from admm_jax.operations.norm import NORM, norm
from admm_jax.operations.pad import PAD, pad
from admm_jax.operations.penalty import PENALTY, penalty
from admm_jax.operations.products import MATMUL
from admm_jax.operations.shapes import INDEX, RESHAPE, TRANSPOSE, flatten, ravel, transpose
from admm_jax.operations.square import SQUARE, square
from admm_jax.operations.stacking import CONCATENATE, ROLL, concatenate, hstack, roll, vstack
from admm_jax.operations.sum_squares import SUM_SQUARES, sum_squares
from admm_jax.operations.summation import SUM, sum
from admm_jax.operations.total_variation import TV, TV1D, TV2D, tv, tv1d, tv2d

# the functions that `admm_jax` exports
__all__ = [
    "abs",
    "concatenate",
    "conv",
    "conv2d",
    "corr",
    "corr2d",
    "diff",
    "flatten",
    "gradient",
    "hstack",
    "huber",
    "inrange",
    "kullback_leibler",
    "laplacian",
    "linear",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "pad",
    "penalty",
    "ravel",
    "roll",
    "square",
    "sum",
    "sum_squares",
    "transpose",
    "tv",
    "tv1d",
    "tv2d",
    "vstack",
]

# the records that are known
OPERATIONS = (
    ADD,
    NEGATIVE,
    MULTIPLY,
    DIVIDE,
    MATMUL,
    TRANSPOSE,
    RESHAPE,
    INDEX,
    SUM,
    CONV,
    CORR,
    CONV2D,
    CORR2D,
    SQUARE,
    ABS,
    HUBER,
    MAXIMUM,
    MINIMUM,
    NORM,
    INRANGE,
    TV,
    KULLBACK_LEIBLER,
    TV2D,
    TV1D,
    SUM_SQUARES,
    MEAN,
    DIFF,
    GRADIENT,
    LAPLACIAN,
    PAD,
    CONCATENATE,
    ROLL,
    LINEAR,
    PENALTY,
)
register(*OPERATIONS)
