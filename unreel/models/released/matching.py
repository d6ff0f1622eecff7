"""Whose network the tensors of a file are, and the tensors under our names; nothing that fits only in part is taken."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from unreel.errors import InputError, unknown_name_error
from unreel.io.text import format_count, join_words, preview_items
from unreel.models.registry import build_backbone
from unreel.models.released.layouts import LAYOUTS, Layout, ReleasedNetwork
from unreel.models.released.names import find_s3d_alias, to_s3d_name

WRAPPERS = {"state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "_orig_mod"}
COUNTER = "num_batches_tracked"
MIN_SHARE = 0.3  # of a network's names, for a file to count as an incomplete one and not as foreign


@dataclass(frozen=True)
class Candidate:
    """A network of a release that may be in a file under a prefix; names of the file by ours, as far as they are there.

    `part` is the prefix without what only wraps a network ("state_dict", "module").
    """

    layout: str
    network: ReleasedNetwork
    prefix: str
    found: Mapping[str, str]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    num_misshapen: int

    @property
    def part(self) -> str:
        return strip_wrappers(self.prefix)

    @property
    def is_whole(self) -> bool:
        return not self.missing and not self.extra

    @property
    def share(self) -> float:
        return len(self.found) / (len(self.found) + len(self.missing) + len(self.extra))


@dataclass(frozen=True)
class Match:
    """The network of a file: its release and part, its weights under our names, and what else the file holds."""

    candidate: Candidate
    weights: dict[str, Tensor]
    left_out: dict[str, str]

    def build(self) -> nn.Module:
        """The network with these weights, on the CPU."""
        network = build_on_meta(self.candidate.network)
        network.load_state_dict(self.weights, assign=True)
        return network.eval()


def match_tensors(tensors: Mapping[str, Tensor], layout: str = "", part: str = "") -> Match:
    """Find the network in a file's tensors. `layout` and `part` say where to look, otherwise it is recognised.

    Raises InputError, whose sentence goes on behind the name of the file.
    """
    if layout and layout not in LAYOUTS:
        raise unknown_name_error("release", layout, LAYOUTS)
    candidates = list_candidates(tensors, layout, part)
    if (layout or part) and not any(found.is_whole for found in candidates):
        refuse_another_choice(tensors, layout, part)
    chosen = choose_candidate(candidates, tensors, bool(part))
    weights = take_weights(chosen, tensors)
    return Match(chosen, weights, describe_rest(chosen, tensors))


def list_candidates(tensors: Mapping[str, Tensor], layout: str = "", part: str = "") -> list[Candidate]:
    """What may be in a file, of all releases or of one, anywhere or in one part."""
    layouts = {layout: LAYOUTS[layout]} if layout else LAYOUTS
    found = [c for name, about in layouts.items() for c in find_candidates(tensors, name, about, bool(layout))]
    return [c for c in found if c.part == strip_wrappers(part) or c.prefix == f"{part}."] if part else found


def refuse_another_choice(tensors: Mapping[str, Tensor], layout: str, part: str) -> None:
    """Raise InputError where a whole network is there, but of another release, or in another part than is asked for."""
    there = next((found for found in list_candidates(tensors) if found.is_whole), None)
    if there is None:
        return
    place = f" under '{there.prefix.rstrip('.')}'" if there.prefix else ""
    asked = f" of {layout}" * bool(layout) + f" under '{part}'" * bool(part)
    options = join_words(["--as"] * bool(layout) + ["--part"] * bool(part))
    raise InputError(
        f"it holds a {there.network.backbone} of {there.layout}{place}, and no network{asked}", f"leave out {options}"
    )


def find_candidates(
    tensors: Mapping[str, Tensor], name: str, layout: Layout, is_named: bool = False
) -> Iterator[Candidate]:
    """The networks of a release by each prefix under which some of their tensors lie; with `is_named` the user has said
    that it is this release, so that no mark is needed."""
    for network in layout.networks:
        theirs = {ours: network.rename(ours) for ours in read_shapes(network) if not ours.endswith(COUNTER)}
        if network.mark and not is_named and not any(network.mark in key for key in tensors):
            continue
        anchors = list(theirs.values())[:: max(1, len(theirs) // 8)]  # several, since a file may lack some
        prefixes = {key.removesuffix(a) for key in tensors for a in anchors if key == a or key.endswith(f".{a}")}
        for prefix in sorted(prefixes):
            found = {ours: prefix + key for ours, key in theirs.items() if prefix + key in tensors}
            missing = tuple(prefix + key for key in theirs.values() if prefix + key not in tensors)
            extra = find_extra(tensors, prefix, theirs, layout, network)
            shapes = read_shapes(network)
            misshapen = sum(tensors[key].shape != shapes[ours] for ours, key in found.items())
            yield Candidate(name, network, prefix, found, missing, extra, misshapen)


@lru_cache
def read_shapes(network: ReleasedNetwork) -> dict[str, torch.Size]:
    """The shapes of the tensors of a network by our names."""
    return {name: tensor.shape for name, tensor in build_on_meta(network).state_dict().items()}


def build_on_meta(network: ReleasedNetwork) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return build_backbone(network.backbone, **network.options)


def find_extra(
    tensors: Mapping[str, Tensor], prefix: str, theirs: Mapping[str, str], layout: Layout, network: ReleasedNetwork
) -> tuple[str, ...]:
    """Tensors beside those of the network that belong to the same chain of layers, so that it is another network.

    Heads, counters and second names of the same tensors do not, and neither does what lies in other modules.
    """
    known = set(theirs.values())
    roots = {key.partition(".")[0] for key in known}
    is_s3d = network.rename is to_s3d_name
    extra = []
    for key in tensors:
        rest = key.removeprefix(prefix) if key.startswith(prefix) else ""
        rest = find_s3d_alias(rest) if is_s3d else rest
        if rest.partition(".")[0] in roots and rest not in known and not rest.endswith(COUNTER):
            extra += [] if rest.startswith(layout.heads) else [key]
    return tuple(extra)


def choose_candidate(candidates: list[Candidate], tensors: Mapping[str, Tensor], is_named: bool) -> Candidate:
    """The network that is whole, in the part that its release uses; else the reason why there is none."""
    whole = [found for found in candidates if found.is_whole]
    for found in sorted(whole, key=lambda found: (rank_part(found), found.num_misshapen)):
        if is_named or found.part in LAYOUTS[found.layout].parts:
            return found
    if whole:
        parts = join_words([f"'{part}'" for part in dict.fromkeys(found.part for found in whole)])
        raise InputError(
            f"a {whole[0].network.backbone} of {whole[0].layout} under {parts}, where that release has none",
            "choose with --part",
        )
    best = max(candidates, key=lambda found: found.share, default=None)
    if best is None or best.share < MIN_SHARE:
        known = join_words([f"{name} ({', '.join(list_backbones(name))})" for name in LAYOUTS])
        raise InputError(
            f"{format_count(len(tensors), 'tensor')} ({preview_items(tensors, 2)}) that are none of the networks that "
            f"can be imported: {known}"
        )
    raise InputError(explain_incomplete(best))


def rank_part(found: Candidate) -> tuple[int, int]:
    """First the parts that a release uses, in their order, then those that it has beside them, then others."""
    about = LAYOUTS[found.layout]
    if found.part in about.parts:
        return 0, about.parts.index(found.part)
    return (1, 0) if found.part in about.others else (2, 0)


def list_backbones(layout: str) -> list[str]:
    return list(dict.fromkeys(network.backbone for network in LAYOUTS[layout].networks))


def explain_incomplete(found: Candidate) -> str:
    """Why a network that is there in part is not taken."""
    kinds = (("lacks", found.missing, ""), ("has", found.extra, " too many"))
    parts = [f"{verb} {format_count(len(keys), 'tensor')}{end}, first {keys[0]}" for verb, keys, end in kinds if keys]
    return f"nearest to {found.layout}'s {found.network.backbone}, but it {join_words(parts)}"


def take_weights(found: Candidate, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in float32 under our names. Raises InputError for other shapes and values that are no numbers."""
    weights: dict[str, Tensor] = {}
    for ours, shape in read_shapes(found.network).items():
        key = found.found.get(ours, found.prefix + found.network.rename(ours))
        if key not in tensors and ours.endswith(COUNTER):
            weights[ours] = torch.zeros((), dtype=torch.long)
            continue
        tensor = tensors[key]
        if tensor.shape != shape:
            name = f"{found.layout}'s {found.network.backbone}"
            raise InputError(f"'{key}' has the shape {tuple(tensor.shape)}, {name} has {tuple(shape)}")
        weights[ours] = tensor.long() if ours.endswith(COUNTER) else convert_weight(key, tensor)
    check_aliases(found, tensors)
    return weights


def convert_weight(key: str, tensor: Tensor) -> Tensor:
    """A weight as float32 with memory of its own. Raises InputError where it holds what is no number."""
    is_plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and tensor.is_floating_point()
    if not is_plain or not bool(torch.isfinite(tensor.float()).all()):
        raise InputError(f"'{key}' holds values that are no finite numbers; get the file again")
    return tensor.float().clone(memory_format=torch.contiguous_format)


def check_aliases(found: Candidate, tensors: Mapping[str, Tensor]) -> None:
    """Raises InputError where S3D's two names of a tensor have different values: it is not known which were used."""
    if found.network.rename is not to_s3d_name:
        return
    for key in (key for key in tensors if key.startswith(found.prefix)):
        first = found.prefix + find_s3d_alias(key.removeprefix(found.prefix))
        if first != key and first in tensors and not torch.equal(tensors[first], tensors[key]):
            raise InputError(f"'{key}' and '{first}' are one tensor in the release, but differ; get the file again")


def describe_rest(found: Candidate, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What of the file is not used: modules, the number of tensors of each, and what it is where that is known."""
    used = set(found.found.values())
    others = LAYOUTS[found.layout].others
    counts: dict[str, int] = {}
    for key in tensors:
        is_twin = key.startswith(found.prefix) and find_s3d_alias(key.removeprefix(found.prefix)) != key.removeprefix(
            found.prefix
        )
        if key not in used and not key.endswith(COUNTER) and not is_twin:
            name = strip_wrappers(key)
            module = next((other for other in others if name.startswith(f"{other}.")), name.partition(".")[0])
            counts[module] = counts.get(module, 0) + 1
    return {
        module: format_count(count, "tensor") + (f", {others[module]}" if module in others else "")
        for module, count in counts.items()
    }


def strip_wrappers(name: str) -> str:
    """A name or prefix without the words in front of it that only wrap a network, and without the last dot.

    >>> strip_wrappers("state_dict.module.encoder_q.0."), strip_wrappers("model.")
    ('encoder_q.0', '')
    """
    words = name.rstrip(".").split(".")
    while words and words[0] in WRAPPERS:
        words = words[1:]
    return ".".join(words)
