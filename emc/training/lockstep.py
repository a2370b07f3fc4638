"""Many probes trained as stacked models."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from weakref import WeakKeyDictionary

import torch

from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Probe
from emc.training.checkpoints import Checkpoint, Checkpoints, State, resumed
from emc.training.evidence import conflict
from emc.training.failing import Outcome, check_device, failure, overdue, raised
from emc.training.memory import SHARE, free_memory, is_out_of_memory, member_bytes
from emc.training.run import ProbeRun
from emc.training.setup import Setup, Setups, all_setups, setup_of
from emc.training.stack import Stack, padded_size
from emc.training.waiting import Waiting


class LockstepTrainer:
    """Trains up to `limit` probes at once; those that can share a stack do, whatever measurement they belong to.

    A finished probe leaves its stack at once and the next one waiting enters, as far as memory is planned to last.
    Where it runs out all the same, the stack is split and its halves go on one after the other; a training that cannot
    be kept starts over: a probe is a function of its key, so nothing but time is lost. A stack that raises anything
    else is split until the member that raises is alone, so that no other fails with it.

    Args:
        setups: what trains; probes whose optimizer has no stacked rule are for another trainer.
        limit: probes under way at once, at most.
        checkpoints: where trainings are kept; None keeps none.
        timeout_s: seconds charged after which a training is broken off, between two ticks.
    """

    name = "lockstep"

    def __init__(
        self,
        setups: Setups,
        limit: int,
        checkpoints: Checkpoints | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._setups, self._checkpoints, self._timeout_s = setups, checkpoints, timeout_s
        self._files: WeakKeyDictionary[ProbeRun, Checkpoint] = WeakKeyDictionary()
        self._kept: WeakKeyDictionary[ProbeRun, State] = WeakKeyDictionary()  # of those that are yet to enter
        self._limit = self._most = limit
        self._waiting = Waiting()
        self._alone: set[Probe] = set()  # those that raised in company, with no telling which of them did
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
        self._alone.discard(probe)
        found = None
        for stack in self._stacks:
            for run in stack.runs:
                if run.probe == probe:
                    found = run.status()
                    if run in self._files:
                        self._files[run].discard()
            self._remove(stack, probe)
        self._stacks = [stack for stack in self._stacks if stack.runs]
        return found

    def _remove(self, stack: Stack, probe: Probe) -> None:
        try:
            stack.leave([i for i, run in enumerate(stack.runs) if run.probe == probe])
        except Exception:  # such as memory that ran out
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

    def save(self) -> None:
        """Keep the trainings under way; see `Executor.save`."""
        self._save(lambda _file, run: run.steps > 0)

    def _save(self, wanted: Callable[[Checkpoint, ProbeRun], bool]) -> None:
        for stack in self._stacks:
            for member, run in enumerate(stack.runs if stack.at_rest else []):
                file = self._files.get(run)
                if file is not None and run.stop is None and wanted(file, run):
                    file.save(partial(stack.state, member))

    def close(self) -> None:
        """Let go of all probes."""
        self._waiting.clear()
        self._alone.clear()
        self._stacks.clear()

    def advance(self) -> list[Outcome]:
        """Train every probe under way for one tick; the verdicts of those that ended, and the failures."""
        outcomes = self._fill()
        for stack in list(self._stacks):
            outcomes += self._advance(stack)
        outcomes += self._break_off()
        self._save(lambda file, run: file.due(counted=run.due))
        self._stacks = [stack for stack in self._stacks if stack.runs]
        if not self._stacks and not self._waiting:
            self._alone.clear()
        return outcomes

    def _advance(self, stack: Stack) -> list[Outcome]:
        if stack not in self._stacks:  # its members start over
            return []
        try:
            return stack.advance()
        except Exception as error:  # whatever a user's own module may raise
            return self._relieve(stack, error) if is_out_of_memory(error) else self._isolate(stack, error)

    def _break_off(self) -> list[Outcome]:
        """The failures of those that took too long."""
        if self._timeout_s is None:
            return []
        late = [(stack, run) for stack in self._stacks for run in stack.runs if run.seconds > self._timeout_s]
        for stack, run in late:
            self._remove(stack, run.probe)
        return [failure(run.probe, overdue(run.probe, run.seconds, self._timeout_s)) for _, run in late]

    def _isolate(self, stack: Stack, error: Exception) -> list[Outcome]:
        """A stack raised: its halves go on, or where nothing can, each of its members alone from the start."""
        if len(stack.runs) == 1:
            return [self._fail(stack, error)]
        check_device(error)
        self._stacks.remove(stack)
        if not stack.torn and self._split(stack):
            return [outcome for half in self._stacks[:2] for outcome in self._advance(half)]
        self._alone.update(run.probe for run in stack.runs)
        self._start_over(stack.runs)
        return []

    def _fail(self, stack: Stack, error: Exception) -> ProbeFailure:
        """The failure of a stack's only member."""
        probe = stack.runs[0].probe
        self._alone.discard(probe)
        stack.runs = []
        return raised(probe, error)

    @property
    def _under_way(self) -> int:
        return sum(len(stack.runs) for stack in self._stacks)

    def _fill(self) -> list[Outcome]:
        """Let waiting probes enter; those that no training can fit have their verdict at once."""
        outcomes: list[Outcome] = []
        entering: list[ProbeRun] = []
        if self._limit <= self._under_way or not self._waiting:
            return outcomes
        planned = sum(self._bytes_of(run.setup, run.n) for stack in self._stacks for run in stack.runs)
        while self._waiting and self._under_way + len(entering) < self._limit:
            probe = self._waiting.peek()
            try:
                needs = self._room_for(probe, planned)
                if needs is None:
                    break
                begun = self._begin(probe)
            except Exception as error:  # whatever a user's own model may raise
                if is_out_of_memory(error):
                    if self._under_way + len(entering) > 0:
                        self._limit = self._under_way + len(entering)
                        break
                    self._restore()
                self._waiting.remove(probe)
                outcomes.append(raised(probe, error))
                continue
            self._waiting.remove(probe)
            if isinstance(begun, ProbeRun):
                entering.append(begun)
                planned += needs
            else:
                outcomes.append(begun)
        return outcomes + self._enter(entering)

    def _room_for(self, probe: Probe, planned: int) -> int | None:
        """Bytes that a training is planned to take; None where it has to wait for them."""
        setup = setup_of(self._setups, probe)
        if not planned:
            self._free = int(SHARE * free_memory(setup.pool.device))
        needs = self._bytes_of(setup, probe.n)
        return None if planned and planned + needs > self._free else needs

    def _begin(self, probe: Probe) -> ProbeRun | ProbeResult:
        setup = setup_of(self._setups, probe)
        verdict = conflict(setup, probe)
        if verdict is not None:
            return verdict
        begun = resumed(partial(_Begun, setup, probe, self._checkpoints))
        if begun.file is not None:
            self._files[begun.run] = begun.file
        if begun.kept is not None:
            self._kept[begun.run] = begun.kept
        return begun.run

    def _bytes_of(self, setup: Setup, n: int) -> int:
        """Memory a training of n samples takes, at most."""
        size, rule, pool = padded_size(setup, n), setup.plan.rule, setup.pool
        key = setup.model_key, rule, pool.dtype, size
        if key not in self._needs:
            module = setup.make_model().to(pool.dtype)
            states = 0 if rule is None else len(rule.init(torch.empty(1, 1)))
            self._needs[key] = member_bytes(module, pool.dataset.facts.shape, size, states)
        return self._needs[key]

    def _enter(self, runs: list[ProbeRun]) -> list[Outcome]:
        """Let runs enter a stack that suits each, all those of one stack at once; the failures."""
        failures: list[Outcome] = []
        apart = False  # one by one, once several raised together
        while runs:
            entering = runs[:1]
            try:
                stack = self._stack_for(runs[0])
                if not apart:
                    entering += [run for run in runs[1:] if self._suits(stack, run)]
                    entering = entering[: self._width - len(stack.runs)]
                stack.enter(entering, self._kept)
            except Exception as error:  # whatever a user's own model may raise
                if is_out_of_memory(error):
                    return failures + self._turn_away(runs, error)
                apart = True
                if len(entering) > 1:
                    continue
                self._alone.discard(runs[0].probe)
                failures.append(raised(runs[0].probe, error))
            for run in entering:
                self._kept.pop(run, None)
            runs = [run for run in runs if run not in entering]
        self._stacks = [stack for stack in self._stacks if stack.runs]
        return failures

    def _stack_for(self, run: ProbeRun) -> Stack:
        for stack in self._stacks:
            if len(stack.runs) < self._width and self._suits(stack, run):
                return stack
        self._stacks.append(Stack(run.setup, padded_size(run.setup, run.n)))
        return self._stacks[-1]

    def _suits(self, stack: Stack, run: ProbeRun) -> bool:
        """Whether a run can enter a stack."""
        alone = self._alone and any(each.probe in self._alone for each in (run, *stack.runs))
        return not alone and stack.suits(run)

    def _turn_away(self, runs: list[ProbeRun], error: Exception) -> list[Outcome]:
        """Out of memory while runs were to enter: fewer at once from here on, in their order; one alone fails."""
        self._stacks = [stack for stack in self._stacks if stack.runs]
        _empty_cache()
        if self._under_way + len(runs) == 1:
            self._restore()
            return [raised(runs[0].probe, error)]
        self._limit = max(1, self._under_way, (self._under_way + len(runs)) // 2)
        self._start_over(runs)
        return []

    def _restore(self) -> None:
        """Plan as at first, once the training that was too large is gone."""
        self._limit = self._width = self._most

    def _relieve(self, stack: Stack, error: Exception) -> list[Outcome]:
        """Out of memory in a stack: its halves go on, or, where it has one member, fewer at once from here on."""
        total, size = self._under_way, len(stack.runs)
        if total == 1:
            self._restore()
            return [self._fail(stack, error)]
        self._limit = min(self._limit, total) if size > 1 else max(1, total // 2)
        self._width = min(self._width, max(1, (size + 1) // 2))
        self._stacks.remove(stack)
        if stack.torn:
            self._start_over(stack.runs)
        elif size == 1:
            self._stacks.insert(0, stack)
        elif not self._split(stack):
            self._start_over(stack.runs)
        while self._under_way > self._limit:
            self._start_over(self._stacks.pop().runs)
        _empty_cache()
        return []

    def _split(self, stack: Stack) -> bool:
        """Put a stack's halves first; whether they could be made."""
        try:
            self._stacks[:0] = stack.halves()
        except Exception:  # such as memory that ran out
            return False
        return True

    def _start_over(self, runs: list[ProbeRun]) -> None:
        self._waiting.put_back(run.probe for run in runs)


class _Begun:
    """A training that is yet to enter a stack, at its start or where it was kept."""

    def __init__(self, setup: Setup, probe: Probe, checkpoints: Checkpoints | None) -> None:
        self.run = ProbeRun(setup, probe)
        self.file = None if checkpoints is None else checkpoints.of(self.run, LockstepTrainer.name)
        self.kept: State | None = None

    def load_state(self, state: State) -> None:
        self.run.load_state(state["run"])
        self.kept = {name: state[name] for name in ("flat", "optimizer")}


def _empty_cache() -> None:
    """Give back what PyTorch keeps, so that it can be had in other sizes."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
