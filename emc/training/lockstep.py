"""Many probes trained as stacked models."""

from __future__ import annotations

from collections.abc import Hashable

import torch

from emc.results import ProbeResult, RunningProbe
from emc.specs import Probe
from emc.training.evidence import conflict
from emc.training.memory import SHARE, free_memory, is_out_of_memory, member_bytes
from emc.training.run import ProbeRun
from emc.training.setup import Setup, Setups, all_setups, setup_of
from emc.training.stack import Stack, padded_size
from emc.training.waiting import Waiting

#: What is said where nothing is left to split.
ALONE = "one training alone does not fit into memory"


class LockstepTrainer:
    """Trains up to `limit` probes at once; those that can share a stack do, whatever measurement they belong to.

    A finished probe leaves its stack at once and the next one waiting enters, as far as memory is planned to last.
    Where it runs out all the same, the stack is split and its halves go on one after the other; a training that cannot
    be kept starts over: a probe is a function of its key, so nothing but time is lost.

    Args:
        setups: what trains; probes whose optimizer has no stacked rule are for another trainer.
        limit: probes under way at once, at most.
    """

    name = "lockstep"

    def __init__(self, setups: Setups, limit: int) -> None:
        self._setups = setups
        self._limit = limit
        self._waiting = Waiting()
        self._stacks: list[Stack] = []
        self._width = limit  # members of a stack, at most
        self._free = 0  # bytes to plan with, as of when nothing was under way
        self._needs: dict[Hashable, int] = {}

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        if setup_of(self._setups, probe).plan.rule is None:
            raise RuntimeError("the optimizer has no stacked rule")
        if not any(run.probe == probe for stack in self._stacks for run in stack.runs):
            self._waiting.add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was, if it was under way."""
        self._waiting.remove(probe)
        found = None
        for stack in self._stacks:
            members = [run for run in stack.runs if run.probe == probe]
            found = members[0].status() if members else found
            self._remove(stack, probe)
        self._stacks = [stack for stack in self._stacks if stack.runs]
        return found

    def _remove(self, stack: Stack, probe: Probe) -> None:
        try:
            stack.leave([i for i, run in enumerate(stack.runs) if run.probe == probe])
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._start_over([run for run in stack.runs if run.probe != probe])
            stack.runs = []

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        return [run.status() for stack in self._stacks for run in stack.runs]

    def room(self) -> int:
        """Probes that could start now; on a CPU every member adds its work, so that only an idle one has room."""
        setups = all_setups(self._setups)
        limit = self._limit if all(setup.pool.device.type == "cuda" for setup in setups) else 1
        return max(0, limit - len(self._waiting) - sum(len(stack.runs) for stack in self._stacks))

    def wants(self) -> int:
        """As many as may be under way, and as many that wait, so that finished ones are replaced at once."""
        return max(0, 2 * self._limit - self._under_way - len(self._waiting))

    def close(self) -> None:
        """Let go of all probes."""
        self._waiting.clear()
        self._stacks.clear()

    def advance(self) -> list[ProbeResult]:
        """Train every probe under way for one tick; the verdicts of those that ended."""
        results = self._fill()
        for stack in list(self._stacks):
            if stack not in self._stacks:  # its members start over
                continue
            try:
                results += stack.advance()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._relieve(stack)
        self._stacks = [stack for stack in self._stacks if stack.runs]
        return results

    @property
    def _under_way(self) -> int:
        return sum(len(stack.runs) for stack in self._stacks)

    def _fill(self) -> list[ProbeResult]:
        """Let waiting probes enter; those that no training can fit have their verdict at once."""
        known: list[ProbeResult] = []
        entering: list[ProbeRun] = []
        room = self._limit - self._under_way
        if room <= 0 or not self._waiting:
            return known
        planned = sum(self._bytes_of(run.setup, run.n) for stack in self._stacks for run in stack.runs)
        while self._waiting and room > 0:
            probe = self._waiting.peek()
            setup = setup_of(self._setups, probe)
            if not planned:
                self._free = int(SHARE * free_memory(setup.pool.device))
            needs = self._bytes_of(setup, probe.n)
            if planned and planned + needs > self._free:
                break
            self._waiting.take()
            verdict = conflict(setup, probe)
            if verdict is not None:
                known.append(verdict)
                continue
            entering.append(ProbeRun(setup, probe))
            planned, room = planned + needs, room - 1
        self._enter(entering)
        return known

    def _bytes_of(self, setup: Setup, n: int) -> int:
        """Memory a training of n samples takes, at most."""
        size, rule, pool = padded_size(setup, n), setup.plan.rule, setup.pool
        key = setup.model_key, rule, pool.dtype, size
        if key not in self._needs:
            module = setup.make_model().to(pool.dtype)
            states = 0 if rule is None else len(rule.init(torch.empty(1, 1)))
            self._needs[key] = member_bytes(module, pool.dataset.facts.shape, size, states)
        return self._needs[key]

    def _enter(self, runs: list[ProbeRun]) -> None:
        """Let runs enter a stack that suits each, all those of one stack at once."""
        while runs:
            first = runs[0]
            try:
                stack = self._stack_for(first)
                suited = [run for run in runs if stack.suits(run)][: self._width - len(stack.runs)]
                stack.enter(suited)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._turn_away(runs)
                return
            runs = [run for run in runs if run not in suited]

    def _stack_for(self, run: ProbeRun) -> Stack:
        for stack in self._stacks:
            if len(stack.runs) < self._width and stack.suits(run):
                return stack
        self._stacks.append(Stack(run.setup, padded_size(run.setup, run.n)))
        return self._stacks[-1]

    def _turn_away(self, runs: list[ProbeRun]) -> None:
        """Out of memory while runs were to enter: fewer at once from here on, in their order."""
        self._stacks = [stack for stack in self._stacks if stack.runs]
        _empty_cache()
        self._limit = max(1, self._under_way, (self._under_way + len(runs)) // 2)
        if self._under_way + len(runs) == 1:
            raise torch.OutOfMemoryError(ALONE)
        self._start_over(runs)

    def _relieve(self, stack: Stack) -> None:
        """Out of memory in a stack: its halves go on, or, where it has one member, fewer at once from here on."""
        total, size = self._under_way, len(stack.runs)
        if total == 1:
            raise torch.OutOfMemoryError(ALONE)
        self._limit = min(self._limit, total) if size > 1 else max(1, total // 2)
        self._width = min(self._width, max(1, (size + 1) // 2))
        self._stacks.remove(stack)
        if stack.torn:
            self._start_over(stack.runs)
        elif size == 1:
            self._stacks.insert(0, stack)
        else:
            self._split(stack)
        while self._under_way > self._limit:
            self._start_over(self._stacks.pop().runs)
        _empty_cache()

    def _split(self, stack: Stack) -> None:
        try:
            self._stacks[:0] = stack.halves()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._start_over(stack.runs)

    def _start_over(self, runs: list[ProbeRun]) -> None:
        self._waiting.put_back(run.probe for run in runs)


def _empty_cache() -> None:
    """Give back what PyTorch keeps, so that it can be had in other sizes."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
