import os

# Every component runs in it; whoever compiles a pipeline may name another.
os.environ.setdefault("POCKETKUBE_IMAGE", "pocketkube:0.1.0")
