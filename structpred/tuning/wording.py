"""How names and numbers of a study are written."""


def number(value: object) -> str:
    """A parameter's value for people.

    >>> number(0.0412345), number(128), number("rml")
    ('0.0412', '128', 'rml')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def short(field: str) -> str:
    """A field's own name.

    >>> short("objective.payoff.temperature.edit_rate")
    'edit_rate'
    """
    return field.rpartition(".")[2]


def seeds(count: int) -> str:
    """So many seeds.

    >>> seeds(1), seeds(3)
    ('1 seed', '3 seeds')
    """
    return "1 seed" if count == 1 else f"{count} seeds"
