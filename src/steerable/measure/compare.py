"""Methods of one verb on one generator, judged alike: same people, same scores, same seeds, controls beside.

A method finds paths (labels are shared, work is kept in the cache). On people that nothing was learned from, the best path for each target
is chosen by the re-scoring matrix and brought to the strength that raises the target by one standard deviation; on other people again it
is judged there: the effect, what leaks, whether the person is kept, whether the response rises and is straight, the same for other seeds.
Where the generator knows its own truth, effects and leakage are read from it, and paths and pictures are held against the true edit.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from inspect import getfile
from pathlib import Path as File
from typing import Any

import torch
from torch import Tensor

from .. import artifact, cache
from ..edit import Edit
from ..errors import MethodFailed, SettingError, SteerableError, UnknownName
from ..generator import Generator
from ..method import Method, Progress, quiet
from ..path import Paths
from ..record import Record
from ..score import SCORERS, Scorer, Table, score
from ..score.labels import label, reading_size, truncation
from .comparison import FIGURES, Comparison, Contender, Judged
from .directions import Figure, Reader, Trial, chosen, matched, rescoring, same, trial
from .effects import Look, Same
from .entrants import Entrant, Limited, blank, code, defaults, entrants
from .truth import Agreement, Distance, TrueEdit, Truth, set_scores

HELD_OUT, CHOSEN_ON = 1_000_000, 2_000_000  # first seeds of the people
MOST = 60  # paths of a method that are looked at
SET = 40  # paths of which set scores are taken, all of them as a rule: they depend on the number


@dataclass(frozen=True)
class Found(Record):
    """What is kept of a discovery."""

    paths: Paths
    seconds: float


@dataclass(frozen=True)
class Rules:
    """How a comparison is made.

    Each method begins anew `seeds` times; `judged_seeds` of them (else all) are judged, the others tell stability alone. `people` held-out
    samples judge, `chosen_on` others choose paths, `pictures` of the first are compared with true edits; no path goes further than `reach`
    standard deviations. `labels` pictures (else as quick.toml says) give the scores' standard deviations and teach. `size` reads previews
    where the scorer vouches for them. `settings` maps a method's name to settings; `identity` and `distance` compare pictures (LPIPS, say).
    """

    seeds: int = 2
    psi: float = 1.0
    people: int = 24
    chosen_on: int = 8
    pictures: int = 12
    labels: int | None = None
    size: int | None = None
    reach: float = 4.0
    judged_seeds: int | None = None
    controls: bool = True
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    identity: Same | None = None
    distance: Distance | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.people < 2 or self.chosen_on < 2:
            told = f"{self.seeds}, {self.people} and {self.chosen_on}"
            raise SettingError(f"a comparison takes a seed and two people of each kind; got {told}")

    @property
    def first(self) -> list[Edit]:
        return truncation(self.psi)

    def told(self) -> dict[str, Any]:
        """JSON values, for the record."""
        return {
            "psi": self.psi,
            "people": self.people,
            "first person": HELD_OUT,
            "chosen on": self.chosen_on,
            "first of these": CHOSEN_ON,
            "pictures": self.pictures,
            "reach": self.reach,
            "seeds": self.seeds,
            "judged seeds": self.judged_seeds or self.seeds,
            "identity": self.identity is not None,
            "distance": self.distance is not None,
        }


@dataclass(frozen=True)
class Plan:
    """A comparison before it is made. `contender` judges one entrant, so that several processes can share the work."""

    generator: Generator
    entrants: tuple[Entrant, ...]
    reader: Reader
    supervision: Scorer | Table
    targets: tuple[str, ...]
    rules: Rules
    how: Mapping[str, Any] = field(default_factory=dict)

    def made(self, contenders: Iterable[Contender]) -> Comparison:
        return Comparison(
            generator=self.generator.name,
            fingerprint=self.generator.fingerprint,
            targets=self.targets,
            scores=self.reader.names,
            how=self.how,
            contenders=tuple(contenders),
        )

    def contender(self, entrant: Entrant, progress: Progress = quiet) -> Contender:
        """What one entrant achieves; kept, so that it is made once. A method that cannot take part says why."""
        empty = blank(entrant)
        if entrant.reason:
            return replace(empty, reason=entrant.reason)
        key = json.dumps([self._key, entrant.name, entrant.seeds, empty.settings, code(entrant.method)], default=str)
        try:
            return cache.remembered(Contender, "compared", key, lambda: self._judged(entrant, empty, progress))
        except SteerableError as error:
            progress.note(f"{entrant.name}: {error}")
            return replace(empty, reason=str(error))

    # -- one method -----------------------------------------------------------------------------------------------------------------

    def _judged(self, entrant: Entrant, empty: Contender, progress: Progress) -> Contender:
        found = [self.discovered(entrant, seed, progress) for seed in entrant.seeds]
        sets = [list(f.paths)[:MOST] for f in found]
        if min(len(paths) for paths in sets) == 0:
            raise MethodFailed(f"{entrant.name} found no path")
        tables = []
        for paths in progress.over(sets, f"{entrant.name}: choosing paths", len(sets)):
            tables.append(rescoring(self.reader, self._choosers, paths))
        judged = []
        for target in progress.over(self.targets, f"{entrant.name}: judging targets", len(self.targets)):
            judged.append(self._target(target, sets, tables))
        return replace(
            empty,
            seconds=sum(f.seconds for f in found) / len(found),
            paths=len(found[0].paths),
            judged=tuple(judged),
            sets=self._sets(sets[0]),
        )

    def discovered(self, entrant: Entrant, seed: int, progress: Progress) -> Found:
        if entrant.method is None:
            assert self.reader.truth is not None
            return Found(self.reader.truth.knowing.truth(), 0.0)
        method = entrant.seeded(seed)

        def make() -> Found:
            for space in method.needs:
                self.generator.space(space)
            begun = time.process_time()
            limited = Limited(progress, entrant.budget, entrant.name)
            paths = method.discover(self.generator, supervision=self.supervision, progress=limited)
            return Found(paths, time.process_time() - begun)

        settings = json.dumps(method.settings(), default=str)
        key = f"{self._weights} {method.name} {settings} {self.supervision.key} {code(method)}"
        return cache.remembered(Found, "discovered", key, make)

    def _target(self, target: str, sets: Sequence[Sequence[Any]], tables: Sequence[tuple[Tensor, Tensor]]) -> Judged:
        column = self.reader.names.index(target)
        best, choices, trials, agreements = [], [], [], []
        for paths, (slopes, errors) in zip(sets, tables, strict=True):
            choice = chosen(slopes, errors, column, self.rules.reach)
            path = paths[choice.number]
            choice = matched(self.reader, self._choosers, path, column, choice, self.rules.reach)
            best.append(path)
            choices.append(choice)
            if len(trials) == (self.rules.judged_seeds or self.rules.seeds):
                continue
            trials.append(trial(self.reader, self._people, path, choice.t, column, self._shown(path)))
            if self.reader.truth is not None:
                agreements.append(self._true_edit(target).compared(path.at(choice.t), self.rules.distance))
        return _combined(target, column, self.reader.names, best, choices, trials, agreements)

    def _sets(self, paths: Sequence[Any]) -> dict[str, float]:
        """DCI and the others, by known truth only: elsewhere there are no factors."""
        truth = self.reader.truth
        return set_scores(truth, paths[:SET], self.reader.look.first) if truth is not None else {}

    def _shown(self, path: Any) -> Tensor | None:
        """The plain pictures of the held-out people, made once, if they are looked at."""
        seen = self.reader.look.identity is not None or not self.reader.exact(path, self._people[:1])
        return self._plain if seen else None

    def _true_edit(self, target: str) -> TrueEdit:
        truth, spreads = self.reader.truth, self.reader.exact_spreads
        assert truth is not None
        assert spreads is not None
        if target not in self._true_edits:
            people, first = self._people[: self.rules.pictures], self.reader.look.first
            by = float(spreads[self.reader.names.index(target)])
            self._true_edits[target] = truth.truly_edited(people, first, target, by)
        return self._true_edits[target]

    @cached_property
    def _plain(self) -> Tensor:
        return self.reader.images(self._people)

    @cached_property
    def _true_edits(self) -> dict[str, TrueEdit]:
        return {}

    @cached_property
    def _people(self) -> Any:
        return self.generator.sample(self.rules.people, seed=HELD_OUT)

    @cached_property
    def _choosers(self) -> Any:
        return self.generator.sample(self.rules.chosen_on, seed=CHOSEN_ON)

    @cached_property
    def _weights(self) -> str:
        return f"{self.generator.fingerprint} {artifact.fingerprint(self.generator.net.state_dict())}"

    @cached_property
    def _key(self) -> str:
        own = [
            getfile(import_module(f".{name}", __package__))
            for name in ("compare", "entrants", "directions", "truth", "disentanglement")
        ]
        written = hashlib.sha256(b"".join(File(f).read_bytes() for f in own)).hexdigest()[:16]
        told = (
            self.reader.look.scorer.key,
            self.targets,
            self.rules.people,
            self.rules.chosen_on,
            self.rules.pictures,
            self.rules.reach,
            dict(self.how),
        )
        return json.dumps([self._weights, self.supervision.key, told, written], default=str)


Methods = Sequence[str | Method] | Mapping[str, str | Method]


def planned(
    kind: str,
    generator: Generator,
    methods: Methods,
    rules: Rules,
    scores: str | Scorer | None = None,
    targets: Sequence[str] | None = None,
    supervision: Scorer | Table | None = None,
    progress: Progress = quiet,
) -> Plan:
    """A comparison, ready to be made; pictures are labeled now."""
    truth = Truth.of(generator)
    scorer, listed = judge(scores, generator)
    targets = targets or listed
    for name in targets:
        if name not in scorer.names:
            raise UnknownName("target among the scores", name, scorer.names)
    quick = defaults(generator)
    labels = rules.labels or int(quick["labels"])
    size = reading_size(generator, scorer, rules.size, progress)
    truth = truth if truth is not None and truth.names == tuple(scorer.names) else None
    shared, spaces = {"n": labels, "psi": rules.psi, "size": size}, [s.name for s in generator.spaces]
    names = list(methods) if isinstance(methods, Mapping) else []
    asked = list(methods.values()) if isinstance(methods, Mapping) else methods
    entered = entrants(
        kind, asked, rules.seeds, quick, shared, rules.settings, rules.controls, truth is not None, spaces
    )
    entered = (*(replace(e, name=n) for n, e in zip(names, entered, strict=False)), *entered[len(names) :])
    known = label(generator, scorer, labels, psi=rules.psi, size=size, progress=progress).spread()
    reader = Reader(
        Look(generator, scorer, rules.psi, size, rules.identity),
        torch.tensor([known.get(name) or 1.0 for name in scorer.names], dtype=torch.float64),
        truth,
        None if truth is None else truth.spread(rules.first),
    )
    supervision = supervision or scorer
    how = {
        "scorer": scorer.name,
        "supervision": supervision.name,
        "labels": labels,
        "size": size,
        "truth": truth is not None,
    }
    return Plan(generator, entered, reader, supervision, tuple(targets), rules, {**how, **rules.told()})


def judge(scores: str | Scorer | None, generator: Generator) -> tuple[Scorer, Sequence[str]]:
    """The scorer meant by names such as "age,smile,yaw", and the targets: whole scorers, so that leakage is looked for beyond them.

    A generator that knows its truth is read by the scorer of its factors where nothing is said. Raises SettingError, UnknownName.
    """
    truth = Truth.of(generator)
    if isinstance(scores, Scorer):
        return scores, scores.names
    of_truth = [name for name, s in SCORERS.items() if truth is not None and getattr(s, "names", None) == truth.names]
    if scores is None and not of_truth:
        raise SettingError(f"say which scores judge, such as scores='age,smile,yaw'; there is: {', '.join(SCORERS)}")
    listed, parts = [name.strip() for name in scores.split(",")] if scores else of_truth, []
    for name in listed:
        wholes = [w for w in (*of_truth, *SCORERS) if name in getattr(SCORERS[w], "names", ())]
        parts.append(name if name in SCORERS and not of_truth else wholes[0] if wholes else name)
    made = score("+".join(dict.fromkeys(parts)))
    if not isinstance(made, Scorer):
        raise SettingError(f"{made!r} cannot look at pictures; give it as supervision, and a scorer as scores")
    return made, [name for name in listed if name in made.names] or made.names


# -- what seeds have to say together ------------------------------------------------------------------------------------------------


def _combined(
    target: str,
    column: int,
    names: Sequence[str],
    best: Sequence[Any],
    choices: Sequence[Any],
    trials: Sequence[Trial],
    agreements: Sequence[Agreement],
) -> Judged:
    leaks = [t.leaks(column) for t in trials]
    per_person: dict[str, list[Tensor]] = {
        "effect": [t.change[:, column] for t in trials],
        "leakage": [leak.nanmean(1) for leak in leaks],
        "rising": [t.rising for t in trials],
        "linear": [t.linear for t in trials],
        "identity": [t.identity for t in trials],
    }
    for name in ("angle", "correlation", "psnr", "perceptual"):
        found = [v for a in agreements if (v := getattr(a, name)) is not None]
        per_person[name] = found if len(found) == len(trials) else []
    figures = {name: Figure.of(torch.stack(v).mean(0)) for name, v in per_person.items() if v}
    assert set(figures) <= set(FIGURES)
    each = torch.stack([leak.nanmean(0) for leak in leaks]).mean(0).nan_to_num(-1)  # -1 where nobody could be read
    others = [name for name in names if name != target]
    changes = torch.stack([t.change.nanmean(0) for t in trials])
    seeds = {
        name: float(torch.stack([v.nanmean() for v in per_person[name]]).std())
        for name in ("effect", "leakage", "correlation")
        if len(per_person[name]) > 1
    }
    pairs = [(i, j) for i in range(len(best)) for j in range(i)]
    steady = [same([best[i]], [best[j]]) for i, j in pairs]
    judged = [(i, j) for i, j in pairs if i < len(trials)]
    alike = [float(torch.nn.functional.cosine_similarity(changes[i], changes[j], dim=0)) for i, j in judged]
    return Judged(
        target=target,
        path=best[0],
        t=choices[0].t,
        reached=sum(c.reached for c in choices),
        exact=all(t.exact for t in trials),
        worst=(others[int(each.argmax())], float(each.max())) if others and float(each.max()) >= 0 else ("", 0.0),
        changes={n: v for n, v in zip(names, changes.nanmean(0).tolist(), strict=True) if v == v},
        over_seeds={k: v for k, v in seeds.items() if v == v},
        stability=None if not pairs or None in steady else sum(s for s in steady if s is not None) / len(pairs),
        alike=sum(alike) / len(alike) if judged else None,
        **figures,
    )
