"""What a file takes beside its weights, from one file of the network that is searched."""

from dataclasses import replace

import numpy as np

from pocketkube.graph.file_bytes import FileBytes
from pocketkube.litert.flatbuffer import read_model
from pocketkube.search.problem import Problem


def with_measured_file(problem: Problem, content: bytes) -> Problem:
    """The search, its bytes such that they agree with a real file.

    Args:
        problem: The search.
        content: The LiteRT file of the network with all its channels, as many bits and as many zeros as
            levels give.
    """
    file = problem.file
    tensors = [tensor for graph in read_model(content).subgraphs for tensor in graph.tensors]
    stores_sparse = any(tensor.sparsity is not None for tensor in tensors)
    if file.leaves_zeros_out and not stores_sparse:
        # The export keeps them where a runtime would compute wrongly without.
        file = replace(file, leaves_zeros_out=False)
    problem = replace(problem, file=file)
    sparsest = [
        0 if each.decides == "sparsity" else len(each.levels) - 1 for each in problem.space.parameters
    ]
    foreseen = problem.cost(np.array(sparsest), "bytes")
    return replace(problem, file=FileBytes(problem.network, file).measured(len(content), foreseen))
