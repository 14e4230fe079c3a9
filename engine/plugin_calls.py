"""Calls of matchers and filters, which may be of other packages: their failures, and what they give, are checked here.

An error names the plugin and the package that brought it, so that its author is asked and not this program's.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import Dinov3MatchError, PluginError
from engine.features import FeatureMap, Matches
from engine.hooks import Estimate, FilterRecord, MatcherRecord
from engine.plugin_options import check_ransac_method

T = TypeVar("T")
Found = tuple[int, int, Matches]


@contextlib.contextmanager
def blamed_on(record: MatcherRecord | FilterRecord) -> Iterator[None]:
    """Makes a PluginError that names the plugin of whatever else than an error of this program is raised meanwhile.

    Raises:
        PluginError: it can be sent between processes, which a plugin's own exception may not.
    """
    try:
        yield
    except Dinov3MatchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        told = type(error).__name__ + (f": {reason}" if reason else "")
        raise PluginError(f"{_name(record)} failed ({told})") from error


def made(record: MatcherRecord | FilterRecord, factory: Callable[[], T]) -> T:
    """What a factory of the record makes."""
    with blamed_on(record):
        return factory()


def require_filter(record: FilterRecord, options: Any) -> None:
    """Makes sure that a filter can do what its options ask for, before any work begins.

    Raises:
        UsageError: it does not support the robust method chosen, or cannot use it on this machine.
        PluginError: the filter's own check failed.
    """
    check_ransac_method(record, options)
    if record.require is not None:
        with blamed_on(record):
            record.require(options)


def call_matcher(record: MatcherRecord, match: Any, a: FeatureMap, b: FeatureMap, options: Any) -> Matches:
    """The matches of two maps.

    Raises:
        PluginError: the matcher failed, or gave something else than matches of these maps.
    """
    with blamed_on(record):
        found = match(a, b, options)
    return checked_matches(record, found, len(a), len(b))


def checked_block(
    record: MatcherRecord,
    found: Iterator[Found],
    a: Sequence[FeatureMap],
    b: Sequence[FeatureMap],
    wanted: NDArray[np.bool_],
) -> Iterator[Found]:
    """What a matcher's fast form yields, each checked, and each wanted pair once.

    Raises:
        PluginError: the matcher failed, gave something else, or left a pair out.
    """
    left = wanted.copy()
    while True:
        with blamed_on(record):
            item = next(found, None)
            if item is None:
                break
            row, column, matches = item
            if not (0 <= row < len(a) and 0 <= column < len(b)) or not left[row, column]:
                raise PluginError(f"{_name(record)} gave pair ({row}, {column}), which was not asked for, or twice")
            left[row, column] = False
        yield row, column, checked_matches(record, matches, len(a[row]), len(b[column]))
    if left.any():
        row, column = np.argwhere(left)[0].tolist()
        raise PluginError(f"{_name(record)} left out {int(left.sum())} pair(s), such as ({row}, {column})")


def checked_matches(record: MatcherRecord, found: Any, count_a: int, count_b: int) -> Matches:
    """The matches given, of maps with so many tokens.

    Raises:
        PluginError: they are no `Matches`, of uneven lengths, of rows that the maps do not have, or not numbers.
    """
    if not isinstance(found, Matches):
        raise PluginError(f"{_name(record)} gave {type(found).__name__} instead of Matches")
    arrays = (found.index_a, found.index_b, found.similarity)
    shapes = [np.shape(array) for array in arrays]
    if len(set(shapes)) != 1 or len(shapes[0]) != 1:
        given = ", ".join(str(list(shape)) for shape in shapes)
        raise PluginError(f"{_name(record)} gave index_a, index_b and similarity of shapes {given}, not of one length")
    for name, index, count in (("index_a", found.index_a, count_a), ("index_b", found.index_b, count_b)):
        kind = getattr(index, "dtype", np.dtype(object)).kind
        if kind not in "iu":
            raise PluginError(f"{_name(record)} gave {name} that holds no whole numbers")
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= count):
            raise PluginError(f"{_name(record)} gave {name} outside 0 to {count - 1}, the rows of that map")
    similarity = found.similarity
    if getattr(similarity, "dtype", np.dtype(object)).kind != "f" or not np.isfinite(similarity).all():
        raise PluginError(f"{_name(record)} gave similarities that are not finite numbers")
    return found


def call_filter(
    record: FilterRecord, points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], options: Any
) -> Estimate:
    """A filter's estimate on matched points [M, 2].

    Raises:
        PluginError: the filter failed, or gave no estimate: a mask of M flags, and [3, 3] finite numbers or None.
    """
    with blamed_on(record):
        found: Any = record.factory()(points_a_px, points_b_px, options)
    if not isinstance(found, Estimate):
        raise PluginError(f"{_name(record)} gave {type(found).__name__} instead of an Estimate")
    if np.shape(found.inliers) != (len(points_a_px),):
        raise PluginError(
            f"{_name(record)} gave inliers of shape {list(np.shape(found.inliers))} for {len(points_a_px)} matches"
        )
    if found.matrix is None:
        return found
    matrix = np.asarray(found.matrix)
    if matrix.shape != (3, 3) or matrix.dtype.kind != "f" or not np.isfinite(matrix).all():
        raise PluginError(f"{_name(record)} gave a matrix that is not [3, 3] of finite numbers")
    return found


def _name(record: MatcherRecord | FilterRecord) -> str:
    kind = "matcher" if isinstance(record, MatcherRecord) else "filter"
    return f"the {kind} '{record.name}'{f' of {record.origin}' if record.origin else ''}"
