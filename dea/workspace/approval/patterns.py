"""Turns a pattern of `command.yaml` into the table of a finite automaton, so that matching is never slow.

The dispatcher runs the table (`dea.remote.contract.schema.matches`): one step for each character, whatever the pattern,
and no `re` to import. Which table a pattern has does not depend on the Python that made it. Patterns that a backtracking
matcher could need exponential time for are refused all the same: `--describe` publishes them, and somebody may use them
with such a matcher.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from re import _constants as ops  # type: ignore[attr-defined]  # the parser's own words; there is no public form of them
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

MAX_POSITIONS = 600
"""How many characters a pattern may have, with its bounded repeats written out: keeps approval quick."""

MAX_STATES = 600
"""How many states its automaton may have: it travels in `approved.json`."""

MAX_AMBIGUOUS_COPIES = 10
"""How often, all repeats around it counted, something can be repeated that can match the same text in several ways."""

_LAST = 0x10FFFF
_CATEGORIES = {
    ops.CATEGORY_DIGIT: [(48, 57)],
    ops.CATEGORY_SPACE: [(9, 13), (32, 32)],
    ops.CATEGORY_WORD: [(48, 57), (65, 90), (95, 95), (97, 122)],
}
_NEGATED = {
    ops.CATEGORY_NOT_DIGIT: ops.CATEGORY_DIGIT,
    ops.CATEGORY_NOT_SPACE: ops.CATEGORY_SPACE,
    ops.CATEGORY_NOT_WORD: ops.CATEGORY_WORD,
}

Ranges = list[tuple[int, int]]


class PatternError(ValueError):
    """A pattern that cannot be approved; the message says why."""


def compile_pattern(pattern: str) -> list[list[Any]]:
    """Return the automaton of a pattern, as `dea.remote.contract.schema.matches` takes it.

    Args:
        pattern: A regular expression in the syntax of Python 3.9, matched as a whole and with `re.ASCII`, made of characters,
            classes, groups, `|` and repeats. `^` at its begin and `$` at its end may stand there and mean nothing more.

    Raises:
        PatternError: If it is none, uses more than that, can take exponential time, or is too large.

    >>> compile_pattern("[a-z]+")
    [[0, ['az', 1]], [1, ['az', 1]]]
    """
    automaton = _Positions.of(pattern)
    automaton.refuse_exponential()
    return _minimal(automaton)


@dataclass
class _Part:
    """What Glushkov's construction knows of a part of a pattern, with the number of ways for each.

    More than one way to the same thing is how a backtracking matcher comes to try everything twice.
    """

    empty: int = 0
    first: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)


@dataclass
class _Positions:
    """Glushkov's automaton: a position for each character of the pattern, and which can follow which, in how many ways."""

    sets: list[Ranges] = field(default_factory=list)
    follow: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    whole: _Part = field(default_factory=_Part)
    copies: int = 1

    @classmethod
    def of(cls, pattern: str) -> _Positions:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # what only warns today means something else tomorrow
                flags = re.compile(pattern, re.ASCII).flags
                tree = list(parser.parse(pattern, re.ASCII))
        except (re.error, RecursionError, OverflowError, Warning) as error:
            raise PatternError(f"it is no regular expression: {error}") from error
        if flags != re.ASCII:
            raise _changes_flags()
        if tree and tree[0] == (ops.AT, ops.AT_BEGINNING):
            tree = tree[1:]
        if tree and tree[-1] == (ops.AT, ops.AT_END):
            tree = tree[:-1]
        positions = cls()
        positions.whole = positions.sequence(tree)
        return positions

    def sequence(self, tree: Iterable[Any]) -> _Part:
        part = _Part(empty=1)
        for item in tree:
            part = self.then(part, self.part(*item))
        return part

    def part(self, kind: Any, value: Any) -> _Part:  # noqa: PLR0911 - one for each kind of part
        if kind is ops.LITERAL:
            return self.character([(value, value)])
        if kind is ops.NOT_LITERAL:
            return self.character(_complement([(value, value)]))
        if kind is ops.ANY:
            return self.character(_complement([(10, 10)]))
        if kind is ops.IN:
            return self.character(_class(value))
        if kind is ops.BRANCH:
            return _either([self.sequence(branch) for branch in value[1]])
        if kind is ops.SUBPATTERN:
            _group, add_flags, remove_flags, tree = value
            if add_flags or remove_flags:
                raise _changes_flags()
            return self.sequence(tree)
        if kind in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            return self.repeat(*value)
        if kind is ops.AT:
            raise PatternError("it has an anchor: a pattern is matched as a whole anyway")
        raise PatternError(
            "it uses a lookaround, a back reference, a possessive repeat or an atomic group: only characters, classes, groups,"
            " | and repeats can be approved"
        )

    def character(self, ranges: Ranges) -> _Part:
        position = len(self.sets)
        if position >= MAX_POSITIONS:
            raise PatternError(
                f"with its repeats written out it is longer than {MAX_POSITIONS} characters: limit the length with maxLength instead"
            )
        self.sets.append(ranges)
        return _Part(0, {position: 1}, {position: 1})

    def then(self, left: _Part, right: _Part) -> _Part:
        self.join(left, right)
        first = _sum(left.first, {position: ways * left.empty for position, ways in right.first.items()})
        last = _sum(right.last, {position: ways * right.empty for position, ways in left.last.items()})
        return _Part(left.empty * right.empty, first, last)

    def join(self, left: _Part, right: _Part) -> None:
        for position, ways in left.last.items():
            for following, more in right.first.items():
                known = self.follow[position].get(following, 0)
                # Two is as good as many, and numbers of ways grow exponentially themselves.
                self.follow[position][following] = min(2, known + ways * more)

    def repeat(self, least: int, most: Any, tree: Any) -> _Part:
        if most is ops.MAXREPEAT:
            return self.repeat_without_limit(least, tree)
        around, self.copies = self.copies, self.copies * max(1, most)
        if self.copies > MAX_AMBIGUOUS_COPIES:
            # (a?){30}a{30} ends, but not while anybody waits: what is repeated often is held to the rules of what is
            # repeated without limit.
            _Positions().repeat_without_limit(0, tree, looped=True)
        known = len(self.sets)
        part = tail = _Part(empty=1)
        for number in range(most):
            one = self.sequence(tree)
            if len(self.sets) == known:
                break  # there is nothing in it, however often
            if number < least:
                part = self.then(part, one)
            else:
                # (x(x(x)?)?)? and not x?x?x?: one way for each number of repeats
                tail = _either([self.then(one, tail), _Part(empty=1)])
        self.copies = around
        return self.then(part, tail)

    def repeat_without_limit(self, least: int, tree: Any, *, looped: bool = False) -> _Part:
        loop = self.sequence(tree)
        if loop.empty:
            raise PatternError("it repeats, without limit or often, what can be empty: that can take exponential time")
        self.join(loop, loop)
        if looped:
            self.refuse_exponential()
        part = _Part(empty=1)
        for _ in range(max(0, least - 1)):
            part = self.then(part, self.sequence(tree))
        return self.then(part, loop if least else _either([loop, _Part(empty=1)]))

    def refuse_exponential(self) -> None:
        """Refuse a pattern in which some text leads from a position back to it in two ways.

        Exactly then does the number of ways to match grow exponentially with the text (Weber and Seidl, "On the degree of
        ambiguity of finite automata", 1991, criterion EDA): looked for in pairs of positions that the same text reaches.
        """
        together = _components({position: list(self.follow.get(position, ())) for position in range(len(self.sets))})
        loops = [group for group in together if len(group) > 1 or group[0] in self.follow.get(group[0], ())]
        for group in loops:
            members = set(group)
            for position in group:
                for following, ways in self.follow[position].items():
                    if ways > 1 and following in members:
                        raise _exponential()
            pairs = {(a, b): list(self.pairs_after(a, b, members)) for a in group for b in group}
            for component in _components(pairs):
                if any(a == b for a, b in component) and any(a != b for a, b in component):
                    raise _exponential()

    def pairs_after(self, a: int, b: int, members: set[int]) -> Iterator[tuple[int, int]]:
        for one in self.follow[a]:
            for other in self.follow[b]:
                if one in members and other in members and _overlap(self.sets[one], self.sets[other]):
                    yield one, other


def _changes_flags() -> PatternError:
    return PatternError("it changes flags with (?...): write out what is meant")


def _exponential() -> PatternError:
    return PatternError(
        "a repeat in it can match the same text in several ways, as (a+)+ or (a|a)* do: that can take exponential time; write it so"
        " that each character fits one way only"
    )


def _minimal(automaton: _Positions) -> list[list[Any]]:
    """Return the smallest deterministic automaton, its states in the order in which they are reached.

    There is only one for each language, so that the same pattern always gives the same table.
    """
    borders = sorted({edge for ranges in automaton.sets for low, high in ranges for edge in (low, high + 1)})
    pieces = list(zip(borders, [border - 1 for border in borders[1:]], strict=False))
    holds = [[any(low <= piece[0] <= high for low, high in ranges) for ranges in automaton.sets] for piece in pieces]
    start = frozenset([-1])
    states = {start: 0}
    table: list[list[int]] = []
    queue = [start]
    for state in queue:
        row = []
        reachable = {
            after for at in state for after in (automaton.whole.first if at < 0 else automaton.follow.get(at, ()))
        }
        for piece_holds in holds:
            target = frozenset(position for position in reachable if piece_holds[position])
            if target and target not in states:
                if len(states) >= MAX_STATES:
                    raise PatternError(
                        f"its automaton has more than {MAX_STATES} states: use a simpler pattern, and maxLength"
                    )
                states[target] = len(states)
                queue.append(target)
            row.append(states[target] if target else -1)
        table.append(row)
    accepting = [
        any(automaton.whole.empty if at < 0 else at in automaton.whole.last for at in state) for state in states
    ]
    kind = _equivalent(table, accepting)
    return _numbered(table, accepting, kind, pieces)


def _equivalent(table: list[list[int]], accepting: list[bool]) -> list[int]:
    """Return for each state the class of states that nothing tells apart (Moore's refinement)."""
    kind = [int(accepts) for accepts in accepting]
    while True:
        signatures = [
            (kind[state], *(kind[target] if target >= 0 else -1 for target in row)) for state, row in enumerate(table)
        ]
        numbers = {signature: number for number, signature in enumerate(dict.fromkeys(signatures))}
        refined = [numbers[signature] for signature in signatures]
        if len(numbers) == len(set(kind)):
            return refined
        kind = refined


def _numbered(
    table: list[list[int]], accepting: list[bool], kind: list[int], pieces: list[tuple[int, int]]
) -> list[list[Any]]:
    example = {number: state for state, number in reversed(list(enumerate(kind)))}
    order = [kind[0]]
    result: list[list[Any]] = []
    for number in order:
        state = example[number]
        ranges: dict[int, list[tuple[int, int]]] = {}
        for (low, high), target in zip(pieces, table[state], strict=True):
            if target < 0:
                continue
            known = ranges.setdefault(kind[target], [])
            if known and known[-1][1] == low - 1:
                known[-1] = (known[-1][0], high)
            else:
                known.append((low, high))
        for target in ranges:
            if target not in order:
                order.append(target)
        arrows = [
            ["".join(chr(low) + chr(high) for low, high in parts), order.index(target)]
            for target, parts in ranges.items()
        ]
        result.append([int(accepting[state]), *arrows])
    return result


def _class(items: list[Any]) -> Ranges:
    ranges: Ranges = []
    negated = False
    for kind, value in items:
        if kind is ops.NEGATE:
            negated = True
        elif kind is ops.LITERAL:
            ranges.append((value, value))
        elif kind is ops.RANGE:
            ranges.append(value)
        elif value in _CATEGORIES:
            ranges += _CATEGORIES[value]
        else:
            ranges += _complement(_CATEGORIES[_NEGATED[value]])
    return _complement(ranges) if negated else ranges


def _complement(ranges: Ranges) -> Ranges:
    result = []
    begin = 0
    for low, high in sorted(ranges):
        if low > begin:
            result.append((begin, low - 1))
        begin = max(begin, high + 1)
    return [*result, (begin, _LAST)] if begin <= _LAST else result


def _overlap(left: Ranges, right: Ranges) -> bool:
    return any(low <= other_high and other_low <= high for low, high in left for other_low, other_high in right)


def _either(parts: list[_Part]) -> _Part:
    whole = _Part()
    for part in parts:
        whole = _Part(whole.empty + part.empty, _sum(whole.first, part.first), _sum(whole.last, part.last))
    return whole


def _sum(left: dict[int, int], right: dict[int, int]) -> dict[int, int]:
    result = dict(left)
    for position, ways in right.items():
        if ways:
            result[position] = min(2, result.get(position, 0) + ways)
    return result


def _components(edges: dict[Any, list[Any]]) -> list[list[Any]]:
    """Return the strongly connected components of a graph (Tarjan's algorithm, without recursion)."""
    index: dict[Any, int] = {}
    low: dict[Any, int] = {}
    stack: list[Any] = []
    on_stack: set[Any] = set()
    components = []
    for root, targets in edges.items():
        if root in index:
            continue
        work = [(root, iter(targets))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for target in rest:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == node:
                            break
                    components.append(component)
    return components
