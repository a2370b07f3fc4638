"""Chains of layers trained by compiled loops on several CPU threads, each probe by itself.

Stacking shares the cost of launching operations among members. A compiled loop has no such cost: one member's step
takes what its arithmetic takes, and its numbers do not depend on the other members.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from emc.results import ProbeResult, RunningProbe
from emc.specs import Probe
from emc.training.chain import Array, Chain, chain_of
from emc.training.checkpoints import Checkpoints, State, resumed
from emc.training.counting import CHUNK
from emc.training.evidence import conclude, conflict
from emc.training.failing import Outcome, check_time, raised
from emc.training.memory import is_out_of_memory
from emc.training.run import ProbeRun
from emc.training.setup import Setup, Setups, setup_of
from emc.training.waiting import Waiting

if TYPE_CHECKING:
    from torch import Tensor

#: The training losses in the order of the kernels' numbers.
LOSSES = ("cross_entropy", "squared")

#: Seconds a thread trains one probe before the next one waiting has its turn, and a call takes at most, but for one
#: step or an exact count.
SLICE_S = 0.05

#: Seconds a thread has to end its call when all are let go of; what it computes after that is for nobody.
CLOSE_S = 2.0

#: Seconds the caller waits for a verdict, if nothing else waits for the caller.
WAIT_S = 0.1


def kernel_obstacle(setup: Setup) -> str | None:
    """Why a procedure cannot be trained by compiled loops; None if it can."""
    if setup.pool.device.type != "cpu":
        return "compiled loops run on a CPU"
    procedure = setup.procedure
    if setup.plan.update is None:
        return "its optimizer has no compiled form"
    if procedure.augment is not None:
        return "its inputs are augmented"
    if procedure.clip_norm is not None:
        return "its gradients are clipped"
    if procedure.label_smoothing:
        return "its labels are smoothed"
    if _chain(setup) is None:
        return "its model is no chain of Linear, 3x3 Conv2d and pooling layers, each with at most one activation"
    return None


def kernel_pays(setup: Setup) -> bool:
    """Whether compiled loops, where there is no `kernel_obstacle`, are the fastest way to train a procedure."""
    chain = _chain(setup)
    return chain is not None and chain.pays


def _chain(setup: Setup) -> Chain | None:
    return chain_of(setup.make_model(), setup.pool.dataset.facts.shape)


class CompiledTrainer:
    """Trains probes on several threads, a thread a probe.

    The threads do nothing but optimizer steps and exact counts; models are made and failures examined by the caller's
    thread, so PyTorch's global generator is never shared. They start with the first probe and end with `close`.

    Args:
        setups: what trains; probes with a `kernel_obstacle` are for another trainer.
        workers: threads.
        limit: probes under way at once, at most.
        checkpoints: where trainings are kept; None keeps none.
        timeout_s: seconds charged after which a training is broken off, between two calls.

    Attributes:
        wait_s: seconds that `advance` waits for a verdict.
    """

    name = "compiled"

    def __init__(
        self,
        setups: Setups,
        workers: int,
        limit: int,
        checkpoints: Checkpoints | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._setups, self._checkpoints, self._timeout_s = setups, checkpoints, timeout_s
        self._workers = workers
        self._limit = min(limit, 2 * workers)  # others wait: the next ones are ready where a thread gets free
        self._waiting = Waiting()
        self._ahead: set[Probe] = set()
        self._large: dict[Probe, None] = {}  # ran out of memory beside others
        self._members: dict[Probe, Training] = {}
        self._queue = _Queue()
        self.wait_s = WAIT_S
        self._threads: list[threading.Thread] = []
        self._blas: threadpool_limits | None = None

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        member = self._members.get(probe)
        if not ahead:
            self._ahead.discard(probe)
        elif member is None:
            self._ahead.add(probe)
        if member is None and probe not in self._large:
            self._waiting.add(probe, ahead=ahead)
        elif member is not None and not ahead:
            self._queue.need(member)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was, if it was under way."""
        self._forget(probe)
        self._waiting.remove(probe)
        member = self._members.pop(probe, None)
        if member is None:
            return None
        self._queue.remove(member)
        if member.file is not None:
            member.file.discard()
        return member.run.status()

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        return [member.run.status() for member in self._members.values()]

    def room(self) -> int:
        """Threads that have nothing to do."""
        return max(0, self._workers - len(self._members) - len(self._waiting) - len(self._large))

    def wants(self) -> int:
        """As many as may be under way; see `Executor.wants`."""
        return max(0, self._limit - len(self._members) - len(self._waiting) - len(self._large))

    def advance(self) -> list[Outcome]:
        """Wait a moment for a training to stop; the verdicts and failures."""
        outcomes = self._fill()
        if not self._members:
            return outcomes
        stopped = self._queue.stopped(self.wait_s if not outcomes else 0.0)
        return outcomes if stopped is None else outcomes + self._conclude(stopped)

    def save(self) -> None:
        """Keep the trainings under way, but for one in a call that does not end soon; see `Executor.save`."""
        if self._checkpoints is None:
            return
        with self._queue.pause() as training:
            for member in self._members.values():
                if member not in training:
                    member.save()

    def close(self) -> None:
        """End the threads; what is under way is forgotten."""
        self._queue.close()
        for thread in self._threads:
            thread.join(CLOSE_S)
        if self._blas is not None:
            self._blas.restore_original_limits()
        self._members.clear()
        self._waiting.clear()
        self._large.clear()

    def _fill(self) -> list[Outcome]:
        """Let waiting probes start, needed ones first; those that nothing can fit have their verdict at once.

        One that ran out of memory beside others starts once it is alone, and nothing beside it.
        """
        outcomes: list[Outcome] = []
        while (self._waiting or self._large) and len(self._members) < (1 if self._large else self._limit):
            probe = next(iter(self._large)) if self._large else self._waiting.take()
            try:
                verdict = self._begin(probe)
            except Exception as error:  # whatever a user's own model may raise
                outcomes += self._fail(probe, error)
                continue
            if verdict is not None:
                self._forget(probe)
                outcomes.append(verdict)
            elif self._large:
                break
        if self._members and not self._threads:
            self._start()
        return outcomes

    def _begin(self, probe: Probe) -> ProbeResult | None:
        setup = setup_of(self._setups, probe)
        verdict = conflict(setup, probe)
        if verdict is None:
            make = partial(Training, setup, probe, self._checkpoints, self._timeout_s)
            member = self._members[probe] = resumed(make)
            self._queue.put(member, needed=probe not in self._ahead)
        return verdict

    def _fail(self, probe: Probe, error: Exception) -> list[Outcome]:
        """The failure of a probe; none where it ran out of memory beside others: then it starts over alone."""
        self._members.pop(probe, None)
        if is_out_of_memory(error) and probe not in self._large:
            self._large[probe] = None
            return []
        self._forget(probe)
        return [raised(probe, error)]

    def _forget(self, probe: Probe) -> None:
        self._ahead.discard(probe)
        self._large.pop(probe, None)

    def _start(self) -> None:
        self._blas = threadpool_limits(1, user_api="blas")  # its threads would compete with these
        for number in range(self._workers):
            thread = threading.Thread(target=self._queue.work, name=f"emc-compiled-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _conclude(self, member: Training) -> list[Outcome]:
        probe = member.run.probe
        if member.error is not None:
            return self._fail(probe, member.error)
        try:
            result = member.conclude()
        except Exception as error:  # whatever a user's own model may raise
            return self._fail(probe, error)
        if result is None:  # it left a saddle and goes on
            self._queue.put(member, needed=probe not in self._ahead)
            return []
        del self._members[probe]
        self._forget(probe)
        return [result]


class _Queue:
    """Members waiting for a thread, needed ones before those asked ahead, and members that stopped."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._needed: deque[Training] = deque()
        self._ahead: deque[Training] = deque()
        self._stopped: deque[Training] = deque()
        self._training: set[Training] = set()
        self._closed = self._paused = False

    def put(self, member: Training, *, needed: bool) -> None:
        with self._changed:
            member.needed = needed
            (self._needed if needed else self._ahead).append(member)
            self._changed.notify_all()

    def need(self, member: Training) -> None:
        """Move a member asked ahead to the needed ones."""
        with self._changed:
            member.needed = True
            if member in self._ahead:
                self._ahead.remove(member)
                self._needed.append(member)

    def remove(self, member: Training) -> None:
        with self._changed:
            member.dropped = True
            for members in (self._needed, self._ahead, self._stopped):
                if member in members:
                    members.remove(member)

    def stopped(self, timeout_s: float) -> Training | None:
        """A member that stopped, after at most some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, timeout_s)
            return self._stopped.popleft() if self._stopped else None

    @contextmanager
    def pause(self) -> Iterator[set[Training]]:
        """No thread begins a turn; those that train all the same, since their call did not end in time."""
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: not self._training, CLOSE_S)
            training = set(self._training)
        try:
            yield training
        finally:
            with self._changed:
                self._paused = False
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def work(self) -> None:
        """What each thread does: train the next member for a while, and the next, until closed."""
        while (member := self._take()) is not None:
            try:
                member.train(partial(self._is_over, member, time.perf_counter()))
            except Exception as error:  # told by the caller's thread
                member.error = error
            if member.dropped and member.file is not None:
                member.file.discard()  # it may have been saved while it was dropped
            self._give_back(member)

    def _take(self) -> Training | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (not self._paused and (self._needed or self._ahead)))
            if self._closed:
                return None
            member = self._needed.popleft() if self._needed else self._ahead.popleft()
            self._training.add(member)
            return member

    def _is_over(self, member: Training, since: float) -> bool:
        """Whether a member's turn is over."""
        if self._closed or self._paused or member.dropped:
            return True
        waiting = self._needed or (self._ahead and not member.needed)
        return bool(waiting) and time.perf_counter() - since > SLICE_S

    def _give_back(self, member: Training) -> None:
        with self._changed:
            self._training.discard(member)
            self._changed.notify_all()
            if member.dropped:
                return
            ended = member.error is not None or member.run.stop is not None
            (self._stopped if ended else self._needed if member.needed else self._ahead).append(member)


class Training:
    """One net in training, on any thread.

    Args:
        setup: what trains, without a `kernel_obstacle`.
        probe: what is trained.
        checkpoints: where trainings are kept; None keeps none.
        timeout_s: seconds charged after which it is broken off.

    Attributes:
        run: how far it is.
        file: where it is kept.
        needed: whether it was not asked ahead of need.
        dropped: whether nobody wants it any more.
        error: raised by its training; what it left is of no use.
    """

    def __init__(
        self,
        setup: Setup,
        probe: Probe,
        checkpoints: Checkpoints | None = None,
        timeout_s: float | None = None,
    ) -> None:
        chain, update = _chain(setup), setup.plan.update
        if chain is None or update is None:
            raise RuntimeError("the procedure has no compiled form")
        self.run = ProbeRun(setup, probe)
        self.file = None if checkpoints is None else checkpoints.of(self.run, CompiledTrainer.name)
        self._timeout_s = timeout_s
        self._at_rest = True
        self.needed, self.dropped = True, False
        self.error: Exception | None = None
        samples = setup.samples(probe)
        store, rows = samples.store(probe.n)
        self._samples = store.flatten(1).numpy(), rows.contiguous().numpy(), samples.labels(probe.n).numpy()
        self._flat: Array = _row(setup.fresh_model(probe)).numpy()
        self._state = np.zeros((2, len(self._flat)), self._flat.dtype)
        self._form, self._loss = chain.form, LOSSES.index(setup.procedure.loss)
        self._trained_at_once = chain.samples_at_once(self.run.batch_size)
        self._counted_at_once = chain.samples_at_once(CHUNK)
        self._update = int(update.kind), np.array(update.numbers)
        self._kernels = _kernels(self._flat.dtype)
        self._most_steps_a_call = self._steps_a_call = setup.procedure.check_steps

    def train(self, turn_is_over: Callable[[], bool]) -> None:
        """Optimizer steps and exact counts until the training stops or its turn is over, asked between short calls."""
        run, started = self.run, time.perf_counter()
        over = False
        while not over:
            self._steps(min(self._steps_a_call, run.check_every - run.steps % run.check_every, run.budget - run.steps))
            counted = run.due
            if counted:
                right, loss = self._kernels.count(
                    *self._samples, self._counted_at_once, self._flat, self._form, self._loss
                )
                run.count(int(right), loss / run.n)
            run.seconds += time.perf_counter() - started
            over = run.stop is not None or turn_is_over()
            if run.stop is None:
                self._look_after(counted)
            started = time.perf_counter()

    def _look_after(self, counted: bool) -> None:
        if self.file is not None and self.file.due(counted=counted):
            self.save()
        check_time(self.run.probe, self.run.seconds, self._timeout_s)

    def save(self) -> None:
        """Keep where it is, between two calls; one that ended or was interrupted while it was examined is not kept."""
        whole = self._at_rest and self.error is None and self.run.stop is None
        if self.file is not None and whole and self.run.steps > 0:
            self.file.save(self._kept)

    def _kept(self) -> State:
        flat, state = torch.from_numpy(self._flat), torch.from_numpy(self._state)
        return {"run": self.run.state(), "flat": flat, "optimizer": state}

    def load_state(self, state: State) -> None:
        """Go on from a state that `save` wrote."""
        self.run.load_state(state["run"])
        torch.from_numpy(self._flat).copy_(state["flat"])
        torch.from_numpy(self._state).copy_(state["optimizer"])

    def _steps(self, steps: int) -> None:
        run, started = self.run, time.perf_counter()
        whole = run.batch_size == run.n
        positions = np.arange(run.n)[None] if whole else run.batches.take(steps).numpy()
        lr = run.setup.plan.lr * run.multiplier
        batches = positions, whole, steps, self._trained_at_once
        net = self._flat, self._state, run.steps, self._form, self._loss
        self._kernels.train(*self._samples, *batches, *net, *self._update, lr)
        run.did(steps)
        affordable = SLICE_S * steps / (time.perf_counter() - started)  # where calls are cut changes no bit
        self._steps_a_call = max(1, min(self._most_steps_a_call, int(affordable)))

    def conclude(self) -> ProbeResult | None:
        """The verdict; None where it stays, its parameters moved off a saddle."""
        self._at_rest = False
        run = self.run
        started = time.perf_counter()
        module = run.setup.fresh_model(run.probe)
        nn.utils.vector_to_parameters(torch.from_numpy(self._flat), module.parameters())
        result = conclude(run.setup, run, module)
        if result is None:
            self._flat[:] = _row(module).numpy()
            run.seconds += time.perf_counter() - started
            self._at_rest = True
        return result


@cache
def _kernels(dtype: np.dtype[Any]) -> ModuleType:
    """The compiled functions, with machine code for a type of numbers at hand before the clock of any training runs.

    It is made once a machine, which may take half a minute, and read from disk after that.
    """
    from emc.training import kernels  # importing numba takes half a second

    chain = chain_of(nn.Sequential(nn.Linear(1, 1)), (1,))
    assert chain is not None
    one = np.zeros((1, 1), dtype), np.zeros(1, np.int64), np.zeros(1, np.int64)
    flat, state = np.zeros(2, dtype), np.zeros((2, 2), dtype)
    update = 0, np.zeros(2), 0.0
    kernels.train(*one, np.zeros((1, 1), np.int64), False, 0, 1, flat, state, 0, chain.form, 0, *update)
    kernels.count(*one, 1, flat, chain.form, 0)
    return kernels


def _row(module: nn.Module) -> Tensor:
    """A module's parameters in one row: (P,)."""
    return nn.utils.parameters_to_vector(module.parameters()).detach()
