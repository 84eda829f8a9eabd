"""What a request may ask for in vain."""


class UnknownError(Exception):
    """What was asked for does not exist: 404."""


class UnavailableError(Exception):
    """It cannot be done in the present state: 409."""
