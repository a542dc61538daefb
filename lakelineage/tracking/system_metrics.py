"""Metrics of the machine, sampled while a run is active, under MLflow's names.

One daemon thread samples for all runs of the process. It has nothing to do with training: what goes wrong in it is
logged once, and the run goes on. A forked child does not sample for the runs of its parent.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, RunFinished

if TYPE_CHECKING:
    from lakelineage.engine import Engine
    from lakelineage.tracking.active import ActiveRun

_log = logging.getLogger(__name__)

#: Variable that turns sampling on for every run: ``true``, ``false``, or seconds between samples.
VARIABLE = "LAKELINEAGE_SYSTEM_METRICS"
#: Seconds between samples: by default, and at least.
_DEFAULT, _SHORTEST = 10.0, 0.1
#: Seconds to the first sample of a run, so that a short one has some too.
_FIRST = 1.0
_MEGA = 1e6
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "": False}


def interval(wanted: bool | float | None) -> float | None:
    """Seconds between samples; None for no samples.

    Args:
        wanted: True for the default of 10 s, False for none, seconds, or None for what ``LAKELINEAGE_SYSTEM_METRICS``
            says.

    Raises:
        InvalidInput: it is none of these.
    """
    told = "system_metrics"
    given: Any = wanted
    if given is None:
        text = os.environ.get(VARIABLE, "").strip().lower()
        told, given = VARIABLE, _WORDS.get(text, text)
    if isinstance(given, bool):
        return _DEFAULT if given else None
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = float("nan")
    if seconds == 0:
        return None
    if not _SHORTEST <= seconds < float("inf"):
        raise InvalidInput(f"{told} is {given!r}; say true, false, or seconds between samples, at least {_SHORTEST}")
    return seconds


@dataclass
class _Watched:
    """A run that is sampled for.

    Attributes:
        run: the run.
        seconds: between samples.
        due: when the next sample is to be taken, on the monotonic clock.
        step: of the next sample.
        network: bytes that the machine had received and sent at the first sample; None before it.
    """

    run: "ActiveRun"
    seconds: float
    due: float
    step: int = 0
    network: tuple[int, int] | None = None


@dataclass
class _Sampler:
    """What the thread and the callers share."""

    watched: list[_Watched] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    thread: threading.Thread | None = None
    complained: bool = False


_sampler = _Sampler()


def start(run: "ActiveRun", seconds: float) -> None:
    """Sample for a run from now on, until it ends."""
    first = time.monotonic() + min(_FIRST, seconds)
    with _sampler.changed:
        _sampler.watched.append(_Watched(run, seconds, first))
        if _sampler.thread is None:
            _sampler.thread = threading.Thread(target=_loop, args=(_sampler,), name="lakelineage-system", daemon=True)
            _sampler.thread.start()
        _sampler.changed.notify_all()


def stop(run: "ActiveRun") -> None:
    """Sample for the run no more; a sample that is being taken is logged first."""
    if _sampler.watched:
        with _sampler.changed:
            _sampler.watched[:] = [each for each in _sampler.watched if each.run is not run]


def stop_all(engine: "Engine") -> None:
    """The same for all runs of a lake, which is about to be closed."""
    with _sampler.changed:
        _sampler.watched[:] = [each for each in _sampler.watched if each.run._engine is not engine]


def _loop(sampler: _Sampler) -> None:
    gpus: list[_Gpu] | None = None
    while True:
        with sampler.changed:
            if not sampler.watched:
                sampler.thread = None
                return
            try:
                if gpus is None:
                    gpus = _gpus()
                    _machine()  # the use of the processor is counted from this call on
                wait = min(each.due for each in sampler.watched) - time.monotonic()
                if wait > 0:
                    sampler.changed.wait(wait)
                else:
                    _sample(sampler, gpus)
            except Exception as error:  # noqa: BLE001 - training goes on, whatever a driver or a disk says
                _complain(sampler, error)


def _complain(sampler: _Sampler, error: Exception) -> None:
    if not sampler.complained:
        _log.warning("system metrics could not be sampled: %s; told once, and tried again", error)
    sampler.complained = True
    for each in sampler.watched:
        each.due = max(each.due, time.monotonic() + each.seconds)


def _sample(sampler: _Sampler, gpus: "list[_Gpu]") -> None:
    now = time.monotonic()
    due = [each for each in sampler.watched if each.due <= now]
    for each in due:
        each.due = now + each.seconds
    values = _machine()
    for gpu in gpus:
        values.update(gpu.read())
    received, sent = _network()
    for each in due:
        before = each.network = each.network or (received, sent)
        values["network_receive_megabytes"] = (received - before[0]) / _MEGA
        values["network_transmit_megabytes"] = (sent - before[1]) / _MEGA
        _log_sample(each, values)


def _log_sample(watched: _Watched, values: Mapping[str, float]) -> None:
    if watched.run.status.ended:
        return
    try:
        watched.run.log_metrics({f"system/{key}": round(value, 1) for key, value in values.items()}, watched.step)
    except RunFinished:
        return  # it ended at this moment, and is taken off the list
    watched.step += 1


def _network() -> tuple[int, int]:
    import psutil

    counters = psutil.net_io_counters()  # None on a machine without a network
    return (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)


def _machine() -> dict[str, float]:
    import psutil

    memory, disk = psutil.virtual_memory(), psutil.disk_usage(os.sep)
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / _MEGA,
        "system_memory_usage_percentage": memory.used / memory.total * 100,
        "disk_usage_percentage": disk.percent,
        "disk_usage_megabytes": disk.used / _MEGA,
        "disk_available_megabytes": disk.free / _MEGA,
    }


def _gpus() -> "list[_Gpu]":
    """The GPUs of the machine (extra ``gpu``); none, and silently, where there is no driver or no library."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return [_Gpu(pynvml, f"gpu_{i}", pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(count)]
    except pynvml.NVMLError:
        return []


@dataclass(frozen=True)
class _Gpu:
    """One GPU: NVIDIA's library, its name in metrics, and the library's handle of it."""

    nvml: Any
    name: str
    handle: Any

    def read(self) -> dict[str, float]:
        """What it tells; many tell no power, and some no use."""
        found: dict[str, float] = {}
        for part in (self._utilization, self._memory, self._power):
            with suppress(self.nvml.NVMLError):
                found |= {f"{self.name}_{key}": float(value) for key, value in part().items()}
        return found

    def _utilization(self) -> dict[str, float]:
        return {"utilization_percentage": self.nvml.nvmlDeviceGetUtilizationRates(self.handle).gpu}

    def _memory(self) -> dict[str, float]:
        memory = self.nvml.nvmlDeviceGetMemoryInfo(self.handle)
        percentage = memory.used / memory.total * 100
        return {"memory_usage_megabytes": memory.used / _MEGA, "memory_usage_percentage": percentage}

    def _power(self) -> dict[str, float]:
        milliwatts = self.nvml.nvmlDeviceGetPowerUsage(self.handle)
        limit = self.nvml.nvmlDeviceGetEnforcedPowerLimit(self.handle)
        return {"power_usage_watts": milliwatts / 1000, "power_usage_percentage": milliwatts / limit * 100}


def _forget_in_child() -> None:
    global _sampler
    _sampler = _Sampler()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
