"""Renders the scene at one date: ground, then what stands on it, then the light."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.demo.buildings import Building, place_buildings
from engine.demo.ground import paint_ground
from engine.demo.light import lit
from engine.demo.movables import place_movables
from engine.demo.plan import Plan, draw_plan
from engine.demo.relief import raise_building, raise_trees
from engine.demo.season import Season
from engine.demo.terrain import Terrain, survey
from engine.demo.trees import Trees, place_trees

METRES_A_PIXEL = 0.4
"""Ground size of a scene pixel."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A planned piece of country; it can be rendered at any date."""

    plan: Plan
    terrain: Terrain
    buildings: tuple[Building, ...]
    trees: Trees

    def render(self, season: Season) -> NDArray[np.float32]:
        """The scene from straight above, [H, W, 3] float32 RGB in 0 to 1 (sRGB), without camera effects."""
        ground = paint_ground(self.plan, self.terrain, season)
        height = np.zeros(self.plan.shape, np.float32)
        rng = self.plan.rng(10)
        for building in self.buildings:
            raise_building(ground, height, building, rng)
        for car in place_movables(self.plan, self.terrain, self.buildings, season.index):
            raise_building(ground, height, car, rng)
        raise_trees(ground, height, self.trees, season, self.plan.rng(11))
        return np.asarray(np.sqrt(np.clip(lit(ground, height, season), 0.0, 1.0)))


def draw_scene(size: tuple[int, int], seed: int) -> Scene:
    """Plans a scene of `size` (width, height) pixels; the same seed gives the same scene."""
    plan = draw_plan(size, seed)
    terrain = survey(plan)
    buildings = place_buildings(plan, terrain)
    return Scene(plan, terrain, tuple(buildings), place_trees(plan, terrain, buildings))
