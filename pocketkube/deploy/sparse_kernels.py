"""What XNNPACK's sparse kernels do with a LiteRT file whose weights are stored sparse.

Zeros make a network faster only where XNNPACK computes its 1x1 convolutions with them: on ARM and in
WebAssembly, not on x86 with AVX. For that it keeps whole chains of operations channels first, and only
chains in which it knows every operation. The rules follow xnn_subgraph_rewrite_for_nchw in its
src/subgraph.c. They overlook one thing: what leaves a chain in the middle of an image is read, channels
first, as if it were channels last, and the model's outputs are wrong (seen in LiteRT 2.3.0).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from pocketkube.litert.flatbuffer import NAMES
from pocketkube.litert.operations import LiteRtGraph, Operation, Operator

_UNARY = frozenset(
    getattr(Operator, name)
    for name in (
        *("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG"),
        *("LOGISTIC", "NEG", "RELU", "RELU_0_TO_1", "RELU_N1_TO_1", "RELU6", "ROUND", "RSQRT", "SIN"),
        *("SQRT", "SQUARE", "TANH"),
    )
)
_BINARY = (Operator.ADD, Operator.MUL)
_REDUCTIONS = (Operator.MEAN, Operator.SUM)
_IMAGE_AXES = 4
_NO_MEAN = "no mean over the image ends what they are part of"


@dataclass(frozen=True)
class SparseKernels:
    """What becomes of a file where there are sparse kernels.

    Attributes:
        convolutions: 1x1 convolutions in the file.
        sparse: Those that sparse kernels compute.
        reason: Why not all; empty where all are.
        wrong: Whether the outputs are wrong then, so that zeros have to be stored like other weights.
    """

    convolutions: int
    sparse: int
    reason: str
    wrong: bool


@dataclass(frozen=True)
class _Fit:
    """How an operation fits into a chain.

    Attributes:
        refusal: Why it does not; empty where it does.
        begins: Whether it takes images channels last.
        ends: Whether it may give channels last.
        passes: Whether it may give channels first.
    """

    refusal: str = ""
    begins: bool = False
    ends: bool = False
    passes: bool = True


def sparse_kernels(content: bytes) -> SparseKernels:
    """Works out which 1x1 convolutions of a LiteRT file sparse kernels compute where there are any.

    Args:
        content: A LiteRT file with weights of float32 or float16, some of them stored sparse.

    Returns:
        Their number, what keeps the others from it, and whether the result would be right.
    """
    graph = LiteRtGraph(content)
    fits = [_fit(graph, operation) for operation in graph.operations]
    chains = _Chains(graph, fits)
    pointwise = [index for index, one in enumerate(graph.operations) if _is_pointwise(graph, one)]
    refused = [chains.refusals[index] for index in pointwise if index in chains.refusals]
    return SparseKernels(
        len(pointwise),
        len(pointwise) - len(refused),
        refused[0] if refused else "",
        chains.leaks(),
    )


def _is_pointwise(graph: LiteRtGraph, one: Operation) -> bool:
    return one.code == Operator.CONV_2D and _kernel_size(graph, one) == (1, 1)


def _kernel_size(graph: LiteRtGraph, one: Operation) -> tuple[int, int]:
    # A kernel that is computed is the last of the inputs but the bias, which never is.
    height, width = graph.shape(one.constants.get(1, one.inputs[-1]))[1:3]
    return height, width


def _fit(graph: LiteRtGraph, one: Operation) -> _Fit:
    name = NAMES[one.code].lower()
    axes = {len(graph.shape(number)) for number in one.inputs}
    if one.code == Operator.CONV_2D:
        return _fit_convolution(graph, one)
    if one.code == Operator.DEPTHWISE_CONV_2D:
        return _Fit(_refusal_of_depthwise(graph, one))
    if one.code == Operator.FULLY_CONNECTED:
        return _Fit()
    if one.code == Operator.DEPTH_TO_SPACE:
        return _Fit(ends=True, passes=False)
    if one.code in _REDUCTIONS and axes == {_IMAGE_AXES}:
        return _Fit(ends=True)
    if (one.code in _UNARY or one.code == Operator.RESIZE_BILINEAR) and axes == {_IMAGE_AXES}:
        return _Fit()
    if one.code in _BINARY:
        return _Fit(f"{name} with a constant" if one.constants or axes != {_IMAGE_AXES} else "")
    return _Fit(name)


def _fit_convolution(graph: LiteRtGraph, one: Operation) -> _Fit:
    (height, width), strides, padding = _geometry(graph, one)
    channels = graph.shape(one.inputs[0])[-1]
    name = f"a {height}x{width} convolution"
    if _is_dilated(one):
        return _Fit(f"{name} with dilation")
    if 1 not in one.constants or graph.shape(one.constants[1])[-1] != channels:
        return _Fit(f"{name} in groups")
    if (height, width) == (1, 1):
        plain = strides == (1, 1) and padding == (0, 0, 0, 0)
        return _Fit("" if plain else f"{name} with strides or padding")
    if (height, width) != (3, 3):
        return _Fit(name)
    if strides != (2, 2) or channels != 3:
        reason = f"{channels} channels and strides of {strides[0]} (only 3 and 2 will do)"
        return _Fit(f"{name} on {reason}")
    return _Fit("" if padding == (1, 1, 1, 1) else f"{name} {_told(padding)}", begins=True)


def _refusal_of_depthwise(graph: LiteRtGraph, one: Operation) -> str:
    size, strides, padding = _geometry(graph, one)
    name = f"a {size[0]}x{size[1]} depthwise convolution"
    if size not in ((3, 3), (5, 5)) or strides not in ((1, 1), (2, 2)):
        return f"{name} with strides of {strides[0]} and {strides[1]}"
    if _is_dilated(one) or one.options.depthMultiplier != 1:
        return f"{name} with dilation or a depth multiplier"
    return "" if padding == (size[0] // 2,) * 4 else f"{name} {_told(padding)}"


def _geometry(
    graph: LiteRtGraph, one: Operation
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, ...] | None]:
    """Kernel size, strides and padding, which is None where it is worked out from the image."""
    height, width = _kernel_size(graph, one)
    strides = (int(one.options.strideH), int(one.options.strideW))
    if one.options.padding != schema.Padding.SAME or (height, width) == (1, 1):
        return (height, width), strides, one.padding
    if strides != (1, 1) or _is_dilated(one):
        return (height, width), strides, None
    above, left = (height - 1) // 2, (width - 1) // 2
    return (height, width), strides, (above, height - 1 - above, left, width - 1 - left)


def _is_dilated(one: Operation) -> bool:
    return (int(one.options.dilationHFactor), int(one.options.dilationWFactor)) != (1, 1)


def _told(padding: tuple[int, ...] | None) -> str:
    if padding is None:
        return 'with strides and padding="same" (ZeroPadding2D and "valid" would do)'
    return "with other padding than half its size on each side"


class _Chains:
    """The chains of operations that are computed channels first.

    Attributes:
        refusals: Why an operation is in none, by its place.
    """

    def __init__(self, graph: LiteRtGraph, fits: Sequence[_Fit]):
        self._graph, self._fits = graph, fits
        self._producers = {
            number: index for index, one in enumerate(graph.operations) for number in one.outputs
        }
        self._chains = [{index} for index in range(len(fits))]
        self.refusals: dict[int, str] = {}
        self._join()
        self._refuse_shared()
        if not any(fit.ends and self._is_fed(index) for index, fit in enumerate(fits)):
            self.refusals = dict.fromkeys(range(len(fits)), _NO_MEAN) | self.refusals
        self._refuse_dense()

    def leaks(self) -> bool:
        """Whether an image leaves a chain that does not end there."""
        return any(
            not self._fits[index].ends
            and any(
                _is_image(self._graph.shape(number))
                and (number in self._graph.outputs or not self._stays(number))
                for number in one.outputs
            )
            for index, one in enumerate(self._graph.operations)
            if index not in self.refusals
        )

    def _join(self) -> None:
        for index, (one, fit) in enumerate(zip(self._graph.operations, self._fits, strict=True)):
            if fit.refusal:
                self.refusals[index] = fit.refusal
            for number in () if fit.refusal or fit.begins else one.inputs:
                producer = self._producers.get(number)
                if producer is None:
                    self.refusals.setdefault(index, "nothing before them turns images channels first")
                elif producer in self.refusals:
                    self.refusals.setdefault(index, self.refusals[producer])
                elif not self._fits[producer].passes:
                    before = NAMES[self._graph.operations[producer].code].lower()
                    self.refusals.setdefault(index, before)
                else:
                    self._unite(producer, index)
        self._spread()

    def _unite(self, one: int, other: int) -> None:
        chain = self._chains[one] | self._chains[other]
        for index in chain:
            self._chains[index] = chain

    def _spread(self) -> None:
        """What keeps one operation back keeps its whole chain back."""
        for index, reason in sorted(self.refusals.items()):
            for member in self._chains[index]:
                self.refusals.setdefault(member, reason)

    def _refuse_shared(self) -> None:
        """An image that is read channels first is read so by all that read it."""
        for index, (one, fit) in enumerate(zip(self._graph.operations, self._fits, strict=True)):
            for number in () if fit.begins or index in self.refusals else one.inputs:
                others = [reader for reader in self._readers(number) if not self._takes(reader)]
                if others:
                    name = NAMES[self._graph.operations[others[0]].code].lower()
                    self.refusals[index] = self.refusals.get(others[0], name)
        self._spread()

    def _refuse_dense(self) -> None:
        """Zeros have to pay, by XNNPACK's reckoning: over two thirds of a chain's weights."""
        for chain in {id(chain): chain for chain in self._chains}.values():
            counted = [
                self._graph.zeros(one.constants[1])
                for one in (self._graph.operations[index] for index in chain)
                if _is_pointwise(self._graph, one)
                or (one.code == Operator.FULLY_CONNECTED and 1 in one.constants)
            ]
            zeros, size = sum(zeros for zeros, _ in counted), sum(size for _, size in counted)
            if 3 * zeros <= 2 * size:
                reason = f"{zeros / max(size, 1):.0%} of their weights are zero, not over two thirds"
                self.refusals = dict.fromkeys(chain, reason) | self.refusals

    def _readers(self, number: int) -> list[int]:
        return [index for index, one in enumerate(self._graph.operations) if number in one.inputs]

    def _takes(self, index: int) -> bool:
        """Whether an operation takes its inputs channels first."""
        return index not in self.refusals and not self._fits[index].begins

    def _stays(self, number: int) -> bool:
        readers = self._readers(number)
        return bool(readers) and all(self._takes(reader) for reader in readers)

    def _is_fed(self, index: int) -> bool:
        producers = [self._producers.get(number) for number in self._graph.operations[index].inputs]
        return any(
            producer is not None and not self._fits[producer].refusal and self._fits[producer].passes
            for producer in producers
        )


def _is_image(shape: Sequence[int]) -> bool:
    return len(shape) == _IMAGE_AXES and shape[1] * shape[2] > 1
