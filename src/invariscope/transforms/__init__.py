"""What is done to an input, and what that should do to a feature map.

Every public class of this package's modules is exported here: a new family is one new file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invariscope.common.registry import snake_case, unknown
from invariscope.transforms.base import TRANSFORMS, Transform
from invariscope.transforms.machinery.given import as_transform

if TYPE_CHECKING:  # for editors and type checkers only; at run time `__getattr__` finds every family
    from invariscope.transforms.affine import Affine as Affine
    from invariscope.transforms.compose import Compose as Compose
    from invariscope.transforms.deformation import Deformation as Deformation
    from invariscope.transforms.deformation_ladder import DeformationLadder as DeformationLadder
    from invariscope.transforms.diffeomorphism import Diffeomorphism as Diffeomorphism
    from invariscope.transforms.diffeomorphism_augmentation import (
        DiffeomorphismAugmentation as DiffeomorphismAugmentation,
    )
    from invariscope.transforms.dihedral import Dihedral as Dihedral
    from invariscope.transforms.drawn import Drawn as Drawn
    from invariscope.transforms.elements import Elements as Elements
    from invariscope.transforms.flip import Flip as Flip
    from invariscope.transforms.grid import Grid as Grid
    from invariscope.transforms.inverse import Inverse as Inverse
    from invariscope.transforms.noise import Noise as Noise
    from invariscope.transforms.orthogonal import Orthogonal as Orthogonal
    from invariscope.transforms.periodic_translation import PeriodicTranslation as PeriodicTranslation
    from invariscope.transforms.permutations import Permutations as Permutations
    from invariscope.transforms.quarter_turns import QuarterTurns as QuarterTurns
    from invariscope.transforms.random_orthogonal import RandomOrthogonal as RandomOrthogonal
    from invariscope.transforms.random_permutations import RandomPermutations as RandomPermutations
    from invariscope.transforms.rotation import Rotation as Rotation
    from invariscope.transforms.scale import Scale as Scale
    from invariscope.transforms.shear import Shear as Shear
    from invariscope.transforms.translation import Translation as Translation
    from invariscope.transforms.vector_field import VectorField as VectorField

__all__ = ["TRANSFORMS", "Transform", "as_transform"]


def __getattr__(name: str) -> Any:
    if name.startswith("_") or not name[:1].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    classes = {cls.__name__: cls for cls in TRANSFORMS.classes().values()}
    if name not in classes:
        raise AttributeError(str(unknown("transform", snake_case(name), map(snake_case, classes))))
    return classes[name]


def __dir__() -> list[str]:
    return [*__all__, *(cls.__name__ for cls in TRANSFORMS.classes().values())]
