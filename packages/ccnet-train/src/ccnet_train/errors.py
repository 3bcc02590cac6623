"""The errors of ccnet_train. Every message names what was wrong, where, and what to do."""

import signal


class TrainError(ValueError):
    """Base of all errors that ccnet_train raises on purpose."""


class RecipeError(TrainError):
    """A recipe's name, key or value is wrong."""


class ProcessError(TrainError):
    """An error of one process of several: the others do not raise it, so this one has to tell."""


class Terminated(SystemExit):
    """A run was asked to stop by SIGTERM, and is saved. Python ends with the code that such an end has."""

    code: int

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)
