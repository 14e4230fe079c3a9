"""The program's errors, under the names the engine uses. See `models.errors` for the two kinds and their exit codes."""

try:
    from models.errors import Dinov3MatchError, UsageError, WorkError
except ImportError:
    from engine.install_check import explain_failed_import

    explain_failed_import()
    raise

__all__ = [
    "DataSetError",
    "Dinov3MatchError",
    "GraphError",
    "ImageReadError",
    "KeyNotFoundError",
    "OutOfMemory",
    "PluginError",
    "ProviderError",
    "ResultFileError",
    "UsageError",
    "WorkError",
]


class KeyNotFoundError(UsageError, LookupError):
    """No image, or several, fit a key; the message lists what there is."""


class DataSetError(WorkError):
    """A data set is missing, empty or holds nothing usable."""


class ImageReadError(WorkError, OSError):
    """An image file cannot be decoded."""


class GraphError(WorkError):
    """A graph file is missing, damaged or not one of ours."""


class ProviderError(WorkError):
    """The execution provider asked for is not the one the session runs on."""


class OutOfMemory(ProviderError):  # noqa: N818 - what happened, not a fault of the program
    """The provider has no room for a batch of this size; a smaller one may fit."""


class PluginError(WorkError):
    """A plugin record is invalid, two share one name, or a matcher or filter failed."""


class ResultFileError(WorkError):
    """A result file (JSON or HDF5) is missing, damaged or of another format."""
