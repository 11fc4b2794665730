"""StyleCLIP, global directions: from words to channels of s, through what a picture-and-text model says of each channel.

Paper    Patashnik, Wu, Shechtman, Cohen-Or & Lischinski, StyleCLIP: Text-Driven Manipulation of StyleGAN Imagery, ICCV 2021 (section 6)
Matches  each channel is set to its mean ± 5 σ, the mean change of the pictures' embeddings is its relevance (a unit row of R); a text
         direction is the difference of two phrases, each the mean over prompt templates; channels by R·Δt, zero below `beta`, divided by
         the largest, times σ; convolutions' channels up to 128 px; unit="published" is the paper's α
Differs  the templates are our own and fewer; 32 pictures a channel for 100; renders begin at the channel's own layer; what was
         found for a layer is remembered, so an interrupted run goes on
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .. import cache
from ..artifact import fingerprint
from ..errors import MethodFailed, SettingError, need
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Direction, Paths
from ..record import Record
from .discoverer import Discoverer, Supervision, counting
from .moves import population
from .places import points

MEAN, STD = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)  # of the pictures that CLIP was trained on
TEMPLATES = (
    "a photo of {}", "a picture of {}", "a close-up photo of {}", "a bright photo of {}", "a dark photo of {}", "a blurry photo of {}",
    "a good photo of {}", "a bad photo of {}", "a drawing of {}", "a painting of {}", "a render of {}", "a cropped photo of {}",
)  # fmt: skip
BATCH = 16  # pictures rendered at once


@dataclass(frozen=True)
class Relevance(Record):
    """What each channel of a layer does to the embedding of a picture: rows of length 1 (0 where it does nothing)."""

    rows: Float[Tensor, "c e"]


class Clip:
    """A CLIP checkpoint in a local folder: pictures and phrases to unit vectors. Nothing is fetched, no code of the folder is run.

    Raises MissingExtra without `transformers`, SettingError for a folder that holds none.
    """

    def __init__(self, folder: str, device: torch.device):
        if not folder or not File(folder).is_dir():
            raise SettingError(
                f"styleclip-global: clip={folder!r} is no folder; give one with a CLIP checkpoint as transformers saves it "
                "(config.json, model.safetensors and the tokenizer's files)"
            )
        models: Any = need("transformers", "clip", "styleclip-global")
        told = {"local_files_only": True, "trust_remote_code": False}
        try:
            self.model = models.CLIPModel.from_pretrained(folder, use_safetensors=True, **told).to(device).eval()
            self.tokenizer = models.AutoTokenizer.from_pretrained(folder, **told)
        except (OSError, ValueError, KeyError) as error:
            raise SettingError(f"styleclip-global: {folder} holds no CLIP checkpoint: {str(error)[:200]}") from error
        self.model.requires_grad_(False)
        self.device = device
        self.side = int(self.model.config.vision_config.image_size)
        self.length = int(self.model.config.text_config.max_position_embeddings)
        self.width = int(self.model.config.projection_dim)

    @property
    def key(self) -> str:
        return fingerprint(self.model.state_dict())

    @torch.no_grad()
    def pictures(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n e"]:
        side = (self.side, self.side)
        x = F.interpolate(images.float().clamp(-1, 1), side, mode="bicubic", antialias=True, align_corners=False)
        mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (MEAN, STD))
        seen = self.model.vision_model(pixel_values=(x / 2 + 0.5 - mean) / std)
        return F.normalize(self.model.visual_projection(seen.pooler_output))

    @torch.no_grad()
    def phrase(self, text: str) -> Float[Tensor, " e"]:
        """The mean over templates, of length 1."""
        said = [template.format(text) for template in TEMPLATES]
        tokens = self.tokenizer(said, padding=True, truncation=True, max_length=self.length, return_tensors="pt")
        read = self.model.text_model(
            input_ids=tokens["input_ids"].to(self.device), attention_mask=tokens["attention_mask"].to(self.device)
        )
        each = F.normalize(self.model.text_projection(read.pooler_output))
        return F.normalize(each.mean(0), dim=0)


@final
@dataclass(frozen=True, kw_only=True)
class StyleCLIP(Discoverer):
    """One path for each phrase: the channels of s that change pictures from `neutral` towards it."""

    name: ClassVar = "styleclip-global"
    paper: ClassVar = "patashnik2021styleclip"
    tags: ClassVar = frozenset({"text"})
    needs: ClassVar = ("s",)

    clip: str = param("", "folder with a CLIP checkpoint, as transformers saves it")
    target: str = param("a smiling face", "phrases, one path each, separated by ;")
    neutral: str = param("a face", "the phrase that pictures fit before")
    beta: float = param(
        0.13, "least relevance of a channel; more channels and less care below, .08 to .4 in the paper", ge=0
    )
    layers: str = param("all", "layers whose channels are considered")
    largest: int = param(128, "height in px up to which layers are considered", ge=4)
    n: int = param(32, "pictures on which each channel is tried; the paper takes 100", ge=1)
    reach: float = param(5.0, "how far channels are moved from their mean, to both sides, in σ", ge=0.01)
    codes: int = param(10_000, "codes for the mean and spread of each channel; the paper takes 100,000", ge=100)
    psi: float = param(1.0, "truncation of the pictures")
    seed: int = param(0, "of the first picture", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space = generator.space("s")
        clip = Clip(self.clip, generator.device)
        phrases = [part.strip() for part in self.target.split(";") if part.strip()]
        if not phrases or not self.neutral.strip():
            raise SettingError(
                "styleclip-global needs a target phrase and a neutral one, such as 'a smiling face' and 'a face'"
            )
        allowed = self.allowed(generator)
        mean, std = self.population(generator)
        R = self.relevance(generator, clip, mean, std, allowed, progress)
        before = clip.phrase(self.neutral)
        items, notes = [], {}
        for text in phrases:
            change = F.normalize(clip.phrase(text) - before, dim=0).cpu()
            amounts = R @ change
            largest = float(amounts.abs().max())
            kept = amounts.abs() >= self.beta
            if not kept.any() or largest == 0:
                raise MethodFailed(
                    f"no channel is relevant to {text!r} (the largest has {largest:.3f}); lower beta, which is {self.beta:g}"
                )
            vector = torch.where(kept, amounts / largest, 0.0) * std
            items.append(counting(Direction.along(text, vector, space, generator), float(vector.norm())))
            notes[text] = {"channels": int(kept.sum()), "of": int(allowed.sum()), "largest relevance": largest}
        return Paths(tuple(items), {"neutral": self.neutral, "phrases": notes})

    def allowed(self, generator: Generator) -> Tensor:
        """bool [c]: channels of convolutions (not of image heads) in layers that are small enough."""
        chosen = generator._where("s", self.layers)
        for layer in generator.layers:
            if layer.head or layer.picture[0] > self.largest:
                chosen[layer.style] = False
        if not chosen.any():
            raise SettingError(f"styleclip-global: layers={self.layers!r} up to {self.largest} px hold no channel")
        return chosen

    def population(self, generator: Generator) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Mean and standard deviation of each channel."""
        mean, variance = population(generator, self.codes, seed=self.seed + 1, psi=self.psi)
        return mean.float(), variance.sqrt().float()

    @torch.no_grad()
    def relevance(
        self, generator: Generator, clip: Clip, mean: Tensor, std: Tensor, allowed: Tensor, progress: Progress
    ) -> Float[Tensor, "c e"]:
        """R; rows of channels that are not considered are 0."""
        samples = points(generator, "s", self.n, seed=self.seed, psi=self.psi)
        weights = fingerprint(generator.net.state_dict())
        maker = (
            f"{weights} {clip.key} n {self.n} reach {self.reach:g} psi {self.psi:g} seed {self.seed} codes {self.codes}"
        )
        found = torch.zeros(len(mean), clip.width)
        parts = [slice(a, min(a + BATCH, self.n)) for a in range(0, self.n, BATCH)]
        states = [generator.start(samples[rows]) for rows in parts]
        wanted, at = [i for i, layer in enumerate(generator.layers) if allowed[layer.style].any()], 0
        for i in progress.over(wanted, f"Relevance of {int(allowed.sum())} channels, layer by layer", len(wanted)):
            for before in range(at, i):
                states = [
                    generator.layer(before, state, samples[rows], grad=False)
                    for rows, state in zip(parts, states, strict=True)
                ]
            at, style = i, generator.layers[i].style
            chosen = style.start + allowed[style].nonzero()[:, 0]

            def one(column: int, i: int = i, states: list[Any] = states) -> Tensor:
                ways = []
                for rows, state in zip(parts, states, strict=True):
                    sides = []
                    for side in (1, -1):
                        moved = samples[rows].values.clone()
                        moved[:, column] = mean[column] + side * self.reach * std[column]
                        sides.append(clip.pictures(generator.tail(i, state, samples[rows].at(moved))))
                    ways.append(F.normalize(sides[0] - sides[1]))
                return F.normalize(torch.cat(ways).mean(0), dim=0).float().cpu()

            key = f"{maker} layer {i} channels {chosen.tolist()}"
            found[chosen] = cache.remembered(Relevance, "styleclip", key, _made(one, chosen)).rows
        return found


def _made(one: Callable[[int], Tensor], chosen: Tensor) -> Callable[[], Relevance]:
    return lambda: Relevance(torch.stack([one(c) for c in chosen.tolist()]))
