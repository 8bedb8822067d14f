"""The exceptions for a user's mistakes; the command line prints them as one line, without a traceback."""


class StructpredError(Exception):
    """A mistake somebody can mend: one sentence with what was expected, what came, where, and what to do."""


class ConfigError(StructpredError, ValueError):
    """A value, a name or a combination that an experiment cannot have."""


class DataError(StructpredError, ValueError):
    """A file or an example that cannot be read; the message starts with the file and the line."""


class RunError(StructpredError, RuntimeError):
    """A run folder that cannot be used, or training that cannot go on."""
