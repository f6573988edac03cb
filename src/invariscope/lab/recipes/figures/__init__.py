"""Figures of a page: those that a recipe declares, and one per claim."""

from invariscope.lab.recipes.figures.claims import draw_claims
from invariscope.lab.recipes.figures.declared import FOLDER, DrawnFigure, check_figures, draw_all

__all__ = ["FOLDER", "DrawnFigure", "check_figures", "draw_all", "draw_claims"]
