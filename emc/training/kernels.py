"""The inner loop of dense nets on a CPU, compiled: many optimizer steps of one training in one call without Python.

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

from emc.optimizers.plan import UpdateKind
from emc.training.dense import Activation, Array, Ints

IDENTITY, LEAKY, GELU, GELU_TANH, SILU, ELU, TANH, SIGMOID = (int(code) for code in Activation)

#: The first loss by number; the other one is squared.
CROSS_ENTROPY = 0

_MOMENTUM = int(UpdateKind.MOMENTUM)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile at the first call and keep the machine code on disk, where there is a folder to keep it in."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return cast("_Function", numba.njit(cache=True, **options)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written: compile once a process
        return cast("_Function", numba.njit(**options)(function))


@_compiled
def _gather(store: Array, row: int, out: Array, i: int) -> None:
    """Copy a row of the store into row i; an assignment of slices takes three seconds to compile."""
    for k in range(out.shape[1]):
        out[i, k] = store[row, k]


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
            A[i] = A[i] * a if A[i] < zero else A[i]
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
def _forward(flat: Array, sizes: Ints, biased: Ints, codes: Ints, options: Array, acts: Array, slopes: Array) -> Array:
    """Logits (b, K); acts holds the inputs first and takes each layer's activations, one after the other."""
    rows = len(acts) // _widths(sizes)[0]
    weight, seen = 0, 0
    A = acts[: rows * sizes[0]].reshape(rows, sizes[0])
    for layer in range(len(codes)):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        W = flat[weight : weight + fan_out * fan_in].reshape(fan_out, fan_in)
        weight += fan_out * fan_in
        seen += rows * fan_in
        B = acts[seen : seen + rows * fan_out].reshape(rows, fan_out)
        np.dot(A, W.T, B)
        if biased[layer]:
            shift = flat[weight : weight + fan_out]
            for i in range(rows):
                for j in range(fan_out):
                    B[i, j] += shift[j]
            weight += fan_out
        if codes[layer] != IDENTITY:
            end = seen + rows * fan_out
            _activate(codes[layer], options[layer], acts[seen:end], slopes[seen:end])
        A = B
    return A


@_compiled
def _differentiate(loss: int, logits: Array, y: Ints, out: Array) -> None:
    """The gradient of the mean loss by the logits (b, K), into out: (b * K,)."""
    rows, K = logits.shape
    number = logits.dtype.type
    if loss != CROSS_ENTROPY:
        share = number(2.0 / rows)
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
        scale = number(1.0 / rows) / total
        for k in range(K):
            out[i * K + k] *= scale
        out[i * K + y[i]] -= number(1.0 / rows)


@_compiled
def _backward(
    flat: Array, sizes: Ints, biased: Ints, codes: Ints, acts: Array, slopes: Array, deltas: Array, gradient: Array
) -> None:
    """The gradient by the parameters, (P,); deltas: (2, b * largest layer) holds that by the logits first."""
    rows = len(acts) // _widths(sizes)[0]
    weight, seen, side = len(flat), len(acts) - rows * sizes[-1], 0
    for layer in range(len(codes) - 1, -1, -1):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        delta = deltas[side, : rows * fan_out].reshape(rows, fan_out)
        if codes[layer] != IDENTITY:
            D = slopes[seen : seen + rows * fan_out].reshape(rows, fan_out)
            for i in range(rows):
                for j in range(fan_out):
                    delta[i, j] *= D[i, j]
        if biased[layer]:
            weight -= fan_out
            shift = gradient[weight : weight + fan_out]
            shift[:] = 0
            for i in range(rows):
                for j in range(fan_out):
                    shift[j] += delta[i, j]
        weight -= fan_out * fan_in
        seen -= rows * fan_in
        A = acts[seen : seen + rows * fan_in].reshape(rows, fan_in)
        np.dot(delta.T, A, gradient[weight : weight + fan_out * fan_in].reshape(fan_out, fan_in))
        if layer > 0:
            side = 1 - side
            W = flat[weight : weight + fan_out * fan_in].reshape(fan_out, fan_in)
            np.dot(delta, W, deltas[side, : rows * fan_in].reshape(rows, fan_in))


@_compiled
def _update(kind: int, numbers: Array, lr: float, count: int, flat: Array, gradient: Array, state: Array) -> None:
    """The optimizer's step number `count`, from 1; see `emc.optimizers.plan.Update`."""
    number = flat.dtype.type
    if kind == _MOMENTUM:
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
    flat: Array,
    state: Array,
    done: int,
    sizes: Ints,
    biased: Ints,
    codes: Ints,
    options: Array,
    loss: int,
    kind: int,
    numbers: Array,
    lr: float,
) -> None:
    """Train one dense net for some steps, in place.

    Args:
        store: (rows, d) inputs.
        rows: (n,) where the samples are in the store.
        labels: (n,).
        positions: (steps, b) samples of each batch; (1, n) where it is the whole.
        whole: every batch is the whole, gathered once.
        steps: optimizer steps to do.
        flat: (P,) parameters: weight (out, in), then bias (out), layer by layer.
        state: (2, P) of the optimizer.
        done: steps before these.
        sizes: (L + 1,) units from the inputs to the logits.
        biased, codes, options: (L,) whether a layer has a bias; its activation and that one's option.
        loss, kind, numbers: the loss, the optimizer's `Update`.
        lr: learning rate of these steps.
    """
    b = positions.shape[1]
    total, largest = _widths(sizes)
    acts = np.empty(b * total, flat.dtype)
    slopes = np.empty(b * total, flat.dtype)
    deltas = np.empty((2, b * largest), flat.dtype)
    gradient = np.empty(len(flat), flat.dtype)
    X = acts[: b * sizes[0]].reshape(b, sizes[0])
    y = np.empty(b, np.int64)
    out = deltas[0, : b * sizes[-1]]
    for step in range(steps):
        if step == 0 or not whole:
            for i in range(b):
                _gather(store, rows[positions[step, i]], X, i)
                y[i] = labels[positions[step, i]]
        logits = _forward(flat, sizes, biased, codes, options, acts, slopes)
        _differentiate(loss, logits, y, out)
        _backward(flat, sizes, biased, codes, acts, slopes, deltas, gradient)
        _update(kind, numbers, lr, done + step + 1, flat, gradient, state)


@_compiled
def count(
    store: Array,
    rows: Ints,
    labels: Ints,
    chunk: int,
    flat: Array,
    sizes: Ints,
    biased: Ints,
    codes: Ints,
    options: Array,
    loss: int,
) -> tuple[int, float]:
    """Right answers, as `emc.training.counting.is_right` has it, and summed loss of all samples, `chunk` at a time."""
    n = len(rows)
    right, summed = 0, 0.0
    for start in range(0, n, chunk):
        b = min(chunk, n - start)
        acts = np.empty(b * _widths(sizes)[0], flat.dtype)
        slopes = np.empty(len(acts), flat.dtype)
        X = acts[: b * sizes[0]].reshape(b, sizes[0])
        for i in range(b):
            _gather(store, rows[start + i], X, i)
        logits = _forward(flat, sizes, biased, codes, options, acts, slopes)
        for i in range(b):
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
