"""Which tokens take part in matching, and which matches stay."""

import numpy as np

from engine.features import FeatureMap, Matches


def select_tokens(features: FeatureMap, keypoint_threshold: float, max_features: int) -> FeatureMap:
    """Keeps tokens of the photograph whose L2 norm, min-max scaled within it to 0..1, is at least the threshold.

    Of a turned view, tokens whose centre lies beside the photograph are left out first.

    Above `max_features`, an even sample of those in row-major order stays. Where all norms are equal, all tokens stay.
    """
    if features.canvas_size is not None:
        points, size = features.points_encoded_px, features.encoded_size
        features = features.select(np.flatnonzero(((points >= -0.5) & (points <= np.array(size) - 0.5)).all(axis=1)))
    norms = features.norms.astype(np.float64)
    spread = norms.max() - norms.min() if len(norms) else 0.0
    scaled = (norms - norms.min()) / spread if spread > 0 else np.ones_like(norms)
    rows = np.flatnonzero(scaled >= keypoint_threshold)
    if len(rows) > max_features:
        rows = rows[np.round(np.linspace(0, len(rows) - 1, max_features)).astype(np.intp)]
    return features.select(rows)


def prune_matches(matches: Matches, match_threshold: float, line_threshold: float) -> Matches:
    """Keeps matches of similarity >= `match_threshold` and >= `line_threshold` x the best, one-to-one.

    Where a token takes part in several matches, the best stays (ties: lowest index in a, then in b).
    """
    if not len(matches):
        return matches
    best = float(matches.similarity.max())
    rows = np.flatnonzero((matches.similarity >= match_threshold) & (matches.similarity >= line_threshold * best))
    kept = matches.take(rows)
    if len(np.unique(kept.index_a)) == len(kept) == len(np.unique(kept.index_b)):
        return kept
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    unique = []
    for row, (a, b) in enumerate(zip(kept.index_a.tolist(), kept.index_b.tolist(), strict=True)):
        if a not in taken_a and b not in taken_b:
            taken_a.add(a)
            taken_b.add(b)
            unique.append(row)
    return kept.take(np.array(unique, np.intp))
