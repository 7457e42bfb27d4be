"""Names of the files in the folders that stages write."""

# The folder of a job's output in which each step has its own.
STEPS = "steps"
# The folder there in which the pipeline, run on this machine, has those of its runs.
KFP_RUNS = "kfp"
MODEL_FILE = "model.keras"
PACKED_FILE = "model.packed"
FACTS_FILE = "bundle.json"
CHECK_FILE = "check.json"
SCORES_FILE = "scores.npz"
LITERT_FILE = "model.tflite"
TRANSLATOR_FILE = "translator.tflite"
TOKENIZER_FILE = "sentencepiece.model"
SAMPLES_FILE = "samples.npz"
BENCHMARK_FILE = "benchmark.json"
TABLE_FILE = "latency_table.json"
# The networks that a latency table is measured on.
NETWORKS_FILE = "networks.json"
RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
RATIOS_FILE = "ratios.yaml"
TRIALS_FILE = "trials.csv"
SEARCH_FILE = "search.json"
CURVE_FILE = "best_so_far.svg"
# Ratios of the trials that no other beats at no more of a cost.
FRONT_RATIOS = "front"
PROBLEM_FILE = "problem.json"
COMPARISON_FILE = "comparison.json"
COMPARISON_PAGE = "comparison.html"
COMPARISON_CURVES = "comparison.svg"
COMPARISON_TABLE = "comparison.md"


def front_file(number: int) -> str:
    """The name of the file with a trial's ratios in the folder of those that nothing beats.

    Args:
        number: The trial's, counted from 0.
    """
    return f"trial_{number + 1}.yaml"
