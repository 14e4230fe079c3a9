"""Pictures of matched pairs. `draw_pair` paints one; nothing here reads or writes files."""

from engine.drawing.picture import MODES, TOKEN_MODES, draw_pair
from engine.drawing.scene import PairScene, TokenScene
from engine.drawing.strokes import Strokes

__all__ = ["MODES", "TOKEN_MODES", "PairScene", "Strokes", "TokenScene", "draw_pair"]
