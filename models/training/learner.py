"""Loss, schedule and accuracy of the bundled backbone's training."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.catalogue import RSSCN7
from models.training.views import ViewPair, ViewRanges, patch_targets, random_view_pair
from models.vit import DinoVisionTransformer

TEMPERATURE = 0.05
CLASS_TEMPERATURE = 0.1
CLASS_WEIGHT = 0.1


@dataclass(frozen=True)
class Batch:
    """Pairs of views: images [B, 3, S, S] float32 normalised; where each patch lies in the other view, in patch units
    (row, col) [B, N, 2]; whether it is seen there [B, N]."""

    image_a: Tensor
    image_b: Tensor
    a_in_b: Tensor
    seen_a: Tensor
    b_in_a: Tensor
    seen_b: Tensor


def make_batch(
    tiles: list[NDArray[np.uint8]], pairs: int, size: int, patch: int, ranges: ViewRanges, rng: np.random.Generator
) -> Batch:
    """Draws tiles without repetition and a pair of views of each."""
    chosen = [tiles[index] for index in rng.choice(len(tiles), pairs, replace=False)]
    drawn = [random_view_pair(tile, size, ranges, rng) for tile in chosen]
    mirrored = [ViewPair(pair.view_b, pair.view_a, pair.b_to_tile, pair.a_to_tile) for pair in drawn]
    tile_sizes = [(tile.shape[1], tile.shape[0]) for tile in chosen]
    forth = [patch_targets(pair, tile_size, patch) for pair, tile_size in zip(drawn, tile_sizes, strict=True)]
    back = [patch_targets(pair, tile_size, patch) for pair, tile_size in zip(mirrored, tile_sizes, strict=True)]
    return Batch(
        normalise(np.stack([pair.view_a for pair in drawn])),
        normalise(np.stack([pair.view_b for pair in drawn])),
        torch.from_numpy(np.stack([position for position, _ in forth])),
        torch.from_numpy(np.stack([seen for _, seen in forth])),
        torch.from_numpy(np.stack([position for position, _ in back])),
        torch.from_numpy(np.stack([seen for _, seen in back])),
    )


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """uint8 RGB [B, S, S, 3] to the network's input [B, 3, S, S]."""
    mean, std = torch.tensor(RSSCN7.mean), torch.tensor(RSSCN7.std)
    return ((torch.from_numpy(images).float() / 255.0 - mean) / std).permute(0, 3, 1, 2).contiguous()


def rope_window(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Scale and shift that make a crop's grid a random window of a larger image's.

    The network then meets the fine position steps of large inputs although it is trained on small crops.
    """
    scale = float(np.exp(rng.uniform(math.log(0.35), math.log(1.0))))
    reach = 1.0 / scale - 1.0
    shift = rng.uniform(-reach, reach, 2)
    return torch.full((2,), scale), torch.from_numpy(shift.astype(np.float32))


def loss_of(model: DinoVisionTransformer, batch: Batch, rng: np.random.Generator) -> Tensor:
    """Contrast of the patches of one view with those of the other, both ways, plus one of class tokens."""
    tokens_a = model(batch.image_a, *rope_window(rng))
    tokens_b = model(batch.image_b, *rope_window(rng))
    a = functional.normalize(tokens_a.patch_tokens.float(), dim=-1)
    b = functional.normalize(tokens_b.patch_tokens.float(), dim=-1)
    with torch.autocast("cpu", enabled=False):
        similarity = a @ b.transpose(1, 2) / TEMPERATURE
    forth = _patch_loss(similarity, batch.a_in_b, batch.seen_a)
    back = _patch_loss(similarity.transpose(1, 2), batch.b_in_a, batch.seen_b)
    class_a = functional.normalize(tokens_a.class_token.float(), dim=-1)
    class_b = functional.normalize(tokens_b.class_token.float(), dim=-1)
    logits = class_a @ class_b.T / CLASS_TEMPERATURE
    target = torch.arange(len(logits))
    classes = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    return (forth + back) / 2 + CLASS_WEIGHT * classes / 2


def _patch_loss(similarity: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
    """Cross-entropy against the bilinear weights of the four patch centres around the true position."""
    side = math.isqrt(similarity.shape[2])
    log_probability = functional.log_softmax(similarity, dim=2)
    origin = positions.clamp(0, side - 1)
    low = origin.floor().clamp(max=side - 2)
    fraction = origin - low
    total = torch.zeros(similarity.shape[:2])
    for row_step in (0, 1):
        for col_step in (0, 1):
            row_weight = fraction[..., 0] if row_step else 1 - fraction[..., 0]
            col_weight = fraction[..., 1] if col_step else 1 - fraction[..., 1]
            index = ((low[..., 0] + row_step) * side + low[..., 1] + col_step).long()
            total = total - row_weight * col_weight * log_probability.gather(2, index[..., None])[..., 0]
    return (total * seen).sum() / seen.sum().clamp(min=1)


def learning_rate(step: int, steps: int, peak: float, warmup: int, decay_share: float) -> float:
    """Linear warm-up, a plateau, and a cosine decay over the last `decay_share` of the steps."""
    if step < warmup:
        return peak * (step + 1) / warmup
    decay_from = steps * (1 - decay_share)
    if step < decay_from:
        return peak
    progress = (step - decay_from) / max(1.0, steps - decay_from)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@torch.inference_mode()
def matched_share(
    model: DinoVisionTransformer, tiles: list[NDArray[np.uint8]], size: int, ranges: ViewRanges, seed: int = 1234
) -> float:
    """Share of patches whose most similar patch of the other view lies within 1.5 patches of the truth.

    One pair of views per tile; of the patches of a that are seen in b, each is matched to its nearest token of b.
    """
    model.eval()
    patch = model.arch.patch_size
    side = size // patch
    right = seen_count = 0
    for index, tile in enumerate(tiles):
        batch = make_batch([tile], 1, size, patch, ranges, np.random.default_rng([seed, index]))
        a = functional.normalize(model(batch.image_a).patch_tokens[0], dim=-1)
        b = functional.normalize(model(batch.image_b).patch_tokens[0], dim=-1)
        best = (a @ b.T).argmax(dim=1)
        found = torch.stack((best // side, best % side), dim=1).float()
        distance = (found - batch.a_in_b[0]).norm(dim=1)
        seen = batch.seen_a[0]
        right += int(((distance <= 1.5) & seen).sum())
        seen_count += int(seen.sum())
    model.train()
    return right / max(1, seen_count)
