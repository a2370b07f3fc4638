"""The inner loop of chains of layers on a CPU, compiled: many optimizer steps of one training in one call.

One call trains one member, so its numbers do not depend on who else trains, and it lets go of the interpreter, so that
several threads train at once. Products are BLAS's (through `np.dot`); everything between them is loops that LLVM
vectorises. All kernels live in this file: numba's cache on disk sees changes of the file that holds a kernel only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from emc.training.chain import Array, Form, Ints

#: The numbers of `Layer`, `Activation` and `UpdateKind`, written out: machine code is kept as long as this file stays.
LINEAR, CONVOLUTION, MAX_POOL, MEAN_POOL = range(4)
IDENTITY, LEAKY, GELU, GELU_TANH, SILU, ELU, TANH, SIGMOID = range(8)
MOMENTUM = 0

#: The first loss by number; the other one is squared.
CROSS_ENTROPY = 0


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compile(function: _Function, fastmath: set[str]) -> _Function:
    """Compile at the first call and keep the machine code on disk, where there is a folder to keep it in."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return cast("_Function", numba.njit(cache=True, **options)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written: compile once a process
        return cast("_Function", numba.njit(**options)(function))


def _compiled(function: _Function) -> _Function:
    return _compile(function, {"contract"})


def _accumulating(function: _Function) -> _Function:
    """Sums in the order that vectors make, the same one at each call."""
    return _compile(function, {"contract", "reassoc"})


@_compiled
def _copy(source: Array, out: Array) -> None:
    """Copy numbers; an assignment of slices takes three seconds to compile.

    Of an index that is a sum LLVM cannot tell that it is positive, and makes no vectors: so here, and in all inner
    loops, arrays are sliced first.
    """
    for p in range(len(out)):
        out[p] = source[p]


@_compiled
def _widths(sizes: Ints) -> tuple[int, int]:
    """Units of all layers with the inputs, and of the largest layer without them."""
    total, largest = sizes[0], 0
    for size in sizes[1:]:
        total += size
        largest = max(largest, size)
    return total, largest


def _bitcast(typing: Any, bits: Any) -> Any:  # noqa: ARG001 - numba's form
    """The float32 whose bits an int32 holds."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


_float_of_bits: Any = intrinsic(_bitcast)


def exp(x: float) -> float:
    """e ** x: the library's in float64; in float32 a polynomial, which vectors can do, right to 2.4e-7.

    References:
        Moshier 1989, Methods and Programs for Mathematical Functions (Cephes, expf).
    """
    return math.exp(x)


def tanh(x: float) -> float:
    """Hyperbolic tangent, as `exp` has it (Cephes, tanhf)."""
    return math.tanh(x)


def normal(x: float) -> float:
    """The standard normal distribution function, as `exp` has it, in float32 right to 4e-6 above -5.

    References:
        Press et al. 1992, Numerical Recipes in C, section 6.2 (erfcc, relative error below 1.2e-7).
    """
    return 0.5 * math.erfc(-x * 0.7071067811865476)


@overload(exp)
def _exp(x: Any) -> Callable[[Any], Any]:
    def exp64(x: Any) -> Any:
        return math.exp(x)

    def exp32(x: Any) -> Any:
        number = np.float32
        held = min(max(x, number(-87.3)), number(88.7))
        power = np.floor(held * number(1.44269504088896341) + number(0.5))
        r = held - power * number(0.693359375) - power * number(-2.12194440e-4)
        p = number(1.9875691500e-4)
        p = p * r + number(1.3981999507e-3)
        p = p * r + number(8.3334519073e-3)
        p = p * r + number(4.1665795894e-2)
        p = p * r + number(1.6666665459e-1)
        p = p * r + number(5.0000001201e-1)
        value = (p * r * r + r + number(1)) * _float_of_bits((np.int32(power) + np.int32(127)) << np.int32(23))
        value = number(0) if x < number(-87.3) else value
        value = number(np.inf) if x > number(88.7) else value
        return value if not np.isnan(x) else x

    return exp32 if x == types.float32 else exp64


@overload(tanh)
def _tanh(x: Any) -> Callable[[Any], Any]:
    def tanh64(x: Any) -> Any:
        return math.tanh(x)

    def tanh32(x: Any) -> Any:
        number = np.float32
        size = abs(x)
        large = number(1) - number(2) / (exp(size + size) + number(1))
        s = x * x
        p = number(-5.70498872745e-3)
        p = p * s + number(2.06390887954e-2)
        p = p * s + number(-5.37397155531e-2)
        p = p * s + number(1.33314422036e-1)
        p = p * s + number(-3.33332819422e-1)
        return p * s * x + x if size < number(0.625) else (large if x > number(0) else -large)

    return tanh32 if x == types.float32 else tanh64


@overload(normal)
def _normal(x: Any) -> Callable[[Any], Any]:
    def normal64(x: Any) -> Any:
        return 0.5 * math.erfc(-x * 0.7071067811865476)

    def normal32(x: Any) -> Any:
        number = np.float32
        size = abs(x) * number(0.7071067811865476)
        t = number(1) / (number(1) + number(0.5) * size)
        p = number(0.17087277)
        p = p * t + number(-0.82215223)
        p = p * t + number(1.48851587)
        p = p * t + number(-1.13520398)
        p = p * t + number(0.27886807)
        p = p * t + number(-0.18628806)
        p = p * t + number(0.09678418)
        p = p * t + number(0.37409196)
        p = p * t + number(1.00002368)
        tail = number(0.5) * t * exp(p * t - size * size - number(1.26551223))
        return number(1) - tail if x > number(0) else tail

    return normal32 if x == types.float32 else normal64


@_compiled
def _activate(code: int, option: float, A: Array, slopes: Array) -> None:
    """Turn pre-activations A: (b * h,) into activations, and write the derivatives into slopes: (b * h,)."""
    number = A.dtype.type
    zero, half, one = number(0), number(0.5), number(1)
    a = number(option)
    if code == LEAKY:
        for i in range(len(A)):
            slopes[i] = one if A[i] > zero else a
            below = A[i] * a if a != zero else zero
            A[i] = below if A[i] < zero else A[i]
    elif code == TANH:
        for i in range(len(A)):
            A[i] = tanh(A[i])
            slopes[i] = one - A[i] * A[i]
    elif code == GELU:
        peak = number(0.3989422804014327)
        for i in range(len(A)):
            z, share = A[i], normal(A[i])
            A[i] = z * share
            slopes[i] = share + z * peak * exp(-half * z * z)
    elif code == GELU_TANH:
        scale, cube = number(0.7978845608028654), number(0.044715)
        for i in range(len(A)):
            z = A[i]
            t = tanh(scale * (z + cube * z * z * z))
            A[i] = half * z * (one + t)
            slopes[i] = half * (one + t + z * (one - t * t) * scale * (one + number(3) * cube * z * z))
    elif code == ELU:
        for i in range(len(A)):
            z = A[i]
            t = tanh(half * min(z, zero))
            below = a * (t + t) / (one - t)  # a * expm1(z)
            A[i] = z if z > zero else below
            slopes[i] = one if z > zero else below + a
    elif code == SILU:
        for i in range(len(A)):
            z = A[i]
            s = one / (one + exp(-z))
            A[i] = z * s
            slopes[i] = s * (one + z * (one - s))
    elif code == SIGMOID:
        for i in range(len(A)):
            A[i] = one / (one + exp(-A[i]))
            slopes[i] = A[i] * (one - A[i])


@_compiled
def _padded(channels: int, height: int, width: int) -> int:
    """Numbers of an image with a border of one, and what a row of three reaches beyond it."""
    return channels * (height + 2) * (width + 2) + 2


@_compiled
def _scratch(kinds: Ints, shapes: Ints) -> tuple[int, int]:
    """The largest padded image before and behind a convolution."""
    before, behind = 1, 1
    for layer in range(len(kinds)):
        if kinds[layer] == CONVOLUTION:
            before = max(before, _padded(shapes[layer, 0], shapes[layer, 1], shapes[layer, 2]))
            behind = max(behind, _padded(shapes[layer + 1, 0], shapes[layer, 1], shapes[layer, 2]))
    return before, behind


@_compiled
def _pad(image: Array, channels: int, height: int, width: int, out: Array) -> None:
    """Images (C * H * W,) with a border of zeros, into out: (C * (H + 2) * (W + 2),)."""
    side = width + 2
    for p in range(_padded(channels, height, width)):
        out[p] = 0
    for c in range(channels):
        for y in range(height):
            start, into = (c * height + y) * width, (c * (height + 2) + y + 1) * side + 1
            _copy(image[start : start + width], out[into : into + width])


@_compiled
def _correlate(padded: Array, side: int, w: Array, out: Array) -> None:
    """Add a padded image's correlation with a 3x3 kernel to out, whose rows have the padded image's length."""
    top, middle, bottom = padded, padded[side:], padded[2 * side :]
    a, b, c, d, e, f, g, h, i = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    for p in range(len(out)):
        out[p] += (
            (a * top[p] + b * top[p + 1] + c * top[p + 2])
            + (d * middle[p] + e * middle[p + 1] + f * middle[p + 2])
            + (g * bottom[p] + h * bottom[p + 1] + i * bottom[p + 2])
        )


@_compiled
def _correlate_all(
    padded: Array,
    num_in: int,
    num_out: int,
    H: int,
    W: int,
    weights: Array,
    strides: tuple[int, int],
    shift: Array,
    out: Array,
    sums: Array,
) -> None:
    """Sums of correlations of padded images, into out: (num_out * H * W,).

    The kernel from input c to output o lies at `strides[0] * o + strides[1] * c` of weights; shift may be empty.
    """
    side, size = W + 2, (H + 2) * (W + 2)
    held = sums[: H * side]
    for o in range(num_out):
        for p in range(len(held)):
            held[p] = shift[o] if len(shift) else 0
        for c in range(num_in):
            at = strides[0] * o + strides[1] * c
            _correlate(padded[c * size : (c + 1) * size + 2], side, weights[at : at + 9], held)
        for y in range(H):
            into = (o * H + y) * W
            _copy(held[y * side : y * side + W], out[into : into + W])


@_compiled
def _convolve(
    A: Array, rows: int, shapes: Ints, layer: int, weights: Array, shift: Array, B: Array, padded: Array, sums: Array
) -> None:
    """3x3 convolution of stride and padding 1: A (rows * C * H * W,) into B (rows * O * H * W,); shift may be empty."""
    C, H, W, O = shapes[layer, 0], shapes[layer, 1], shapes[layer, 2], shapes[layer + 1, 0]  # noqa: E741
    for i in range(rows):
        _pad(A[i * C * H * W : (i + 1) * C * H * W], C, H, W, padded)
        out = B[i * O * H * W : (i + 1) * O * H * W]
        _correlate_all(padded, C, O, H, W, weights, (9 * C, 9), shift, out, sums)


@_compiled
def _pool_max(A: Array, planes: int, shapes: Ints, layer: int, B: Array, places: Array) -> None:
    """2x2 maxima; places takes which of the four was the first largest one. A number that is none is the largest."""
    H, W, h, w = shapes[layer, 1], shapes[layer, 2], shapes[layer + 1, 1], shapes[layer + 1, 2]
    zero, one, two = A.dtype.type(0), A.dtype.type(1), A.dtype.type(2)
    high, row = np.empty(W, A.dtype), np.empty(W, A.dtype)
    for plane in range(planes):
        for y in range(h):
            at, into = (plane * H + 2 * y) * W, (plane * h + y) * w
            top, bottom = A[at : at + W], A[at + W : at + 2 * W]
            largest, where = B[into : into + w], places[into : into + w]
            for x in range(W):
                below = (bottom[x] > top[x]) | (bottom[x] != bottom[x])
                high[x] = bottom[x] if below else top[x]
                row[x] = two if below else zero
            for x in range(w):
                left, right = high[2 * x], high[2 * x + 1]
                earlier = (right == left) & (row[2 * x + 1] < row[2 * x])
                beside = (right > left) | (right != right) | earlier
                largest[x] = right if beside else left
                where[x] = row[2 * x + 1] + one if beside else row[2 * x]


@_compiled
def _pool_mean(A: Array, planes: int, shapes: Ints, layer: int, B: Array, back: bool) -> None:
    """Means over windows as `nn.AdaptiveAvgPool2d` cuts them, A into B; `back` spreads B's gradient over A's."""
    H, W, h, w = shapes[layer, 1], shapes[layer, 2], shapes[layer + 1, 1], shapes[layer + 1, 2]
    for plane in range(planes):
        for y in range(h):
            top, bottom = y * H // h, -(-(y + 1) * H // h)
            for x in range(w):
                left, right = x * W // w, -(-(x + 1) * W // w)
                share = A.dtype.type(1.0 / ((bottom - top) * (right - left)))
                into = (plane * h + y) * w + x
                total = A.dtype.type(0)
                for r in range(top, bottom):
                    for c in range(left, right):
                        if back:
                            A[(plane * H + r) * W + c] += share * B[into]
                        else:
                            total += A[(plane * H + r) * W + c]
                if not back:
                    B[into] = total * share


@_compiled
def _forward(flat: Array, form: Form, acts: Array, slopes: Array, padded: Array, sums: Array) -> Array:
    """Logits (b, K); acts holds the inputs first and takes each layer's activations, one after the other."""
    kinds, shapes, sizes, biased, codes, options = form
    rows = len(acts) // _widths(sizes)[0]
    weight, seen = 0, 0
    for layer in range(len(kinds)):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        A = acts[seen : seen + rows * fan_in]
        seen += rows * fan_in
        B, D = acts[seen : seen + rows * fan_out], slopes[seen : seen + rows * fan_out]
        if kinds[layer] == MAX_POOL:
            _pool_max(A, rows * shapes[layer, 0], shapes, layer, B, D)
            continue
        if kinds[layer] == MEAN_POOL:
            _pool_mean(A, rows * shapes[layer, 0], shapes, layer, B, False)
            continue
        num_weights, num_shifts = _num_parameters(kinds, shapes, biased, layer)
        shift = flat[weight + num_weights : weight + num_weights + num_shifts]
        if kinds[layer] == LINEAR:
            Z = B.reshape(rows, fan_out)
            np.dot(A.reshape(rows, fan_in), flat[weight : weight + num_weights].reshape(fan_out, fan_in).T, Z)
            if num_shifts:
                for i in range(rows):
                    for j in range(fan_out):
                        Z[i, j] += shift[j]
        else:
            _convolve(A, rows, shapes, layer, flat[weight : weight + num_weights], shift, B, padded, sums)
        weight += num_weights + num_shifts
        if codes[layer] != IDENTITY:
            _activate(codes[layer], options[layer], B, D)
    return acts[seen:].reshape(rows, sizes[-1])


@_compiled
def _num_parameters(kinds: Ints, shapes: Ints, biased: Ints, layer: int) -> tuple[int, int]:
    """Of a layer: weights and biases."""
    outputs = shapes[layer + 1, 0]
    if kinds[layer] == LINEAR:
        return outputs * shapes[layer, 0] * shapes[layer, 1] * shapes[layer, 2], outputs * biased[layer]
    if kinds[layer] == CONVOLUTION:
        return outputs * shapes[layer, 0] * 9, outputs * biased[layer]
    return 0, 0


@_compiled
def _differentiate(loss: int, logits: Array, y: Ints, batch_size: int, out: Array) -> None:
    """The gradient of a batch's mean loss by some of its logits (b, K), into out: (b * K,)."""
    rows, K = logits.shape
    number = logits.dtype.type
    if loss != CROSS_ENTROPY:
        share = number(2.0 / batch_size)
        for i in range(rows):
            for k in range(K):
                out[i * K + k] = share * (logits[i, k] - number(k == y[i]))
        return
    for i in range(rows):
        top = logits[i, 0]
        for k in range(1, K):
            top = max(top, logits[i, k])
        for k in range(K):
            out[i * K + k] = logits[i, k] - top
    for i in range(len(out)):
        out[i] = exp(out[i])
    for i in range(rows):
        total = number(0)
        for k in range(K):
            total += out[i * K + k]
        scale = number(1.0 / batch_size) / total
        for k in range(K):
            out[i * K + k] *= scale
        out[i * K + y[i]] -= number(1.0 / batch_size)


@_accumulating
def _weigh(padded: Array, side: int, delta: Array, length: int, g: Array) -> None:
    """Add to g: (9,) the gradient by a 3x3 kernel, from the padded input and the padded gradient by the output."""
    inner = delta[side + 1 :]
    for row in range(3):  # three sums at a time fit the registers
        values = padded[row * side :]
        a, b, c = padded.dtype.type(0), padded.dtype.type(0), padded.dtype.type(0)
        for p in range(length):
            a += inner[p] * values[p]
            b += inner[p] * values[p + 1]
            c += inner[p] * values[p + 2]
        g[3 * row] += a
        g[3 * row + 1] += b
        g[3 * row + 2] += c


@_accumulating
def _sum(x: Array) -> Any:
    total = x.dtype.type(0)
    for p in range(len(x)):
        total += x[p]
    return total


@_compiled
def _convolve_back(
    A: Array,
    rows: int,
    shapes: Ints,
    layer: int,
    weights: Array,
    delta: Array,
    before: Array,
    g: Array,
    shift: Array,
    padded: Array,
    sums: Array,
) -> None:
    """Gradients of `_convolve`: by the weights and biases into g and shift, by A into before, unless that is empty."""
    C, H, W, O = shapes[layer, 0], shapes[layer, 1], shapes[layer, 2], shapes[layer + 1, 0]  # noqa: E741
    side, size = W + 2, (H + 2) * (W + 2)
    behind, flipped = sums[H * side :], np.empty(len(weights), A.dtype)
    for start in range(0, len(weights), 9):
        for k in range(9):
            flipped[start + k] = weights[start + 8 - k]
    for k in range(len(g)):
        g[k] = 0
    for o in range(len(shift)):
        shift[o] = 0
    for i in range(rows):
        _pad(A[i * C * H * W : (i + 1) * C * H * W], C, H, W, padded)
        _pad(delta[i * O * H * W : (i + 1) * O * H * W], O, H, W, behind)
        for o in range(O):
            D = behind[o * size : (o + 1) * size + 2]
            if len(shift):
                shift[o] += _sum(D[:size])
            for c in range(C):
                _weigh(
                    padded[c * size : (c + 1) * size + 2], side, D, H * side, g[(o * C + c) * 9 : (o * C + c + 1) * 9]
                )
        if len(before):
            out = before[i * C * H * W : (i + 1) * C * H * W]
            _correlate_all(behind, O, C, H, W, flipped, (9, 9 * C), shift[:0], out, sums)


@_compiled
def _pool_back(kind: int, planes: int, shapes: Ints, layer: int, delta: Array, places: Array, before: Array) -> None:
    """The gradient by a pooling's inputs, into before."""
    zero = before.dtype.type(0)
    for p in range(len(before)):
        before[p] = zero
    if kind == MEAN_POOL:
        _pool_mean(before, planes, shapes, layer, delta, True)
        return
    H, W, h, w = shapes[layer, 1], shapes[layer, 2], shapes[layer + 1, 1], shapes[layer + 1, 2]
    for plane in range(planes):
        for y in range(h):
            at, into = (plane * h + y) * w, (plane * H + 2 * y) * W
            where, gradient = places[at : at + w], delta[at : at + w]
            top, bottom = before[into : into + W], before[into + W : into + 2 * W]
            for x in range(w):
                top[2 * x] = gradient[x] if where[x] == 0 else zero
                top[2 * x + 1] = gradient[x] if where[x] == 1 else zero
                bottom[2 * x] = gradient[x] if where[x] == 2 else zero
                bottom[2 * x + 1] = gradient[x] if where[x] == 3 else zero


@_compiled
def _backward(
    flat: Array, form: Form, acts: Array, slopes: Array, deltas: Array, gradient: Array, padded: Array, sums: Array
) -> None:
    """The gradient by the parameters, (P,); deltas: (2, b * largest layer) holds that by the logits first."""
    kinds, shapes, sizes, biased, codes, _ = form
    rows = len(acts) // _widths(sizes)[0]
    weight, seen, side = len(flat), len(acts), 0
    for layer in range(len(kinds) - 1, -1, -1):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        seen -= rows * fan_out
        delta, D = deltas[side, : rows * fan_out], slopes[seen : seen + rows * fan_out]
        side = 1 - side
        before = deltas[side, : rows * fan_in if layer > 0 else 0]
        A = acts[seen - rows * fan_in : seen]
        if kinds[layer] == MAX_POOL or kinds[layer] == MEAN_POOL:
            if layer == 0:
                break
            _pool_back(kinds[layer], rows * shapes[layer, 0], shapes, layer, delta, D, before)
            continue
        if codes[layer] != IDENTITY:
            for p in range(len(delta)):
                delta[p] *= D[p]
        num_weights, num_shifts = _num_parameters(kinds, shapes, biased, layer)
        weight -= num_weights + num_shifts
        w, g = flat[weight : weight + num_weights], gradient[weight : weight + num_weights]
        shift = gradient[weight + num_weights : weight + num_weights + num_shifts]
        if kinds[layer] == CONVOLUTION:
            _convolve_back(A, rows, shapes, layer, w, delta, before, g, shift, padded, sums)
            continue
        E = delta.reshape(rows, fan_out)
        if num_shifts:
            for j in range(fan_out):
                shift[j] = 0
            for i in range(rows):
                for j in range(fan_out):
                    shift[j] += E[i, j]
        np.dot(E.T, A.reshape(rows, fan_in), g.reshape(fan_out, fan_in))
        if layer > 0:
            np.dot(E, w.reshape(fan_out, fan_in), before.reshape(rows, fan_in))


@_compiled
def _update(kind: int, numbers: Array, lr: float, count: int, flat: Array, gradient: Array, state: Array) -> None:
    """The optimizer's step number `count`, from 1; see `emc.optimizers.plan.Update`."""
    number = flat.dtype.type
    if kind == MOMENTUM:
        momentum, decay, rate = number(numbers[0]), number(numbers[1]), number(lr)
        for p in range(len(flat)):
            state[0, p] = momentum * state[0, p] + (gradient[p] + decay * flat[p])
            flat[p] -= rate * state[0, p]
    else:
        beta1, beta2, decoupled = numbers[0], numbers[1], numbers[4]
        eps = number(numbers[2])
        decay = number(0.0 if decoupled else numbers[3])
        keep = number(1.0 - lr * numbers[3] * decoupled)
        new1, new2, old2 = number(1.0 - beta1), number(1.0 - beta2), number(beta2)
        rate = number(lr / (1.0 - beta1**count))
        scale = number(1.0 / np.sqrt(1.0 - beta2**count))
        for p in range(len(flat)):
            w = flat[p] * keep
            g = gradient[p] + decay * flat[p]
            state[0, p] += new1 * (g - state[0, p])
            state[1, p] = old2 * state[1, p] + new2 * g * g
            flat[p] = w - rate * state[0, p] / (np.sqrt(state[1, p]) * scale + eps)


@_compiled
def train(
    store: Array,
    rows: Ints,
    labels: Ints,
    positions: Ints,
    whole: bool,
    steps: int,
    at_once: int,
    flat: Array,
    state: Array,
    done: int,
    form: Form,
    loss: int,
    kind: int,
    numbers: Array,
    lr: float,
) -> None:
    """Train one chain for some steps, in place.

    Args:
        store: (rows, d) inputs.
        rows: (n,) where the samples are in the store.
        labels: (n,).
        positions: (steps, b) samples of each batch; (1, n) where it is the whole.
        whole: every batch is the whole, gathered once where it goes through the layers at once.
        steps: optimizer steps to do.
        at_once: samples of a batch that go through the layers together.
        flat: (P,) parameters: weight, then bias, layer by layer, as `nn.Module.parameters` has them.
        state: (2, P) of the optimizer.
        done: steps before these.
        form: of the chain.
        loss, kind, numbers: the loss, the optimizer's `Update`.
        lr: learning rate of these steps.
    """
    kinds, shapes, sizes = form[0], form[1], form[2]
    b, K = positions.shape[1], sizes[-1]
    total, largest = _widths(sizes)
    before, behind = _scratch(kinds, shapes)
    padded, sums = np.empty(before, flat.dtype), np.empty(before + behind, flat.dtype)
    acts = np.empty(at_once * total, flat.dtype)
    slopes = np.empty(at_once * total, flat.dtype)
    deltas = np.empty((2, at_once * largest), flat.dtype)
    gradient, part = np.empty(len(flat), flat.dtype), np.empty(len(flat), flat.dtype)
    y = np.empty(at_once, np.int64)
    for step in range(steps):
        for start in range(0, b, at_once):
            held = min(at_once, b - start)
            if step == 0 or not whole or at_once < b:
                row = 0 if whole else step
                for i in range(held):
                    position = positions[row, start + i]
                    _copy(store[rows[position]], acts[i * sizes[0] : (i + 1) * sizes[0]])
                    y[i] = labels[position]
            logits = _forward(flat, form, acts[: held * total], slopes[: held * total], padded, sums)
            _differentiate(loss, logits, y, b, deltas[0, : held * K])
            into = gradient if start == 0 else part
            _backward(flat, form, acts[: held * total], slopes[: held * total], deltas, into, padded, sums)
            if start > 0:
                for p in range(len(flat)):
                    gradient[p] += part[p]
        _update(kind, numbers, lr, done + step + 1, flat, gradient, state)


@_compiled
def count(
    store: Array, rows: Ints, labels: Ints, at_once: int, flat: Array, form: Form, loss: int
) -> tuple[int, float]:
    """Right answers, as `emc.training.counting.is_right` has it, and summed loss of all samples."""
    kinds, shapes, sizes = form[0], form[1], form[2]
    n, total = len(rows), _widths(sizes)[0]
    before, behind = _scratch(kinds, shapes)
    padded, sums = np.empty(before, flat.dtype), np.empty(before + behind, flat.dtype)
    acts = np.empty(min(at_once, n) * total, flat.dtype)
    slopes = np.empty(len(acts), flat.dtype)
    right, summed = 0, 0.0
    for start in range(0, n, at_once):
        held = min(at_once, n - start)
        for i in range(held):
            _copy(store[rows[start + i]], acts[i * sizes[0] : (i + 1) * sizes[0]])
        logits = _forward(flat, form, acts[: held * total], slopes[: held * total], padded, sums)
        for i in range(held):
            y = labels[start + i]
            right += _is_right(logits[i], y)
            summed += _sample_loss(loss, logits[i], y)
    return right, summed


@_compiled
def _is_right(logits: Array, y: int) -> bool:
    own = logits[y]
    if not np.isfinite(own):
        return False
    for k in range(len(logits)):  # noqa: SIM110 - compiled
        if k != y and not own > logits[k]:
            return False
    return True


@_compiled
def _sample_loss(loss: int, logits: Array, y: int) -> float:
    if loss == CROSS_ENTROPY:
        top = logits[0]
        for k in range(1, len(logits)):
            top = max(top, logits[k])
        total = logits.dtype.type(0)
        for k in range(len(logits)):
            total += np.exp(logits[k] - top)
        return float(np.log(total) - (logits[y] - top))
    squares = logits.dtype.type(0)
    for k in range(len(logits)):
        gap = logits[k] - logits.dtype.type(k == y)
        squares += gap * gap
    return float(squares)
