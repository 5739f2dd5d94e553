"""One motif for each theme of the demo catalogue."""

from collections.abc import Callable

from drawing.motifs.castles import castles
from drawing.motifs.cooking import cooking
from drawing.motifs.desert import desert
from drawing.motifs.football import football
from drawing.motifs.forest import forest
from drawing.motifs.garden import garden
from drawing.motifs.jazz import jazz
from drawing.motifs.mountains import mountains
from drawing.motifs.noir import noir
from drawing.motifs.robots import robots
from drawing.motifs.sea import sea
from drawing.motifs.space import space
from drawing.motifs.trains import trains
from drawing.motifs.winter import winter
from drawing.paint import Scene

Motif = Callable[[Scene], None]

MOTIFS: dict[str, Motif] = {
    "castles": castles,
    "cooking": cooking,
    "desert": desert,
    "football": football,
    "forest": forest,
    "garden": garden,
    "jazz": jazz,
    "mountains": mountains,
    "noir": noir,
    "robots": robots,
    "sea": sea,
    "space": space,
    "trains": trains,
    "winter": winter,
}

__all__ = ["MOTIFS", "Motif"]
