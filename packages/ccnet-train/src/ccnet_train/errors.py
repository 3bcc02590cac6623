"""The errors of ccnet_train. Every message names what was wrong, where, and what to do."""


class TrainError(ValueError):
    """Base of all errors that ccnet_train raises on purpose."""


class RecipeError(TrainError):
    """A recipe's name, key or value is wrong."""


class ProcessError(TrainError):
    """An error of one process of several: the others do not raise it, so this one has to tell."""
