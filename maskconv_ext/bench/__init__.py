"""The benchmark behind `maskconv-ext bench`: this op beside plain convolution and the forms it replaces."""


class BenchError(Exception):
    """What the user can put right, in one line."""
