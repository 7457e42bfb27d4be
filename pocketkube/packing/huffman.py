"""How many bits a Huffman code takes for a stream of small numbers (Huffman, 1952)."""

import heapq

import numpy as np

# The table of a canonical code is the length of each symbol's word.
LENGTH_BITS = 8


def huffman_bits(symbols: np.ndarray) -> int:
    """Bits of a stream after Huffman coding, the code's table included.

    Deep Compression (Han et al., 2016) stores its indices so.

    Args:
        symbols: Integers from 0 to 255.

    Returns:
        The sum of the code words' lengths, and a byte for each symbol up to the largest.
    """
    counts = np.bincount(symbols.ravel())
    return int((counts * code_lengths(counts)).sum()) + LENGTH_BITS * len(counts)


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """The length in bits of each symbol's word in an optimal prefix code.

    Args:
        counts: How often each symbol comes.

    Returns:
        A length for each symbol: 0 for those that never come, and for one that is alone.
    """
    lengths = np.zeros(len(counts), np.int64)
    heap = [(int(count), symbol, [symbol]) for symbol, count in enumerate(counts) if count]
    heapq.heapify(heap)
    # The second entry decides between equal counts, so that lists are never compared.
    next_node = len(counts)
    while len(heap) > 1:
        (one, _, left), (other, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (one + other, next_node, left + right))
        next_node += 1
    return lengths
