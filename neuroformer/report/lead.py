"""Which estimate of the wiring stands first: the model's adjusted coupling, else its coupling as it is."""

from collections.abc import Collection

LEADING = ("adjusted_coupling", "coupling")


def leading_estimator(names: Collection[str]) -> str | None:
    """The first of `LEADING` among the names, else the first name; None without any.

    >>> leading_estimator(["granger", "coupling"]), leading_estimator(["granger"]), leading_estimator([])
    ('coupling', 'granger', None)
    """
    return next((name for name in LEADING if name in names), next(iter(names), None))
