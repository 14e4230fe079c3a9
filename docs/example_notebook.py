"""A notebook in plain Python: editors that know `# %%` run it cell by cell, `python docs/example_notebook.py` at once.

It needs photographs of one place in two folders. `engine demo` renders some: demo/images.
"""

# %% Two photographs, from the first two folders of photographs
import os
from pathlib import Path

import cv2
import numpy as np

from engine import Matcher, WorkError

root = Path(os.environ.get("IMG_ROOT", "demo/images"))
folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
flight_a, flight_b = (sorted(folder.glob("*.jpg")) for folder in folders[:2])
a, b = flight_a[0], flight_b[0]
print(a.name, "and", b.name)

# %% A matcher: opening takes a second, so the same one serves all cells
matcher = Matcher(rotations=4, scales="auto")
print(matcher.graph.name, "on", matcher.provider)

# %% Match
found = matcher.match(a, b)
print(found)

# %% The best matches that the geometry explains: x, y in a, x, y in b, similarity
best = np.flatnonzero(found.inliers)[:5]
for (xa, ya), (xb, yb), similarity in zip(
    found.points_a_px[best], found.points_b_px[best], found.similarity[best], strict=True
):
    print(f"{xa:7.1f} {ya:7.1f}  {xb:7.1f} {yb:7.1f}  {similarity:.2f}")

# %% Where the middle of a lies in b
picture_a, picture_b = cv2.imread(str(a)), cv2.imread(str(b))
middle = [[(picture_a.shape[1] - 1) / 2, (picture_a.shape[0] - 1) / 2]]
try:
    print("middle of a in b:", found.map_points(middle).round(1)[0])
except WorkError as error:
    print("no geometry:", error)

# %% a laid over b: in b's frame, half and half
if found.matrix is not None:
    warped = cv2.warpPerspective(picture_a, found.matrix, (picture_b.shape[1], picture_b.shape[0]))
    cv2.imwrite("overlay.jpg", cv2.addWeighted(warped, 0.5, picture_b, 0.5, 0))

# %% How similar each patch of b is to the patch in the middle of a
tokens_a, tokens_b = matcher.embed(a), matcher.embed(b)
patch = int(np.linalg.norm(tokens_a.points_px - middle, axis=1).argmin())
similarity = tokens_b.descriptors.astype(np.float32) @ tokens_a.descriptors[patch].astype(np.float32)
heat = similarity.reshape(tokens_b.grid)
print("similarity", heat.min().round(2), "to", heat.max().round(2), "on a grid of", heat.shape)

# %% Pixels in memory do as well: RGB, so OpenCV's BGR is turned round
turned = matcher.match(picture_a[..., ::-1], np.rot90(picture_a)[..., ::-1])
print("a against itself, turned:", turned.rotation_deg, "degrees,", turned.inlier_count, "inliers")

# %% Which photographs of the second folder show the same place as a?
for other in flight_b:
    pair = matcher.match(a, other)
    print(f"{other.name}: {pair.verdict}, {pair.inlier_count} of {len(pair)} matches")

# %% Done: let the graph go
matcher.close()
