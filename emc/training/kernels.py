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
def _activate(code: int, slope: float, A: Array, slopes: Array) -> None:
    """Turn pre-activations A: (b, h) into activations, and write the derivatives into slopes: (b, h)."""
    one = A.dtype.type(1)
    zero = A.dtype.type(0)
    a = A.dtype.type(slope)
    half = A.dtype.type(0.5)
    for i in range(A.shape[0]):
        if code == LEAKY:
            for j in range(A.shape[1]):
                z = A[i, j]
                below = not z > zero
                slopes[i, j] = a if below else one
                A[i, j] = z * a if z < zero else z
        elif code == TANH:
            for j in range(A.shape[1]):
                A[i, j] = np.tanh(A[i, j])
                slopes[i, j] = one - A[i, j] * A[i, j]
        elif code == SIGMOID:
            for j in range(A.shape[1]):
                A[i, j] = one / (one + np.exp(-A[i, j]))
                slopes[i, j] = A[i, j] * (one - A[i, j])
        elif code == SILU:
            for j in range(A.shape[1]):
                z = A[i, j]
                s = one / (one + np.exp(-z))
                A[i, j] = z * s
                slopes[i, j] = s * (one + z * (one - s))
        elif code == ELU:
            for j in range(A.shape[1]):
                z = A[i, j]
                A[i, j] = z if z > zero else a * np.expm1(z)
                slopes[i, j] = one if z > zero else A[i, j] + a
        elif code == GELU:
            for j in range(A.shape[1]):
                z = A[i, j]
                phi = half * (one + math.erf(z * A.dtype.type(0.7071067811865476)))
                A[i, j] = z * phi
                slopes[i, j] = phi + z * np.exp(-half * z * z) * A.dtype.type(0.3989422804014327)
        elif code == GELU_TANH:
            for j in range(A.shape[1]):
                z = A[i, j]
                scale, cube = A.dtype.type(0.7978845608028654), A.dtype.type(0.044715)
                t = np.tanh(scale * (z + cube * z * z * z))
                A[i, j] = half * z * (one + t)
                inner = scale * (one + A.dtype.type(3) * cube * z * z)
                slopes[i, j] = half * (one + t) + half * z * (one - t * t) * inner


@_compiled
def _forward(flat: Array, sizes: Ints, biased: Ints, codes: Ints, options: Array, acts: Array, slopes: Array) -> Array:
    """Logits (b, K); acts holds the inputs first and takes each layer's activations, one after the other."""
    rows = acts.shape[0] // sizes.sum()
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
            D = slopes[seen : seen + rows * fan_out].reshape(rows, fan_out)
            _activate(codes[layer], options[layer], B, D)
        A = B
    return A


@_compiled
def _differentiate(loss: int, logits: Array, y: Ints, out: Array) -> None:
    """The gradient of the mean loss by the logits, (b, K) into out."""
    rows, K = logits.shape
    share = logits.dtype.type(1.0 / rows)
    two = logits.dtype.type(2)
    for i in range(rows):
        if loss == CROSS_ENTROPY:
            top = logits[i, 0]
            for k in range(1, K):
                top = max(top, logits[i, k])
            total = logits.dtype.type(0)
            for k in range(K):
                out[i, k] = np.exp(logits[i, k] - top)
                total += out[i, k]
            scale = share / total
            for k in range(K):
                out[i, k] *= scale
            out[i, y[i]] -= share
        else:
            for k in range(K):
                out[i, k] = two * share * logits[i, k]
            out[i, y[i]] -= two * share


@_compiled
def _backward(
    flat: Array, sizes: Ints, biased: Ints, codes: Ints, acts: Array, slopes: Array, deltas: Array, gradient: Array
) -> None:
    """The gradient by the parameters, (P,); deltas: (2, b * largest layer) holds that by the logits first."""
    rows = acts.shape[0] // sizes.sum()
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
    acts = np.empty(b * sizes.sum(), flat.dtype)
    slopes = np.empty(b * sizes.sum(), flat.dtype)
    deltas = np.empty((2, b * sizes[1:].max()), flat.dtype)
    gradient = np.empty(len(flat), flat.dtype)
    X = acts[: b * sizes[0]].reshape(b, sizes[0])
    y = np.empty(b, np.int64)
    out = deltas[0, : b * sizes[-1]].reshape(b, sizes[-1])
    for step in range(steps):
        if step == 0 or not whole:
            for i in range(b):
                X[i] = store[rows[positions[step, i]]]
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
    right, total = 0, 0.0
    for start in range(0, n, chunk):
        b = min(chunk, n - start)
        acts = np.empty(b * sizes.sum(), flat.dtype)
        slopes = np.empty(b * sizes.sum(), flat.dtype)
        X = acts[: b * sizes[0]].reshape(b, sizes[0])
        for i in range(b):
            X[i] = store[rows[start + i]]
        logits = _forward(flat, sizes, biased, codes, options, acts, slopes)
        for i in range(b):
            y = labels[start + i]
            right += _is_right(logits[i], y)
            total += _sample_loss(loss, logits[i], y)
    return right, total


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
