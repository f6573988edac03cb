"""Figures of a page: those that a recipe declares, and those of tables and claims."""

from invariscope.lab.recipes.figures.claims import draw_claims
from invariscope.lab.recipes.figures.declared import FOLDER, DrawnFigure, check_figures, draw_all
from invariscope.lab.recipes.figures.tables import draw_tables

__all__ = ["FOLDER", "DrawnFigure", "check_figures", "draw_all", "draw_claims", "draw_tables"]
