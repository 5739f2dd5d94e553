"""Colours that several motifs share."""

from drawing.paint import rgb

DAY = (rgb("4FA8DD"), rgb("A9DBF2"), rgb("F4F6E6"))
SUNSET = (rgb("4B2E7F"), rgb("D9567A"), rgb("FFB65C"))
DAWN = (rgb("7B8FD6"), rgb("F3B9C6"), rgb("FFE6B8"))
NIGHT = (rgb("0C1440"), rgb("20317A"), rgb("4C62B0"))
CREAM = rgb("FFF3D6")
GOLD = rgb("FFD166")
BRASS = rgb("F2B632")
