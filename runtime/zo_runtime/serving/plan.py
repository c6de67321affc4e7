"""What to do next for one model name: a pure function of what is wanted and what is so."""

from __future__ import annotations

from dataclasses import dataclass

# A version is unloaded when it has answered nothing for this long, in seconds: a request may hold the name's former
# version for a moment before the engine hears of it.
GRACE_SECONDS = 2.0
# Requests of former versions may hold up a switch for this long, in seconds, where a further version would make the
# engine swap adapters in and out of its slots.
PATIENCE_SECONDS = 10.0
# Seconds before the first repetition after a failure, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Draining:
    """A former version that is still loaded. Times are in seconds of one clock."""

    version: str
    since: float
    idle_since: float | None
    """Since when it answers no request; none while it does."""


@dataclass(frozen=True, slots=True)
class View:
    """One model name at one moment; versions are told apart by their labels."""

    wanted: str | None
    served: str | None
    building: str | None
    built: str | None
    """The version that is verified on the disk and ready to be loaded."""
    failed: str | None
    """The version whose last attempt failed."""
    retry_at: float
    draining: tuple[Draining, ...]
    slots: int
    """Adapters that the engine holds at once."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now."""


@dataclass(frozen=True, slots=True)
class Build:
    """Begin to build the wanted version."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop building: another version is wanted by now."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Load the wanted version and point the name to it."""


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload a former version."""

    version: str


Action = Wait | Build | Stop | Switch | Unload


def plan(view: View, now: float) -> Action:
    """The next action. Once it is carried out and nothing changes, repeating this ends in `Wait` with the wanted
    version served and no other loaded."""
    for former in view.draining:
        if former.idle_since is not None and now - former.idle_since >= GRACE_SECONDS:
            return Unload(former.version)
    if view.building is not None and view.building != view.wanted:
        return Stop()
    if view.wanted is None or view.wanted == view.served:
        return Wait()
    if view.failed == view.wanted and now < view.retry_at:
        return Wait()
    if view.wanted == view.built or any(d.version == view.wanted for d in view.draining):
        return Wait() if _must_drain(view, now) else Switch()
    return Wait() if view.building is not None else Build()


def pause_after(failures: int) -> float:
    """Seconds to wait after that many failures in a row, at least one."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30)))


def _must_drain(view: View, now: float) -> bool:
    """Whether the engine has no slot for one more version beside the served one and those that drain."""
    others = [d for d in view.draining if d.version != view.wanted]
    full = len(others) + 2 > view.slots
    return full and any(now - d.since < PATIENCE_SECONDS for d in others)
