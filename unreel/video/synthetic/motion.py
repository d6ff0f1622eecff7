"""How the things of a synthetic clip move: drawn once for a pair, evaluated at any time.

Lengths are shares of the frame's height, x to the right and y down; times are seconds, angles radians, clockwise. A
thing is a body with up to two limbs; a limb has one or two links, each of which swings on what it hangs on.
"""

from dataclasses import dataclass

import numpy as np

from unreel.video.synthetic.properties import SyntheticProperties

MAX_LIMBS = 2
TEMPO_OCTAVES = 1.0  # either way, so two in all


@dataclass(frozen=True)
class Wave:
    """amplitude * sin(rate * t + phase)."""

    amplitude: float = 0.0
    rate: float = 0.0
    phase: float = 0.0

    def at(self, t_T: np.ndarray) -> np.ndarray:
        """Its values (T,) at times (T,)."""
        return self.amplitude * np.sin(self.rate * t_T + self.phase)


@dataclass(frozen=True)
class Link:
    """A part of a limb: where it hangs on its parent (x and y in the parent's coordinates), its length as a share of
    the body's size, its angle at rest against the parent, and its swing."""

    anchor: tuple[float, float]
    length: float
    rest: float
    swing: Wave


@dataclass(frozen=True)
class Thing:
    """A body that moves, and the limbs on it, each a chain of links.

    place, velocity, acceleration: of the centre at time 0. across: its path to and fro, a line or an orbit. angle,
    spin, swing: how it is turned, its turn per second, its swing. size, growth, pulse: half its length, log size per
    second, and the share by which it swells and shrinks. shear: how far it leans, to and fro.
    """

    place: tuple[float, float]
    velocity: tuple[float, float]
    acceleration: tuple[float, float]
    across: tuple[Wave, Wave]
    angle: float
    spin: float
    swing: Wave
    size: float
    growth: float
    pulse: Wave
    shear: Wave
    limbs: tuple[tuple[Link, ...], ...]


@dataclass(frozen=True)
class Motion:
    """What both clips of a pair show: the things, from the one behind to the one in front."""

    things: tuple[Thing, ...]

    @property
    def is_limb(self) -> tuple[bool, ...]:
        """For each part, in the order of drawing, whether it is a link of a limb."""
        return tuple(
            is_limb for thing in self.things for is_limb in (False, *(True for limb in thing.limbs for _ in limb))
        )


def draw_motion(rng: np.random.Generator, properties: SyntheticProperties) -> Motion:
    """One to three things with their motions."""
    count = rng.choice((1, 1, 1, 2, 2, 3)) if properties.many else 1
    return Motion(tuple(_draw_thing(rng, properties) for _ in range(count)))


def _draw_thing(rng: np.random.Generator, on: SyntheticProperties) -> Thing:
    """A thing and its motion; each kind of motion is there with a probability of its own."""
    tempo = 2.0 ** rng.uniform(-TEMPO_OCTAVES, TEMPO_OCTAVES) if on.tempo else 1.0
    rate = 2 * np.pi * tempo * rng.uniform(0.8, 2.2)
    heading = rng.uniform(0, 2 * np.pi)
    speed = tempo * rng.uniform(0.1, 0.8) * (rng.random() < 0.6)
    push = rng.normal(0, 0.5, 2) * tempo * (on.acceleration and rng.random() < 0.5)
    swings = on.periodic and rng.random() < 0.5
    reach, direction = swings * rng.uniform(0.03, 0.25) / max(tempo, 0.7), rng.uniform(0, 2 * np.pi)
    lag = rng.choice([0.0, np.pi / 2]) if swings else 0.0  # a line, or an orbit
    phase = rng.uniform(0, 2 * np.pi)
    jointed = on.jointed and rng.random() < 0.6
    return Thing(
        place=(rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8)),
        velocity=(speed * np.cos(heading), speed * np.sin(heading)),
        acceleration=(push[0], push[1]),
        across=(Wave(reach * np.cos(direction), rate, phase), Wave(reach * np.sin(direction), rate, phase + lag)),
        angle=rng.uniform(0, 2 * np.pi),
        spin=tempo * rng.normal(0, 2.0) * (on.rotation and rng.random() < 0.35),
        swing=Wave(rng.uniform(0.2, 1.0) * (on.rotation and rng.random() < 0.35), rate, rng.uniform(0, 2 * np.pi)),
        size=float(np.exp(rng.uniform(np.log(0.10), np.log(0.32)))),
        growth=tempo * rng.normal(0, 0.6) * (on.scaling and rng.random() < 0.3),
        pulse=Wave(rng.uniform(0.1, 0.4) * (on.scaling and rng.random() < 0.2), rate, rng.uniform(0, 2 * np.pi)),
        shear=Wave(rng.uniform(0.2, 0.7) * (on.deformation and rng.random() < 0.2), rate, rng.uniform(0, 2 * np.pi)),
        limbs=tuple(_draw_limb(rng, rate) for _ in range(rng.integers(1, MAX_LIMBS + 1))) if jointed else (),
    )


def _draw_limb(rng: np.random.Generator, body_rate: float) -> tuple[Link, ...]:
    """One or two links; half of the limbs keep the time of their body."""
    rate = body_rate if rng.random() < 0.5 else 2 * np.pi * rng.uniform(0.5, 3.0)
    links = []
    for k in range(rng.integers(1, 3)):
        anchor = (rng.uniform(-0.6, 0.6), rng.uniform(-0.9, 0.9)) if k == 0 else (0.0, 0.9)
        swing = Wave(rng.uniform(0.2, 1.3), rate, rng.uniform(0, 2 * np.pi))
        links.append(Link(anchor, rng.uniform(0.5, 1.1) * 0.8**k, rng.uniform(-np.pi, np.pi) / (1 + k), swing))
    return tuple(links)


def compute_poses(thing: Thing, t_T: np.ndarray) -> list[np.ndarray]:
    """The affine maps (T, 2, 3) of body and links at times (T,): from part coordinates, [-1, 1] both ways with the long
    side along y, to the frame's, in heights."""
    drift_2T = [
        start + speed * t_T + push * t_T**2 / 2 + wave.at(t_T)
        for start, speed, push, wave in zip(thing.place, thing.velocity, thing.acceleration, thing.across, strict=True)
    ]
    size_T = thing.size * np.exp(np.clip(thing.growth * t_T, -1, 1)) * (1 + thing.pulse.at(t_T))
    angle_T = thing.angle + thing.spin * t_T + thing.swing.at(t_T)
    body_T22 = size_T[:, None, None] * (_rotate(angle_T) @ _shear(thing.shear.at(t_T)))
    body_T23 = np.concatenate([body_T22, np.stack(drift_2T, axis=1)[..., None]], axis=2)
    poses = [body_T23]
    for limb in thing.limbs:
        parent_T23, angle = body_T23, angle_T
        for link in limb:
            joint_T2 = parent_T23[:, :, :2] @ np.array(link.anchor) + parent_T23[:, :, 2]
            angle = angle + link.rest + link.swing.at(t_T)
            turn_T22 = (size_T * link.length)[:, None, None] * _rotate(angle)
            centre_T2 = joint_T2 + turn_T22 @ np.array([0.0, 0.9])  # the joint is near the end of the link
            parent_T23 = np.concatenate([turn_T22, centre_T2[..., None]], axis=2)
            poses.append(parent_T23)
    return poses


def _rotate(angle_T: np.ndarray) -> np.ndarray:
    turns = np.empty((len(angle_T), 2, 2))
    turns[:, 0, 0] = turns[:, 1, 1] = np.cos(angle_T)
    turns[:, 1, 0] = np.sin(angle_T)
    turns[:, 0, 1] = -turns[:, 1, 0]
    return turns


def _shear(amount_T: np.ndarray) -> np.ndarray:
    shears = np.zeros((len(amount_T), 2, 2))
    shears[:, 0, 0] = shears[:, 1, 1] = 1
    shears[:, 0, 1] = amount_T
    return shears
