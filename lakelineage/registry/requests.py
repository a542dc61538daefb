"""Requests that a version comes into a stage, or is named by an alias; who approved them; and the move that follows.

A request is one row per state in ``model_requests_history``; every answer is decided there, one at a time. The move
itself is a row of another table. The order:

1. the last approval that is needed makes the request ``approved``;
2. the move is made, if the version (or alias) has made exactly as many steps as when it was asked;
3. the request becomes ``applied``, or ``outdated`` if the move could not be made any more.

A process that dies after 1 or 2 leaves an approved request. Whoever next asks, answers or moves a version in this
lake, or maintains it, does what is left (:func:`complete`). Counting steps makes the move happen once: who comes later
finds one step more, to where the request wanted it.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from lakelineage.errors import AlreadyExists, Conflict, InvalidInput, NotAllowed, RequestClosed, RequestNotFound
from lakelineage.model.clock import wall_clock
from lakelineage.registry import moves, rules, write
from lakelineage.registry.moves import Move, Place
from lakelineage.registry.states import State, VersionStates
from lakelineage.registry.values import ARCHIVED
from lakelineage.store import faults
from lakelineage.tables import MODEL_REQUESTS_HISTORY, MODEL_VERSIONS_HISTORY
from lakelineage.tracking.capture import current_user

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine
    from lakelineage.registry.rules import Rules

Status = Literal["open", "approved", "applied", "rejected", "cancelled", "outdated"]
STATUSES: tuple[Status, ...] = ("open", "approved", "applied", "rejected", "cancelled", "outdated")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Given a request that is open, its model's name and its move: the columns to change. May raise.
_Answer = Callable[[State, str, Move], State]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that a version comes into a stage, or is named by an alias; as it was when it was read.

    Attributes:
        id: 1, 2, 3, … of the lake.
        name: registered model, as it was called when this was last changed.
        version: that shall move.
        stage: where it shall go; None: an alias is asked for.
        alias: what shall name it; None: a stage is asked for.
        archive_existing: whether the other versions of the stage go to Archived.
        from_state: stage of the version, or version that the alias named, when it was asked; None: it named none.
        status: open, approved (the move is about to be made), applied, rejected, cancelled, or outdated (the version or
            the alias has moved since it was asked).
        approved_by: who has approved, in order.
        requested_by: who asked.
        requested_at: when, UTC.
        comment: why it was asked.
        updated_by: who changed it last.
        answer: what the last who answered said.
    """

    id: int
    name: str
    version: int
    stage: str | None
    alias: str | None
    archive_existing: bool
    from_state: str | None
    status: Status
    approved_by: tuple[str, ...]
    requested_by: str
    requested_at: datetime
    comment: str | None
    updated_by: str | None
    answer: str | None

    @property
    def target(self) -> str:
        """Where the version shall go, in words."""
        return f"stage {self.stage}" if self.alias is None else f"alias {self.alias}"


class _Requests:
    """Requests after the last of some rows of ``model_requests_history``."""

    def __init__(self, rows: "pa.Table") -> None:
        self._states: dict[int, list[State]] = {}
        for row in rows.to_pylist():
            self._states.setdefault(row["request_id"], []).append(row)

    @property
    def next(self) -> int:
        """The number that the next request gets."""
        return max(self._states, default=0) + 1

    def state(self, number: int) -> State:
        """The newest state of a request.

        Raises:
            RequestNotFound: no request has this number.
        """
        if number not in self._states:
            raise RequestNotFound(
                f"there is no request {number}; `lakelineage models requests --status all` lists them"
            )
        return self._states[number][-1]

    def newest(self) -> Iterator[State]:
        """The newest state of each, in the order of their numbers."""
        return (self._states[number][-1] for number in sorted(self._states))

    def value(self, number: int, status: Status | None = None) -> Request:
        """A request for whoever asked for it."""
        first, last = self._states[number][0], self.state(number)
        told = {name: last[name] for name in Request.__dataclass_fields__ if name in last}
        answers = [row["comment"] for row in self._states[number][1:] if row["comment"]]
        own = {"approved_by": tuple(last["approved_by"] or ()), "comment": first["comment"]}
        late = {"updated_by": last["user_id"], "answer": answers[-1] if answers else None}
        return Request(**(told | own | late | {"id": number, "status": status or last["status"]}))


def _read(engine: "Engine") -> _Requests:
    return _Requests(engine.rows(MODEL_REQUESTS_HISTORY))


def _row(state: State, **changes: Any) -> tuple[Any, ...]:
    names = MODEL_REQUESTS_HISTORY.names
    kept = {name: state[name] for name in names} | {"user_id": current_user(), "comment": None}
    kept["requested_at"] = (state["requested_at"] - _EPOCH) // timedelta(microseconds=1)
    return MODEL_REQUESTS_HISTORY.row(**(kept | changes))


def move_of(state: State) -> Move:
    """The move that a request is about."""
    names = ("version", "stage", "alias")
    return Move(state["registered_model_id"], **{n: state[n] for n in names}, archive=state["archive_existing"])


def outdated(engine: "Engine", state: State) -> str | None:
    """Why the move of a request cannot be made any more; None if it can."""
    move = move_of(state)
    found = moves.place(engine, move)
    if found.state is None:
        return f"version {move.version} was deleted"
    later = found.steps[state["moves"] :]
    if later:
        what = f"version {move.version} was in" if move.alias is None else f"alias {move.alias} named"
        verb = "went to" if move.alias is None else "came to name"
        return f"{what} {state['from_state'] or 'nothing'} when it was asked, and since {verb} {', then '.join(later)}"
    return _archived(move, found)


def _archived(move: Move, found: Place) -> str | None:
    if move.alias is not None and found.state is not None and found.state["stage"] == ARCHIVED:
        return f"version {move.version} is archived"
    return None


def ask(engine: "Engine", name: str, move: Move, comment: str | None) -> Request:
    """Ask for a move.

    Raises:
        ModelNotFound: there is no such version.
        AlreadyExists: an equal request is open.
        Conflict: the version is there already, or is archived.
    """
    complete(engine)
    made: list[int] = []

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        known = _Requests(rows)
        found = _askable(engine, name, move)
        closed = []
        for other in known.newest():
            if other["status"] == "open" and replace(move_of(other), archive=move.archive) == move:
                reason = outdated(engine, other)
                if reason is None:
                    raise AlreadyExists(
                        f"request {other['request_id']} of {other['requested_by']} asks for the same and is open; "
                        f"`lakelineage models approve {other['request_id']}` approves it"
                    )
                closed.append(_row(other, status="outdated", comment=reason))
        made[:] = [known.next, len(closed) + 1]
        told = asdict(move) | {"registered_model_id": move.model_id, "archive_existing": move.archive}
        own = {key: value for key, value in told.items() if key not in ("model_id", "archive")}
        who = {"requested_by": current_user(), "user_id": current_user(), "requested_at": wall_clock()}
        state: State = {
            "name": name,
            "from_state": found.now,
            "moves": len(found.steps),
            "status": "open",
            "approved_by": [],
        }
        row = MODEL_REQUESTS_HISTORY.row(request_id=known.next, comment=comment, **own, **who, **state)
        return [*closed, row]

    stamp = engine.exclusive(MODEL_REQUESTS_HISTORY, decide)
    write.record(engine, [(stamp, made[1])], comment)
    return _read(engine).value(made[0])


def _askable(engine: "Engine", name: str, move: Move) -> Place:
    found = moves.place(engine, move)
    write.required_version(VersionStates(engine.rows(MODEL_VERSIONS_HISTORY), move.model_id), name, move.version)
    if found.now == (move.stage or str(move.version)):
        raise Conflict(f"there is nothing to ask for: version {move.version} of {name!r} is at {move} already")
    if _archived(move, found):
        raise Conflict(
            f"version {move.version} of {name!r} is archived, and an alias shall not name it; "
            "move it to another stage first, or choose another version"
        )
    return found


def approve(engine: "Engine", number: int, comment: str | None) -> Request:
    """Approve a request; the last approval that is needed makes the move.

    Raises:
        RequestNotFound: no request has this number.
        RequestClosed: it is not open any more, or what it is about has moved.
        NotAllowed: the rules want somebody else's approval.
        ChecksNotPassed: the version lacks checks that the rules want.
    """
    user = current_user()

    def answer(state: State, name: str, move: Move) -> State:
        held = rules.for_move(engine, move)
        _require_approver(held, state, user, "approve")
        found = moves.place(engine, move)
        assert found.state is not None, "an outdated request was closed before"
        rules.require_checks(engine, held, name, move, found.state)
        by = [*(state["approved_by"] or ()), user]
        counted = [each for each in by if not held.approvers or each in held.approvers]
        return {"approved_by": by, "status": "approved" if len(counted) >= held.approvals else "open"}

    _answered(engine, number, comment, answer)
    state = _read(engine).state(number)
    if state["status"] == "approved":
        faults.reach("approve.before_move")
        _make(engine, state, comment)
    made = _read(engine).value(number)
    if made.status == "outdated":
        raise RequestClosed(f"request {number} was approved, but could not be applied: {made.answer}; ask again")
    return made


def _require_approver(held: "Rules", state: State, user: str, verb: str) -> None:
    number = state["request_id"]
    if held.approvers and user not in held.approvers:
        raise NotAllowed(
            f"{user} may not {verb} request {number}: the rules of {state['name']!r} name {', '.join(held.approvers)}"
        )
    if verb == "approve" and user == state["requested_by"] and not held.requester_may_approve:
        raise NotAllowed(
            f"{user} asked for request {number} and may not approve it, by the rules of {state['name']!r}; "
            "somebody else has to"
        )
    if verb == "approve" and user in (state["approved_by"] or ()):
        raise NotAllowed(
            f"{user} has approved request {number} already; of the {held.approvals} approvals that are needed, "
            "the next is somebody else's"
        )


def reject(engine: "Engine", number: int, comment: str | None) -> Request:
    """Reject a request, as one who may approve it.

    Raises:
        RequestNotFound: no request has this number.
        RequestClosed: it is not open any more, or what it is about has moved.
        NotAllowed: the rules want somebody else to decide.
    """
    user = current_user()

    def answer(state: State, _: str, move: Move) -> State:
        _require_approver(rules.for_move(engine, move), state, user, "reject")
        return {"status": "rejected"}

    _answered(engine, number, comment, answer)
    return _read(engine).value(number)


def cancel(engine: "Engine", number: int, comment: str | None) -> Request:
    """Take back a request, as the one who asked.

    Raises:
        RequestNotFound: no request has this number.
        RequestClosed: it is not open any more, or what it is about has moved.
        NotAllowed: somebody else asked.
    """
    user = current_user()

    def answer(state: State, _: str, __: Move) -> State:
        if user != state["requested_by"]:
            raise NotAllowed(
                f"request {number} is of {state['requested_by']}, who alone can cancel it; "
                f"`lakelineage models reject {number}` rejects it"
            )
        return {"status": "cancelled"}

    _answered(engine, number, comment, answer)
    return _read(engine).value(number)


def _answered(engine: "Engine", number: int, comment: str | None, answer: _Answer) -> None:
    """Write the next state of an open request; one that is outdated is closed instead."""
    complete(engine)
    gone: list[str] = []

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        state = _Requests(rows).state(number)
        if state["status"] != "open":
            raise RequestClosed(_closed(state))
        reason = outdated(engine, state)
        gone[:] = [] if reason is None else [reason]
        if reason is not None:
            return [_row(state, status="outdated", comment=reason)]
        name = moves.active_name(engine, state["registered_model_id"]) or state["name"]
        return [_row(state, name=name, comment=comment, **answer(state, name, move_of(state)))]

    stamp = engine.exclusive(MODEL_REQUESTS_HISTORY, decide)
    write.record(engine, [(stamp, 1)], gone[0] if gone else comment)
    if gone:
        raise RequestClosed(f"request {number} is outdated: {gone[0]}; ask again if it is still wanted")


def _closed(state: State) -> str:
    by = f" by {state['user_id']}" if state["status"] in ("approved", "rejected", "cancelled") else ""
    why = f": {state['comment']}" if state["comment"] else ""
    return f"request {state['request_id']} is {state['status']}{by}{why}; only an open request is answered"


def complete(engine: "Engine") -> int:
    """Make the moves of approved requests whose process died before it could.

    Returns:
        How many requests that were.
    """
    import pyarrow.compute as pc

    rows = engine.rows(MODEL_REQUESTS_HISTORY)
    numbers = rows["request_id"]
    approved, applied, outdated_ = (
        set(numbers.filter(pc.equal(rows["status"], status)).to_pylist())
        for status in ("approved", "applied", "outdated")
    )
    due = approved - applied - outdated_
    for number in sorted(due):
        _make(engine, _Requests(rows).state(number), "the process that approved it ended before it could")
    return len(due)


def _make(engine: "Engine", state: State, comment: str | None) -> None:
    """Make the move of an approved request, and say so."""
    number = state["request_id"]
    told = f"request {number}" + (f": {comment}" if comment else "")
    done = moves.perform(engine, move_of(state), wall_clock(), told, expected=state["moves"])
    faults.reach("approve.after_move")

    def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
        newest = _Requests(rows).state(number)
        if newest["status"] != "approved":
            return []  # somebody else has said so
        if done:
            return [_row(newest, status="applied")]
        return [_row(newest, status="outdated", comment=outdated(engine, newest))]

    write.record(engine, [(engine.exclusive(MODEL_REQUESTS_HISTORY, decide), 1)], None)


def listed(engine: "Engine", model_id: str | None, status: str | None) -> list[Request]:
    """Requests by number; an open one whose move cannot be made any more counts as outdated.

    Args:
        engine: the open lake.
        model_id: only of this model.
        status: only those that have it; None: all.

    Raises:
        InvalidInput: no such status.
    """
    if status is not None and status not in STATUSES:
        raise InvalidInput(f"status {status!r} is unknown; choose one of {', '.join(STATUSES)}, or None for all")
    known = _read(engine)
    found = []
    for state in known.newest():
        if model_id in (None, state["registered_model_id"]):
            late = state["status"] == "open" and outdated(engine, state) is not None
            found.append(known.value(state["request_id"], "outdated" if late else None))
    return [each for each in found if status in (None, each.status)]
