"""The errors that people can mend; everything else is a defect of ours and keeps its traceback."""


class UserError(ValueError):
    """Something a user gave cannot be used.

    The message says what was wrong, what was given, what is allowed and what to do next.
    The command line prints it alone and ends with status 2; HTTP answers 4xx with it.
    """


class DataError(UserError):
    """A data source, a prepared data set or a file in one cannot be used."""


class SpecError(UserError):
    """A sweep file, a training file or a setting in one is wrong."""


class CheckpointError(UserError):
    """A checkpoint or a model bundle is damaged, foreign or does not fit."""
