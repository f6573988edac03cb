"""Draw the images of README and of the pages on deformations: `python docs/generate/images.py`.

The networks in the figure of README are those of `make demo`; if missing, they are trained in about a minute.
"""

from __future__ import annotations

from pathlib import Path

import invariscope as iv
from invariscope import demo, zoo
from invariscope.lab.plots.deformation_phases import DeformationPhases
from invariscope.lab.plots.displacement_fields import DisplacementFields
from invariscope.lab.recipes.figures.drawing import draw_panels, save_figure
from invariscope.plots import PLOTS

IMAGES, DEMO = Path(__file__).parents[1] / "images", Path("invariscope-demo")


def layer_profile() -> None:
    """Draw both networks of the demonstration, layer by layer."""
    shown = demo.run(DEMO)  # reuses the networks of an earlier demonstration
    drawing = PLOTS.get("layer_profile").prepare([shown.plain, shown.rotated])
    save_figure(draw_panels([("", drawing)]), IMAGES / "layer_profile.svg")


def deformations() -> None:
    """Draw the fields and the images on the page about smooth deformations."""
    digits = zoo.load("mnist_subset", samples=32).images
    transform = iv.Diffeomorphism(4, delta_px=2)
    fields = DisplacementFields.prepare(transform, size=(28, 28), index=1, image=digits[1])
    save_figure(draw_panels([("", fields)]), IMAGES / "diffeomorphism_fields.png")
    phases = DeformationPhases.prepare(digits[1])
    save_figure(draw_panels([("", phases)]), IMAGES / "diffeomorphism_phases.png")


if __name__ == "__main__":
    deformations()
    layer_profile()
