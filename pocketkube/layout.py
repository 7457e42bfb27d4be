"""Names of the files in the folders that stages write."""

MODEL_FILE = "model.keras"
FACTS_FILE = "bundle.json"
LITERT_FILE = "model.tflite"
SAMPLES_FILE = "samples.npz"
BENCHMARK_FILE = "benchmark.json"
RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
