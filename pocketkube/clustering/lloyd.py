"""k-means of numbers on a line, for many blocks of numbers at once."""

from dataclasses import dataclass

import numpy as np

MOST_ITERATIONS, MOST_POINTS = 300, 1024
# Of all blocks that are divided together: arrays of so many numbers stay in a core's cache.
POINTS_AT_ONCE = 2**14


def kmeans(values: np.ndarray, owners: np.ndarray, blocks: int, count: int) -> np.ndarray:
    """Centroids of each block's numbers with the least sum of squared distances.

    On a line, clusters are runs of the sorted numbers, so that dynamic programming finds the best (Wang
    & Song, 2011), for a block of more than 1024 numbers the best of as many bins by value, and some
    more by rank. From there Lloyd's algorithm (1982) goes on with all numbers until nothing moves.
    Nothing is random.

    Args:
        values: The numbers, `[n]`.
        owners: The block of each, from 0, `[n]`.
        blocks: How many blocks there are.
        count: Centroids of each block.

    Returns:
        The centroids, ascending, float32 `[blocks, count]`. A block of fewer numbers repeats some.
    """
    line = _SortedBlocks.of(values, owners, blocks)
    bounds = _best_bounds(line, count)
    for _ in range(MOST_ITERATIONS):
        following = line.nearest(line.means(bounds))
        if np.array_equal(following, bounds):
            break
        bounds = following
    return line.restored(line.means(bounds))


def quantiles(values: np.ndarray, owners: np.ndarray, blocks: int, count: int) -> np.ndarray:
    """Centroids that each stand for as many of their block's numbers as any other: their means.

    Args and result are those of `kmeans`.
    """
    line = _SortedBlocks.of(values, owners, blocks)
    steps = np.arange(count + 1) / count
    lengths = np.diff(line.starts)
    bounds = line.starts[:-1, None] + np.rint(steps * lengths[:, None]).astype(np.int64)
    return line.restored(line.means(bounds))


def nearest(values: np.ndarray, owners: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The index of the centroid of its block that is nearest to each number, uint8.

    Args:
        values: The numbers, `[n]`.
        owners: The block of each, `[n]`.
        centroids: The centroids, in any order, `[blocks, count]`.
    """
    order = np.argsort(centroids, axis=1, kind="stable")
    ascending = np.take_along_axis(centroids, order, axis=1)
    middles = (ascending[:, :-1] + ascending[:, 1:]) / 2
    if len(middles) == 1:
        return order[0, np.searchsorted(middles[0], values)].astype(np.uint8)
    places = np.zeros(len(values), np.int64)
    # A search by halves, for all numbers at once: each has the middles of its own block.
    step = 1 << max(int(middles.shape[1]).bit_length() - 1, 0)
    while step:
        further = places + step
        inside = further <= middles.shape[1]
        edge = middles[owners, np.minimum(further, middles.shape[1]) - 1] if middles.size else values
        places = np.where(inside & (values > edge), further, places)
        step >>= 1
    return order[owners, places].astype(np.uint8)


@dataclass(frozen=True)
class _SortedBlocks:
    """The numbers of all blocks in ascending order, each block's brought to 0 … 1.

    Clusters are runs of them: bounds `[blocks, count + 1]` say where each begins and the last ends.
    """

    z: np.ndarray
    starts: np.ndarray
    keys: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    width: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, owners: np.ndarray, blocks: int) -> "_SortedBlocks":
        order = np.lexsort((values, owners))
        x, owner = values[order].astype(np.float64), owners[order]
        starts = np.searchsorted(owner, np.arange(blocks + 1))
        filled = np.diff(starts) > 0
        low, high = np.zeros(blocks), np.zeros(blocks)
        low[filled], high[filled] = x[starts[:-1][filled]], x[starts[1:][filled] - 1]
        width = np.where(high > low, high - low, 1.0)
        z = (x - low[owner]) / width[owner]
        zero = np.zeros(1)
        return cls(
            z,
            starts,
            z + 2.0 * owner,
            np.concatenate([zero, np.cumsum(z)]),
            np.concatenate([zero, np.cumsum(z * z)]),
            low,
            width,
        )

    def nearest(self, centroids: np.ndarray) -> np.ndarray:
        """The bounds of the runs that are nearest to each of ascending centroids."""
        middles = (centroids[:, :-1] + centroids[:, 1:]) / 2 + 2.0 * np.arange(len(centroids))[:, None]
        inner = np.searchsorted(self.keys, middles.ravel()).reshape(middles.shape)
        return np.concatenate([self.starts[:-1, None], inner, self.starts[1:, None]], axis=1)

    def means(self, bounds: np.ndarray) -> np.ndarray:
        """The mean of each run; of an empty one the number it stands at, so that they ascend."""
        counts = np.diff(bounds, axis=1)
        means = np.diff(self.sums[bounds], axis=1) / np.maximum(counts, 1)
        if not len(self.z):
            return means
        ends = np.clip(bounds[:, :-1], self.starts[:-1, None], self.starts[1:, None] - 1)
        return np.where(counts > 0, means, self.z[np.maximum(ends, 0)])

    def cost(self, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The sum of squared distances of runs from their means."""
        sums = self.sums[ends] - self.sums[begins]
        return self.squares[ends] - self.squares[begins] - sums**2 / np.maximum(ends - begins, 1)

    def restored(self, centroids: np.ndarray) -> np.ndarray:
        """Centroids in the numbers' own scale."""
        return (centroids * self.width[:, None] + self.low[:, None]).astype(np.float32)


def _best_bounds(line: _SortedBlocks, count: int) -> np.ndarray:
    """The bounds of the runs of least cost: of single numbers, or of bins where there are many.

    With `best[c][j]` the least cost of the first j points in c runs, and i where the last one begins,
    `best[c][j] = min over i of best[c - 1][i] + cost(i, j)`.
    """
    ends, firsts = _ends(line)
    # What is found for every count is kept until the last: blocks go in parts of so many points.
    parts = np.split(firsts, np.flatnonzero(np.diff(firsts // POINTS_AT_ONCE)) + 1)
    stops = [*(part[0] for part in parts[1:]), len(ends)]
    found = [
        _best_runs(line, ends[part[0] : stop], part - part[0], count)
        for part, stop in zip(parts, stops, strict=True)
    ]
    return np.concatenate(found)


def _best_runs(line: _SortedBlocks, ends: np.ndarray, firsts: np.ndarray, count: int) -> np.ndarray:
    """The bounds in some blocks; see `_ends` for what their runs may end at."""
    begins = ends[firsts]
    lasts = np.append(firsts[1:], len(ends)) - 1
    sizes = lasts - firsts + 1
    first, last = np.repeat(firsts, sizes), np.repeat(lasts, sizes)
    of = np.repeat(begins, sizes)
    # From each block's own beginning: small costs would drown in the sums of all blocks before.
    sums, squares = line.sums[ends] - line.sums[of], line.squares[ends] - line.squares[of]
    points = _Points(ends.astype(np.float64), sums, first, _halves(first, last))
    chosen, best = points.first, line.cost(of, ends)
    choices = []
    for _ in range(count - 1):
        chosen = _last_runs(points, best - squares, chosen)
        best = best[chosen] + line.cost(ends[chosen], ends)
        choices.append(chosen.astype(np.int32))
    bounds = [ends[lasts]]
    for chosen in reversed(choices):
        lasts = chosen[lasts]
        bounds.append(ends[lasts])
    return np.stack([begins, *bounds[::-1]], axis=1)


def _ends(line: _SortedBlocks) -> tuple[np.ndarray, np.ndarray]:
    """Where a run may end, block after block, and which of these is the beginning of each block."""
    lengths = np.diff(line.starts)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(line.z))
    rank = place - line.starts[owner]
    many = lengths[owner] > MOST_POINTS
    by_value = np.where(many, np.floor(line.z * MOST_POINTS), rank)
    # Beside a number far from all others, these are in one bin by their values.
    by_rank = np.where(many, rank * (MOST_POINTS // 4) // np.maximum(lengths[owner], 1), rank)
    # A number that differs from the one before it in its bin begins a point, which ends the last one.
    changes = (np.diff(by_value) != 0) | (np.diff(by_rank) != 0)
    inner = np.flatnonzero(changes & (np.diff(owner) == 0)) + 1
    filled = lengths > 0
    every = np.concatenate([inner, line.starts[:-1], line.starts[1:][filled]])
    whose = np.concatenate([owner[inner], np.arange(len(lengths)), np.flatnonzero(filled)])
    order = np.lexsort((every, whose))
    return every[order], np.searchsorted(whose[order], np.arange(len(lengths)))


@dataclass(frozen=True)
class _Half:
    """Points halfway between others: which, those before them, and those after where there are."""

    sought: np.ndarray
    before: np.ndarray
    after: np.ndarray
    has_after: np.ndarray


def _halves(first: np.ndarray, last: np.ndarray) -> tuple[_Half, ...]:
    """All points but the first of each block, so that each stands between two of earlier halves."""
    offsets = np.arange(len(first)) - first
    found = []
    step = 1 << int((last - first).max()).bit_length()
    while step:
        sought = np.flatnonzero(offsets % (2 * step) == step)
        has_after = sought + step <= last[sought]
        after = np.where(has_after, sought + step, sought)
        if len(sought):
            found.append(_Half(sought, sought - step, after, has_after))
        step >>= 1
    return tuple(found)


@dataclass(frozen=True)
class _Points:
    """Where runs may end: how many numbers are before each, their sum, and the first of its block."""

    counts: np.ndarray
    sums: np.ndarray
    first: np.ndarray
    halves: tuple[_Half, ...]


def _last_runs(points: _Points, before: np.ndarray, fewer: np.ndarray) -> np.ndarray:
    """Where the last run begins in the best division up to each end.

    That never moves back from one end to the next, nor from a division into one run less: those halfway
    are sought first, and each of the others between what its two neighbours found.

    Args:
        points: Where runs may end.
        before: The least cost up to each point in one run less, without the sum of all squares there.
        fewer: Where the last run begins in that division.
    """
    chosen = points.first.copy()
    for half in points.halves:
        sought = half.sought
        low = np.maximum(chosen[half.before], fewer[sought])
        high = np.minimum(np.where(half.has_after, chosen[half.after], sought), sought)
        widths = np.maximum(high - low, 0) + 1
        heads = np.cumsum(widths) - widths
        of = np.repeat(np.arange(len(sought)), widths)
        tried = np.arange(len(of)) + (low - heads)[of]
        sums = points.sums[sought][of] - points.sums[tried]
        counts = points.counts[sought][of] - points.counts[tried]
        # The squares up to the end are the same for all that are tried.
        costs = before[tried] - sums * sums / np.maximum(counts, 1.0)
        hits = np.flatnonzero(costs == np.minimum.reduceat(costs, heads)[of])[::-1]
        chosen[sought[of[hits]]] = tried[hits]
    return chosen
