"""What a drawn clip may show. Each property can be switched off, to see what it adds; later draws then change too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SyntheticProperties:
    """Properties of synthetic clips; those of the motion are shared by both clips of a pair, the rest is drawn anew."""

    many: bool = True
    """Up to three things, which may hide each other; off, one alone."""
    jointed: bool = True
    """Limbs that swing on their body, of one or two links."""
    acceleration: bool = True
    """Speeds that change."""
    rotation: bool = True
    """Things that turn or swing as a whole."""
    scaling: bool = True
    """Things that grow, shrink or pulse."""
    deformation: bool = True
    """Things that shear to and fro."""
    periodic: bool = True
    """Paths to and fro, and round and round."""
    tempo: bool = True
    """Speeds and rates that differ by up to two octaves more from thing to thing."""
    camera: bool = True
    """A camera that pans, zooms and shakes."""
    background: bool = True
    """Backgrounds that drift by themselves."""
    light: bool = True
    """Light that grows, fades or flickers."""
    texture: bool = True
    """Patterns; off, everything has one plain colour."""
