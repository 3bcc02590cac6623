"""The error of ccnet_kernels."""


class KernelError(ValueError):
    """A call that these kernels do not serve: the message says what is wrong with which argument."""
