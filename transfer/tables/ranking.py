"""Which figures of a table are the best and the second best of those that may be compared."""

from transfer.tables.table import Table

BEST, SECOND = "best", "second"


def marks(table: Table) -> dict[tuple[int, int], str]:
    """(row, column) -> ``best`` or ``second`` of our figures; without an entry for the others.

    Rows are compared column by column within a group: rows with equal labels ``table.compare``. Of these, figures that
    were evaluated alike are ranked with each other. Those that look alike rank alike; where all do, or there is one
    alone, none is marked.
    """
    if table.compare_columns:
        sets = [[(i, j) for j in table.compare_columns] for i in range(len(table.rows))]
    elif table.compare is None:
        return {}
    else:
        sets = [[(i, j) for i in group] for group in groups(table) for j in range(len(table.columns))]
    found = {}
    for places in sets:
        alike: dict[str, list[tuple[int, int]]] = {}
        for i, j in places:
            alike.setdefault(table.rows[i][1][j].evaluation, []).append((i, j))
        for comparable in alike.values():
            found |= ranked(table, comparable)
    return found


def groups(table: Table) -> list[list[int]]:
    """Rows that may be compared, by their labels ``table.compare``, in the order of their first row."""
    wanted = [table.labels.index(name) for name in table.compare or ()]
    found: dict[tuple[str, ...], list[int]] = {}
    for i, (labels, _) in enumerate(table.rows):
        found.setdefault(tuple(labels[k] for k in wanted), []).append(i)
    return list(found.values())


def ranked(table: Table, places: list[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Marks of the figures in ``places``; more is better, as for every figure in percent."""
    shown = {(i, j): table.rows[i][1][j].value for i, j in places}
    shown = {place: round(value, 1) for place, value in shown.items() if value is not None}
    best, *rest = sorted(set(shown.values()), reverse=True) or [None]
    if not rest:
        return {}
    found = {place: BEST for place, value in shown.items() if value == best}
    return found | {place: SECOND for place, value in shown.items() if value == rest[0]}
