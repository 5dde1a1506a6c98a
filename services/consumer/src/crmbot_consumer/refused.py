"""Finds the rows that keep the contract and that the warehouse refuses all the same."""

from collections.abc import Callable, Mapping

from crmbot_consumer.warehouse import Load
from crmbot_core.errors import RefusedDataError, TransientError

Place = tuple[int, int]  # partition, offset


class RefusedRowsError(TransientError):
    """The warehouse refuses these rows: read again, they become dead letters, and the others are loaded."""

    def __init__(self, reasons: Mapping[Place, str]) -> None:
        super().__init__(f"the warehouse refuses {len(reasons)} rows: they become dead letters")
        self.reasons = reasons


def refused_rows(
    load: Load, refusal: Callable[[bytes], str | None], limit: int, error: RefusedDataError
) -> RefusedRowsError:
    """Find the rows of a load that the warehouse refuses, by halves.

    Args:
        load: what the warehouse refused as a whole.
        refusal: tells of COPY text whether the warehouse refuses it, and with which SQLSTATE.
        limit: how many refused rows are a wrong table rather than wrong rows.
        error: with what the load was refused.

    Raises:
        RefusedDataError: `error`, if there are no such rows, or too many.
    """
    reasons: dict[Place, str] = {}

    def look(places: list[Place], lines: list[bytes]) -> None:
        state = refusal(b"".join(lines))
        if state is None:
            return
        if len(lines) == 1:
            reasons[places[0]] = f"the warehouse refuses the row (SQLSTATE {state})"
            if len(reasons) >= limit:
                raise error
            return
        middle = len(lines) // 2
        look(places[:middle], lines[:middle])
        look(places[middle:], lines[middle:])

    for batch, text in zip(load.batches, load.texts, strict=True):
        if batch.rows:
            look([(batch.partition, offset) for offset in batch.offsets], text.splitlines(keepends=True))
    if not reasons:
        raise error
    return RefusedRowsError(reasons)
