"""Finds valid rows that the warehouse nevertheless refuses."""

from collections.abc import Callable, Mapping

from crmbot_consumer.warehouse import Load
from crmbot_core.errors import RefusedDataError, TransientError

Place = tuple[int, int]  # partition, offset


class RefusedRowsError(TransientError):
    """The warehouse refuses these rows; read again, they become dead letters and the others are loaded."""

    def __init__(self, reasons: Mapping[Place, str]) -> None:
        super().__init__(f"the warehouse refuses {len(reasons)} rows: they become dead letters")
        self.reasons = reasons


def refused_rows(
    load: Load, refusal: Callable[[bytes], str | None], limit: int, error: RefusedDataError
) -> RefusedRowsError:
    """Find the rows of a load that the warehouse refuses, by bisection.

    Args:
        load: the refused load.
        refusal: returns the SQLSTATE with which the warehouse refuses COPY text, None if it accepts it.
        limit: number of refused rows that means a wrong table, not wrong rows.
        error: the error of the load.

    Raises:
        RefusedDataError: `error`, if there are no such rows, or too many.
    """
    reasons: dict[Place, str] = {}

    def bisect(places: list[Place], lines: list[bytes]) -> None:
        sqlstate = refusal(b"".join(lines))
        if sqlstate is None:
            return
        if len(lines) == 1:
            reasons[places[0]] = f"the warehouse refuses the row (SQLSTATE {sqlstate})"
            if len(reasons) >= limit:
                raise error
            return
        middle = len(lines) // 2
        bisect(places[:middle], lines[:middle])
        bisect(places[middle:], lines[middle:])

    for batch, text in zip(load.batches, load.texts, strict=True):
        if batch.rows:
            bisect([(batch.partition, offset) for offset in batch.offsets], text.splitlines(keepends=True))
    if not reasons:
        raise error
    return RefusedRowsError(reasons)
